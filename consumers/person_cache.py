"""Cache of the persons that exist, so that a door needs only the broker to take their pings."""

import time
from collections.abc import Callable, Iterable

from connect import neighbours
from connect.coalescing import Coalescer
from connect.errors import NeighbourUnavailable
from connect.stale_cache import StaleCache

FRESH_S = 60.0
MAX_SIZE = 1_000_000  # ids; some 100 MB


class KnownPersons:
    """Caches ids of existing persons for FRESH_S, and while persons is away for as long as that lasts.

    Thread-safe. Unknown ids are not cached. While persons is away, one attempt per RETRY_S is made.
    """

    def __init__(self, *, max_size: int = MAX_SIZE, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._cache = StaleCache[int, None](max_size=max_size, clock=clock)
        self._persons = Coalescer[int, object](lambda ids: neighbours.persons().get_many(ids))

    def among(self, person_ids: Iterable[int]) -> set[int]:
        """The ids that exist. Asks persons at most once.

        Raises NeighbourUnavailable if persons is away and an id is not in the cache.
        """
        wanted = set(person_ids)
        now = self._clock()
        expired = wanted - self._cache.get_many(wanted, max_age_s=FRESH_S).keys()
        if not expired:
            return wanted
        existing = self._existing(expired)
        if existing is None:
            if uncached := expired - self._cache.get_many(expired).keys():
                raise NeighbourUnavailable(f"Cannot check now whether {_some(uncached)} exist.")
            return wanted
        self._cache.replace(expired, dict.fromkeys(existing), now)
        return wanted - (expired - existing)

    def _existing(self, person_ids: set[int]) -> set[int] | None:
        """The ids that exist; None while persons is away."""
        if self._cache.source_is_away:
            return None
        try:
            return person_ids & self._cache.fetch(lambda: self._persons(person_ids)).keys()
        except NeighbourUnavailable:
            return None


def _some(person_ids: set[int]) -> str:
    first = ", ".join(map(str, sorted(person_ids)[:3]))
    return f"persons {first}{'…' if len(person_ids) > 3 else ''}"
