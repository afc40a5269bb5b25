"""The use cases of the venue: the event, its zones, and who visited them. Every interface calls these.

Each checks the caller. Commands of the operator use venue.storage.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied

from access.callers import EDITORS, READERS, Caller
from connect import neighbours
from connect.errors import OutOfBounds
from locations import limits
from venue import storage
from venue.geojson import Zone
from venue.storage import Event


@dataclass(frozen=True, slots=True)
class ZoneVisits:
    """A zone and its visits: locations.presence.AreaVisits, from a neighbour."""

    zone: Zone
    visits: Any

    def to_wire(self) -> dict[str, Any]:
        visits = self.visits
        return {
            "zone": self.zone.properties,
            "people": visits.people,
            "visits": visits.visits,
            "person_minutes": round(visits.person_seconds / 60, 2),
            "median_stay_s": visits.median_stay_s,
            "longest_stay_s": visits.longest_stay_s,
        }


def event(caller: Caller) -> Event:
    _check(caller, READERS)
    return storage.event()


def replace_event(caller: Caller, event: Event) -> Event:
    """Returns the event as stored: without bounds of its own it has those of the zones.

    Bounds that equal those of the zones are not kept, so that a client can send back what it got.
    """
    _check(caller, EDITORS)
    if event.bounds == storage.extent():
        event = replace(event, bounds=None)
    storage.replace(event=event)
    return storage.event()


def zones(caller: Caller) -> list[Zone]:
    """All zones, ordered by id."""
    _check(caller, READERS)
    return storage.zones()


def replace_zones(caller: Caller, zones: Sequence[Zone]) -> list[Zone]:
    """Replaces all zones in one transaction. Returns them as stored, ordered by id."""
    _check(caller, EDITORS)
    storage.replace(zones=zones)
    return storage.zones()


def visits(
    caller: Caller,
    *,
    start: datetime,
    end: datetime,
    **parameters: float | None,
) -> list[ZoneVisits]:
    """The visits of each zone in [start, end), ordered by the id of the zone.

    A visit is an uninterrupted time of one person in a zone: pings in it, each at most max_gap_s after the
    one before. A visit shorter than min_duration_s is left out. For a person's token only their own count,
    else only those of findable people. `parameters` are those of limits.VISITS; None means the default.
    Raises PermissionDenied, OutOfBounds.
    """
    _check(caller, READERS)
    complete = limits.complete(limits.VISITS, parameters)
    if error := limits.range_error(start, end):
        raise OutOfBounds({"end_date": [error]})
    asked = storage.zones()
    if not asked:
        return []
    rows = neighbours.locations().visits(
        areas=[(zone.id, zone.wkb) for zone in asked],
        start=start,
        end=end,
        person_id=caller.person_id,
        **complete,
    )
    return [ZoneVisits(zone, row) for zone, row in zip(asked, rows, strict=True)]


def _check(caller: Caller, kinds: frozenset[Any]) -> None:
    if not caller.may(kinds):
        raise PermissionDenied
