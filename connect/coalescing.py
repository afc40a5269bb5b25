"""Combines the questions that several threads ask at the same time into one."""

import threading
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

MOST = 500  # keys in a question

Key = TypeVar("Key")
Answer = TypeVar("Answer")
Ask = Callable[[AbstractSet[Key]], Mapping[Key, Answer]]


class Coalesced(Generic[Key, Answer]):
    """Asks one question at a time. Keys that come meanwhile are asked about together in the next one.

    So hundreds of phones that begin at the same moment cost a few calls. `ask` returns the answers of the
    keys that have one; each thread whose key was in a question raises what `ask` raises. Thread-safe.
    """

    def __init__(self, ask: Ask[Key, Answer], *, most: int = MOST):
        """No key joins a question that has `most` keys; more keys than that are a question of their own."""
        self._ask = ask
        self._most = most
        self._next: _Question[Key, Answer] = _Question()
        self._lock = threading.Lock()
        self._asking = threading.Lock()

    def __call__(self, keys: AbstractSet[Key]) -> Mapping[Key, Answer]:
        """The answers, among them those to other keys of the same question."""
        if len(keys) > self._most:
            return self._ask(keys)
        with self._lock:
            if len(self._next.keys) >= self._most:
                self._next = _Question()
            mine = self._next
            mine.keys |= keys
        with self._asking:
            if not mine.is_over:
                with self._lock:
                    if self._next is mine:
                        self._next = _Question()
                mine.put(self._ask)
        if mine.fault is not None:
            raise mine.fault.with_traceback(None)
        return mine.answers


class _Question(Generic[Key, Answer]):
    def __init__(self) -> None:
        self.keys: set[Key] = set()
        self.answers: Mapping[Key, Answer] = {}
        self.fault: Exception | None = None
        self.is_over = False

    def put(self, ask: Ask[Key, Answer]) -> None:
        try:
            self.answers = ask(self.keys)
        except Exception as fault:  # noqa: BLE001 - each thread whose keys these are raises it
            self.fault = fault
        self.is_over = True
