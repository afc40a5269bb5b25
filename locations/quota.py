"""The quota of pings that ingest tokens may send: a token bucket per person, in memory.

A bucket holds BURST pings (the offline queue of a phone) and is refilled by one per second: at most 4,200
pings in any ten minutes. Each process has its own buckets, so n processes behind one address allow up to n
times as many.
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
    """More pings of one person than the quota allows. None was accepted."""

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
    """Pings that were counted. `give_back` refunds them if they could not be submitted."""

    quota: "Quota"
    counts: Counter[int]

    def give_back(self) -> None:
        self.quota.add(Counter({person_id: -count for person_id, count in self.counts.items()}))


class Quota:
    """The buckets, thread-safe. For each person it stores the time at which the bucket is full again."""

    MAX_PEOPLE = 100_000  # beyond that the fullest buckets are dropped: they matter least

    def __init__(self, *, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._full_at: dict[int, float] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._full_at)

    def charge(self, person_ids: Iterable[int]) -> Charge:
        """Counts one ping per id. Raises TooManyPings or BatchTooLarge, and then counts none."""
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
        if len(self._full_at) > self.MAX_PEOPLE:
            self._full_at = {person_id: at for person_id, at in self._full_at.items() if at > now}
        if len(self._full_at) > self.MAX_PEOPLE:
            emptiest = sorted(self._full_at.items(), key=lambda item: item[1])[-self.MAX_PEOPLE * 9 // 10 :]
            self._full_at = dict(emptiest)


_quota = Quota()


def charge(person_ids: Iterable[int]) -> Charge:
    """Counts pings in the buckets of this process. Raises TooManyPings or BatchTooLarge."""
    return _quota.charge(person_ids)
