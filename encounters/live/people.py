"""The people whom staff may see now: at most seconds old. Thread-safe."""

import time
from collections.abc import Iterable
from typing import Any

from connect import neighbours
from connect.stale_cache import StaleCache
from encounters.live.events import Event

FRESH_S = 3.0
MAX_SIZE = 200_000

_cache = StaleCache[int, dict[str, Any] | None](max_size=MAX_SIZE, clock=time.monotonic)


def findable(ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Those of the people who are findable, in wire form. Raises NeighbourUnavailable."""
    wanted = set(ids)
    known = _cache.get_many(wanted, max_age_s=FRESH_S)
    if missing := wanted - known.keys():
        asked_at = time.monotonic()
        found = _cache.fetch(lambda: neighbours.persons().findable(missing))
        new = {each: found[each].to_wire() if each in found else None for each in missing}
        _cache.replace(missing, new, asked_at)
        known |= new
    return {each: person for each, person in known.items() if person is not None}


def source_is_away() -> bool:
    return _cache.source_is_away


def is_decided(event: Event) -> bool:
    return time.monotonic() < event.decided_at + FRESH_S


def ids_of(events: Iterable[Event]) -> set[int]:
    return {person_id for event in events for person_id in event.person_ids}
