"""Cache of existing person ids: with it, accepting pings needs only the broker."""

import time
from collections.abc import Callable, Iterable

from connect import neighbours
from connect.coalescing import Coalescer
from connect.errors import NeighbourUnavailable
from connect.stale_cache import StaleCache

TTL_S = 60.0
MAX_IDS = 1_000_000  # some 150 MB


class PersonCache:
    """Caches ids of existing persons for TTL_S. Serves stale ids while the persons service is unavailable.

    Thread-safe. Missing ids are not cached.
    """

    def __init__(self, *, max_ids: int = MAX_IDS, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._cache = StaleCache[int, None](max_size=max_ids, clock=clock)
        self._persons = Coalescer[int, object](lambda ids: neighbours.persons().get_many(ids))

    def __len__(self) -> int:
        return len(self._cache)

    def existing(self, person_ids: Iterable[int]) -> set[int]:
        """The ids that exist, with at most one query.

        Raises NeighbourUnavailable if an id is not cached and the persons service is unavailable.
        """
        wanted = set(person_ids)
        now = self._clock()
        expired = wanted - self._cache.get_many(wanted, max_age_s=TTL_S).keys()
        if not expired:
            return wanted
        existing = self._query(expired)
        if existing is None:
            if unknown := expired - self._cache.get_many(expired).keys():
                raise NeighbourUnavailable(f"Cannot check whether {_first_ids(unknown)} exist.")
            return wanted
        self._cache.replace(expired, dict.fromkeys(existing), now)
        return wanted - (expired - existing)

    def is_known(self, person_id: int) -> bool:
        """Whether the cache says that this person exists. Asks nobody."""
        return person_id in self._cache.get_many([person_id], max_age_s=TTL_S)

    def _query(self, person_ids: set[int]) -> set[int] | None:
        """None if the persons service is unavailable."""
        if self._cache.source_is_away:
            return None
        try:
            return person_ids & self._cache.fetch(lambda: self._persons(person_ids)).keys()
        except NeighbourUnavailable:
            return None


def _first_ids(person_ids: set[int]) -> str:
    first = ", ".join(map(str, sorted(person_ids)[:3]))
    return f"persons {first}{'…' if len(person_ids) > 3 else ''}"
