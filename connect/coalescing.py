"""Combines calls that several threads or tasks make at the same time into one call."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

MAX_KEYS = 500  # per batch

Key = TypeVar("Key")
Answer = TypeVar("Answer")
Fetch = Callable[[AbstractSet[Key]], Mapping[Key, Answer]]


class Coalescer(Generic[Key, Answer]):
    """Runs one batch at a time. Keys that arrive while a batch runs go together into the next batch.

    So hundreds of phones that start at the same moment cost only a few calls. `fetch` returns the answers of
    the keys that have one. If it raises, every thread with a key in that batch raises the same exception.
    Thread-safe.
    """

    def __init__(self, fetch: Fetch[Key, Answer], *, max_keys: int = MAX_KEYS):
        """A batch with `max_keys` keys accepts no more. A call with more keys is a batch of its own."""
        self._fetch = fetch
        self._max_keys = max_keys
        self._next: _Batch[Key, Answer] = _Batch()
        self._lock = threading.Lock()
        self._running = threading.Lock()

    def __call__(self, keys: AbstractSet[Key]) -> Mapping[Key, Answer]:
        """The answers of the whole batch, which may contain other keys too."""
        if len(keys) > self._max_keys:
            return self._fetch(keys)
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
                batch.run(self._fetch)
        if batch.error is not None:
            raise batch.error.with_traceback(None)
        return batch.answers


class _Batch(Generic[Key, Answer]):
    def __init__(self) -> None:
        self.keys: set[Key] = set()
        self.answers: Mapping[Key, Answer] = {}
        self.error: Exception | None = None
        self.is_done = False

    def run(self, fetch: Fetch[Key, Answer]) -> None:
        try:
            self.answers = fetch(self.keys)
        except Exception as error:  # noqa: BLE001 - every thread with a key in this batch raises it
            self.error = error
        self.is_done = True


class AsyncCoalescer(Generic[Key, Answer]):
    """As Coalescer, for the tasks of one event loop. The batches run in a thread of their own."""

    def __init__(self, fetch: Fetch[Key, Answer]):
        self._fetch = fetch
        self._thread = ThreadPoolExecutor(1, "batch")
        self._next: tuple[set[Key], asyncio.Future[Mapping[Key, Answer]]] | None = None
        self._runner: asyncio.Task[None] | None = None

    async def __call__(self, keys: AbstractSet[Key]) -> Mapping[Key, Answer]:
        """The answers of the whole batch, which may contain other keys too."""
        if self._next is None:
            self._next = set(), asyncio.get_running_loop().create_future()
        collected, answers = self._next
        collected |= keys
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return await asyncio.shield(answers)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._next is not None:
            (keys, answers), self._next = self._next, None
            try:
                answers.set_result(await loop.run_in_executor(self._thread, self._fetch, keys))
            except Exception as error:  # noqa: BLE001 - every call with a key in this batch raises it
                answers.set_exception(error)
        self._runner = None
