"""Threads that store batches, so that the writer can fetch and parse the next batch meanwhile."""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from django.db import connection

from consumers.batch_store import Batch, Tally, store


class StoreWorkers:
    """Single-thread workers. Each has its own database connection and stores its batches in order.

    All pings of a person are in one partition, and a partition belongs to one worker, so they stay in order.
    After a failure no worker stores anything more: a later ping must not overtake a failed one.
    """

    def __init__(self, count: int) -> None:
        self._threads = [ThreadPoolExecutor(1) for _ in range(count)]
        self._worker_of: dict[int, int] = {}
        self._error: Exception | None = None

    def assign(self, partitions: Iterable[int]) -> None:
        """Distributes partitions evenly. Call it only while no batch is being stored."""
        self._worker_of = {each: nth % len(self._threads) for nth, each in enumerate(sorted(partitions))}

    def worker_of(self, partition: int) -> int:
        return self._worker_of[partition]

    def store(self, worker: int, batch: Batch) -> Future[Tally]:
        return self._threads[worker].submit(self._store, batch)

    def close(self) -> None:
        """Waits for all submitted batches. Idempotent."""
        while self._threads:
            thread = self._threads.pop()
            thread.submit(_close_connection).result()
            thread.shutdown()

    def _store(self, batch: Batch) -> Tally:
        if self._error is not None:
            raise self._error
        try:
            connection.close_if_unusable_or_obsolete()
            return store(batch)
        except Exception as error:
            self._error = error
            raise


def _close_connection() -> None:
    connection.close()  # connections are per thread: this closes the calling thread's one
