"""The threads that store: while one waits for the database, others work, and so does who takes and reads."""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from django.db import connection

from consumers.batch_store import Batch, Tally, store


class Lanes:
    """Each has a database connection of its own, and stores what it is given one after the other.

    A person's pings are all in one partition, and a partition in one lane: so they stay in order. Once
    something could not be stored nothing is any more, which might overtake it.
    """

    def __init__(self, count: int) -> None:
        self._threads = [ThreadPoolExecutor(1) for _ in range(count)]
        self._of: dict[int, int] = {}
        self._fault: Exception | None = None

    def share_out(self, partitions: Iterable[int]) -> None:
        """Evenly. To be called when nothing of them is being stored."""
        self._of = {partition: nth % len(self._threads) for nth, partition in enumerate(sorted(partitions))}

    def of(self, partition: int) -> int:
        return self._of[partition]

    def store(self, lane: int, batch: Batch) -> Future[Tally]:
        return self._threads[lane].submit(self._store, batch)

    def close(self) -> None:
        """After what they were given. Idempotent."""
        while self._threads:
            thread = self._threads.pop()
            thread.submit(_close_connection).result()
            thread.shutdown()

    def _store(self, batch: Batch) -> Tally:
        if self._fault is not None:
            raise self._fault
        try:
            connection.close_if_unusable_or_obsolete()
            return store(batch)
        except Exception as fault:
            self._fault = fault
            raise


def _close_connection() -> None:
    connection.close()  # that of the thread this is called in
