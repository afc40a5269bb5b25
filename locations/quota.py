"""How many pings ingest tokens may send of one person: a token bucket for each person, in memory.

A bucket holds BURST pings, a phone's offline queue, and gets one more each second: at most 4,200 in any ten
minutes. Each process counts for itself, so with n processes behind one address a person may get up to n times
as many.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

BURST = 3_600
PER_SECOND = 1.0


class TooManyPings(Exception):
    """More pings of one person than the quota allows. Nothing was taken."""

    def __init__(self, person_id: int, wait_s: int):
        super().__init__(
            f"Too many pings of person {person_id}: 1 a second and {BURST} at once are allowed. "
            f"Expected available in {wait_s} seconds."
        )
        self.wait_s = wait_s


class BatchTooLarge(ValueError):
    """A batch has more pings of one person than a full bucket. Sending it again does not help."""

    def __init__(self, person_id: int, count: int):
        super().__init__(f"{count} pings of person {person_id} in one call; {BURST} are allowed.")


@dataclass(frozen=True, slots=True)
class Charge:
    """Pings that were counted; `give_back` undoes it, for those that could not be taken."""

    quota: "Quota"
    counts: Counter[int]

    def give_back(self) -> None:
        self.quota.add(Counter({person_id: -count for person_id, count in self.counts.items()}))


class Quota:
    """The buckets. Thread-safe. For each person it keeps the time at which the bucket is full again."""

    MOST = 100_000  # people, then those whose buckets are nearly full are forgotten first

    def __init__(self, *, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._full_at: dict[int, float] = {}
        self._lock = threading.Lock()

    def charge(self, person_ids: Iterable[int]) -> Charge:
        """Counts a ping for each id, or none at all: then it raises TooManyPings or BatchTooLarge."""
        counts = Counter(person_ids)
        for person_id, count in counts.items():
            if count > BURST:
                raise BatchTooLarge(person_id, count)
        now = self._clock()
        with self._lock:
            for person_id, count in counts.items():
                missing = max(0.0, self._full_at.get(person_id, now) - now) * PER_SECOND + count - BURST
                if missing > 0:
                    raise TooManyPings(person_id, math.ceil(missing / PER_SECOND))
            self._add(counts, now)
        return Charge(self, counts)

    def add(self, counts: Counter[int]) -> None:
        with self._lock:
            self._add(counts, self._clock())

    def _add(self, counts: Counter[int], now: float) -> None:
        for person_id, count in counts.items():
            self._full_at[person_id] = max(now, self._full_at.get(person_id, now)) + count / PER_SECOND
        if len(self._full_at) > self.MOST:
            self._full_at = {one: at for one, at in self._full_at.items() if at > now}
        if len(self._full_at) > self.MOST:
            emptiest = sorted(self._full_at.items(), key=lambda item: item[1])[-self.MOST * 9 // 10 :]
            self._full_at = dict(emptiest)


_quota = Quota()


def charge(person_ids: Iterable[int]) -> Charge:
    """Counts these pings in this process's buckets. Raises TooManyPings or BatchTooLarge."""
    return _quota.charge(person_ids)
