"""Cache of existing person ids: with it, accepting pings needs only the broker."""

import threading
import time
from collections.abc import Callable, Iterable

from django.db import InterfaceError, OperationalError, connection

from connect import neighbours
from connect.coalescing import Coalesced
from connect.errors import NeighbourUnavailable

TTL_S = 60.0
RETRY_AFTER_S = 2.0
MAX_IDS = 1_000_000  # some 100 MB


class PersonCache:
    """Caches ids of existing persons for TTL_S. Serves stale ids while the persons service is unavailable.

    Thread-safe. It asks an unavailable service again only after RETRY_AFTER_S, because each try may be slow.
    """

    def __init__(self, *, max_ids: int = MAX_IDS, clock: Callable[[], float] = time.monotonic):
        self._max_ids = max_ids
        self._clock = clock
        self._confirmed_at: dict[int, float] = {}  # oldest first
        self._retry_at = float("-inf")
        self._lock = threading.Lock()
        self._persons = Coalesced[int, object](lambda ids: neighbours.persons().get_many(ids))

    def __len__(self) -> int:
        return len(self._confirmed_at)

    def existing(self, person_ids: Iterable[int]) -> set[int]:
        """The ids that exist, with at most one query.

        Raises NeighbourUnavailable if an id is not cached and the persons service is unavailable.
        """
        wanted = set(person_ids)
        now = self._clock()
        with self._lock:
            oldest = now - TTL_S
            expired = {each for each in wanted if self._confirmed_at.get(each, float("-inf")) <= oldest}
            is_unavailable = now < self._retry_at
        if not expired:
            return wanted
        existing = None if is_unavailable else self._query(expired)
        with self._lock:
            if existing is None:
                if unknown := expired - self._confirmed_at.keys():
                    raise NeighbourUnavailable(f"Cannot check whether {_first_ids(unknown)} exist.")
                return wanted
            for each in expired:
                self._confirmed_at.pop(each, None)
            self._confirmed_at |= dict.fromkeys(existing, now)
            while len(self._confirmed_at) > self._max_ids:
                del self._confirmed_at[next(iter(self._confirmed_at))]
        return wanted - (expired - existing)

    def _query(self, person_ids: set[int]) -> set[int] | None:
        """None if the persons service is unavailable."""
        try:
            return person_ids & self._persons(person_ids).keys()
        except (OperationalError, InterfaceError):
            connection.close_if_unusable_or_obsolete()
        except NeighbourUnavailable:
            pass
        self._retry_at = self._clock() + RETRY_AFTER_S
        return None


def _first_ids(person_ids: set[int]) -> str:
    first = ", ".join(map(str, sorted(person_ids)[:3]))
    return f"persons {first}{'…' if len(person_ids) > 3 else ''}"
