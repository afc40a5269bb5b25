"""The threads that store: while one waits for the database, others work, and so does who takes and reads."""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from django.db import connection

from consumers.storing import Batch, Tally, store


class Lanes:
    """Each has a database connection of its own, and stores what it is given one after the other.

    A person's pings are all in one partition, and a partition in one lane: so they stay in order.
    """

    def __init__(self, count: int) -> None:
        self._lanes = [Lane() for _ in range(count)]
        self._of: dict[int, Lane] = {}

    def share_out(self, partitions: Iterable[int]) -> None:
        """Evenly. To be called when nothing of them is being stored."""
        self._of = {
            partition: self._lanes[nth % len(self._lanes)] for nth, partition in enumerate(sorted(partitions))
        }

    def of(self, partition: int) -> "Lane":
        return self._of[partition]

    def close(self) -> None:
        """After what they were given. Idempotent."""
        while self._lanes:
            self._lanes.pop().close()


@dataclass(eq=False)
class Lane:
    """Once it could not store something it stores nothing any more, which would overtake that."""

    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _fault: Exception | None = None

    def store(self, batch: Batch) -> Future[Tally]:
        return self._thread.submit(self._store, batch)

    def close(self) -> None:
        self._thread.submit(_close_connection).result()
        self._thread.shutdown()

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
