"""The quota of pings that ingest tokens may send: a token bucket per person.

A bucket holds BURST pings (the offline queue of a phone) and is refilled by one per second: at most 4,200
pings in any ten minutes. The buckets are in an SQLite file, QUOTA_FILE, which all processes of a machine or
pod share. Each pod has its own, so n pods behind one address allow up to n times as many.
"""

import json
import math
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache

from django.conf import settings

from connect.errors import NeighbourUnavailable, RequestTooLarge, TooMany

BURST = 3_600
PER_SECOND = 1.0
# An empty bucket is full after this time, with a second for rounding. A row that is further ahead is from
# before the clock was set back, and is ignored.
LONGEST_S = BURST / PER_SECOND + 1
TIMEOUT_S = 5.0  # for the lock between threads, and for that of the file
AT_ONCE_S = 0.005  # the same for callers that must not wait

_CREATE = "CREATE TABLE IF NOT EXISTS bucket (person_id INTEGER PRIMARY KEY, full_at REAL NOT NULL)"
_SELECT = "SELECT person_id, full_at FROM bucket WHERE person_id IN (SELECT value FROM json_each(?))"
_UPSERT = """
    INSERT INTO bucket VALUES (:person_id, :now + :seconds)
    ON CONFLICT DO UPDATE
    SET full_at = CASE WHEN full_at BETWEEN :now AND :now + :longest THEN full_at ELSE :now END + :seconds
"""


class TooManyPings(TooMany):
    """More pings of one person than the quota allows. None was accepted."""

    def __init__(self, person_id: int, wait_s: int):
        super().__init__(
            f"Too many pings of person {person_id}: 1 a second and {BURST} at once are allowed. "
            f"Expected available in {wait_s} seconds.",
            wait_s,
        )


class BatchTooLarge(RequestTooLarge):
    """A batch has more pings of one person than a full bucket. Sending it again does not help."""

    def __init__(self, person_id: int, count: int):
        super().__init__(f"{count} pings of person {person_id} in one call; {BURST} are allowed.")


@dataclass(frozen=True, slots=True)
class Charge:
    """Pings that were counted. `give_back` refunds them if they could not be submitted."""

    quota: "Quota"
    counts: Counter[int]

    def give_back(self) -> None:
        refund = Counter({person_id: -count for person_id, count in self.counts.items()})
        with suppress(sqlite3.Error):
            self.quota.add(refund)


class Quota:
    """The buckets, thread-safe. A row stores the time at which a person's bucket is full again."""

    CLEAN_EVERY = 10_000  # charged people; then the rows of full buckets are deleted

    def __init__(self, path: str, *, clock: Callable[[], float] = time.time):
        """Raises sqlite3.Error if the file is not usable."""
        self._clock = clock
        self._lock = threading.Lock()  # between threads; SQLite locks the file between processes
        self._charged = 0
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._set_patience(TIMEOUT_S)
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", _CREATE):
            self._database.execute(statement)

    def charge(self, person_ids: Iterable[int], patience_s: float | None = None) -> Charge:
        """Counts one ping per id. Raises TooManyPings or BatchTooLarge, and then counts none.

        Raises sqlite3.OperationalError if the file stays locked for `patience_s` (TIMEOUT_S).
        """
        counts = Counter(person_ids)
        for person_id, count in counts.items():
            if count > BURST:
                raise BatchTooLarge(person_id, count)
        with self._transaction(patience_s) as database:
            now = self._clock()
            for person_id, full_at in database.execute(_SELECT, [json.dumps([*counts])]):
                used = (full_at - now) * PER_SECOND if now < full_at <= now + LONGEST_S else 0.0
                missing = used + counts[person_id] - BURST
                if missing > 0:
                    raise TooManyPings(person_id, math.ceil(missing / PER_SECOND))
            self._add(database, counts, now)
        return Charge(self, counts)

    def add(self, counts: Counter[int]) -> None:
        with self._transaction() as database:
            self._add(database, counts, self._clock())

    def _add(self, database: sqlite3.Connection, counts: Counter[int], now: float) -> None:
        self._charged += len(counts)
        if self._charged > self.CLEAN_EVERY:
            self._charged = 0
            database.execute("DELETE FROM bucket WHERE full_at <= ?", [now])
        rows = (
            {"person_id": person_id, "seconds": count / PER_SECOND, "now": now, "longest": LONGEST_S}
            for person_id, count in counts.items()
        )
        database.executemany(_UPSERT, rows)

    def _set_patience(self, seconds: float) -> None:
        self._database.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
        self._patience_s = seconds

    @contextmanager
    def _transaction(self, patience_s: float | None = None) -> Iterator[sqlite3.Connection]:
        patience_s = TIMEOUT_S if patience_s is None else patience_s
        if not self._lock.acquire(timeout=patience_s):
            raise sqlite3.OperationalError("The quota file is locked.")
        try:
            if self._patience_s != patience_s:
                self._set_patience(patience_s)
            with self._database:  # commits at the end; rolls back on an error, also one of the commit
                self._database.execute("BEGIN IMMEDIATE")
                yield self._database
        finally:
            self._lock.release()


@cache
def _quota(path: str) -> Quota:
    return Quota(path)


def charge(person_ids: Iterable[int], patience_s: float | None = None) -> Charge:
    """Counts pings in QUOTA_FILE. Raises TooManyPings, BatchTooLarge or NeighbourUnavailable."""
    try:
        return _quota(settings.QUOTA_FILE).charge(person_ids, patience_s)
    except sqlite3.Error as fault:
        raise NeighbourUnavailable("The quota of pings cannot be read.") from fault
