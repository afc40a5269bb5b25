"""Combines the questions that several threads ask at the same time into one."""

import threading
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

MAX_KEYS = 500  # keys in a question

Key = TypeVar("Key")
Answer = TypeVar("Answer")
Ask = Callable[[AbstractSet[Key]], Mapping[Key, Answer]]


class Coalescer(Generic[Key, Answer]):
    """Asks one question at a time. Keys that come meanwhile are asked about together in the next one.

    So hundreds of phones that begin at the same moment cost a few calls. `ask` returns the answers of the
    keys that have one; each thread whose key was in a question raises what `ask` raises. Thread-safe.
    """

    def __init__(self, ask: Ask[Key, Answer], *, max_keys: int = MAX_KEYS):
        """No key joins a question that has `max_keys` keys; more keys than that are a question of their own."""
        self._ask = ask
        self._max_keys = max_keys
        self._next: _Batch[Key, Answer] = _Batch()
        self._lock = threading.Lock()
        self._running = threading.Lock()

    def __call__(self, keys: AbstractSet[Key]) -> Mapping[Key, Answer]:
        """The answers, among them those to other keys of the same question."""
        if len(keys) > self._max_keys:
            return self._ask(keys)
        with self._lock:
            if len(self._next.keys) >= self._max_keys:
                self._next = _Batch()
            batch = self._next
            batch.keys |= keys
        with self._running:
            if not batch.is_done:
                with self._lock:
                    if self._next is batch:
                        self._next = _Batch()
                batch.run(self._ask)
        if batch.fault is not None:
            raise batch.fault.with_traceback(None)
        return batch.answers


class _Batch(Generic[Key, Answer]):
    def __init__(self) -> None:
        self.keys: set[Key] = set()
        self.answers: Mapping[Key, Answer] = {}
        self.fault: Exception | None = None
        self.is_done = False

    def run(self, ask: Ask[Key, Answer]) -> None:
        try:
            self.answers = ask(self.keys)
        except Exception as fault:  # noqa: BLE001 - each thread whose keys these are raises it
            self.fault = fault
        self.is_done = True
