"""Which persons are known to exist, so that a door needs only the broker to take their pings."""

import threading
import time
from collections.abc import Callable, Iterable

from django.db import InterfaceError, OperationalError, connection

from connect import neighbours
from connect.coalescing import Coalescer
from connect.errors import NeighbourUnavailable

FRESH_S = 60.0
AGAIN_S = 2.0
MOST = 1_000_000  # ids remembered; some 100 MB


class KnownPersons:
    """Remembers who was found: for FRESH_S, and while persons is away for as long as that lasts.

    Thread-safe. While persons is away it is asked again every AGAIN_S only, since each asking may take long.
    """

    def __init__(self, *, most: int = MOST, clock: Callable[[], float] = time.monotonic):
        self._most = most
        self._clock = clock
        self._found: dict[int, float] = {}  # when last; the longest ago first
        self._away_until = float("-inf")
        self._lock = threading.Lock()
        self._persons = Coalescer[int, object](lambda ids: neighbours.persons().get_many(ids))

    def among(self, person_ids: Iterable[int]) -> set[int]:
        """Those who exist. Asks once at most; raises NeighbourUnavailable if that is in vain and matters."""
        wanted = set(person_ids)
        now = self._clock()
        with self._lock:
            doubtful = {each for each in wanted if self._found.get(each, float("-inf")) + FRESH_S <= now}
            away = now < self._away_until
        if not doubtful:
            return wanted
        existing = None if away else self._ask(doubtful)
        with self._lock:
            if existing is None:
                if strangers := doubtful - self._found.keys():
                    raise NeighbourUnavailable(f"Nobody can say whether there are {_some(strangers)}.")
                return wanted
            for each in doubtful:
                self._found.pop(each, None)
            self._found |= dict.fromkeys(existing, now)
            while len(self._found) > self._most:
                del self._found[next(iter(self._found))]
        return wanted - (doubtful - existing)

    def _ask(self, doubtful: set[int]) -> set[int] | None:
        """None when persons is away."""
        try:
            return doubtful & self._persons(doubtful).keys()
        except (OperationalError, InterfaceError):
            connection.close_if_unusable_or_obsolete()
        except NeighbourUnavailable:
            pass
        self._away_until = self._clock() + AGAIN_S
        return None


def _some(person_ids: set[int]) -> str:
    first = ", ".join(map(str, sorted(person_ids)[:3]))
    return f"persons {first}{'…' if len(person_ids) > 3 else ''}"
