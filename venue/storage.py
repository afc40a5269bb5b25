"""Reads and writes the event and the zones in the database. Checks no caller: services does."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from itertools import accumulate, count

from django.contrib.gis.db.models.functions import NumPoints
from django.db import connection, transaction
from django.db.models import Sum

from venue import models
from venue.geojson import Zone
from venue.limits import MAX_ID

Bounds = tuple[float, float, float, float]  # west, south, east, north


@dataclass(frozen=True, slots=True)
class Event:
    """The event. Without a stored one it has no name and no days."""

    name: str = ""
    time_zone: str = "UTC"
    first_day: date | None = None
    last_day: date | None = None
    bounds: Bounds | None = None


def event() -> Event:
    """The stored event. Without bounds of its own it has those of the zones."""
    row = models.Event.objects.first()
    if row is None:
        return Event()
    bounds = _bounds(*row.bounds) if row.bounds else extent()
    return Event(row.name, row.time_zone, row.first_day, row.last_day, bounds)


def _bounds(west: float, south: float, east: float, north: float) -> Bounds:
    return west, south, east, north


def extent() -> Bounds | None:
    """The bounds of all zones; None without zones. west > east crosses the 180th meridian."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT ST_XMin(area), ST_YMin(area), ST_XMax(area), ST_YMax(area) FROM venue_zone ORDER BY 1"
        )
        boxes = cursor.fetchall()
    if not boxes:
        return None
    wests, souths, easts, norths = zip(*boxes, strict=True)
    # The extent is all but the widest gap between the zones. The first gap is the one across the meridian.
    west, east = wests[0], max(easts)
    widest = west + 360 - east
    for end, start in zip(accumulate(easts, max), wests[1:], strict=False):
        if start - end > widest:
            west, east, widest = start, end, start - end
    return west, min(souths), east, max(norths)


def zones() -> list[Zone]:
    """All zones, ordered by id."""
    rows = models.Zone.objects.order_by("id").values_list("id", "name", "kind", "company", "area")
    return [Zone(zone_id, name, kind, company or None, area) for zone_id, name, kind, company, area in rows]


def area(zone_id: int) -> bytes | None:
    """The polygon of a zone as WKB; None if there is no such zone."""
    found = models.Zone.objects.filter(id=zone_id).values_list("area", flat=True).first()
    return bytes(found.wkb) if found else None


def new_id() -> int:
    """The number after the highest id; at the end of the range of ids the lowest free one.

    The identity column does not number zones, because its range is larger. Call it in changed_by_organiser.
    """
    taken = set(models.Zone.objects.values_list("id", flat=True))
    after = max(taken, default=0) + 1
    return after if after <= MAX_ID else next(number for number in count(1) if number not in taken)


def points(*, without: int = 0) -> int:
    """The number of points of all zones but this one."""
    zones = models.Zone.objects.exclude(id=without)
    return zones.aggregate(points=Sum(NumPoints("area")))["points"] or 0


def replace(*, event: Event | None = None, zones: Sequence[Zone] | None = None) -> None:
    """Replaces the event, the zones or both in one transaction; None leaves what is stored."""
    with transaction.atomic():
        _lock()
        _store(event, zones, is_simulated=False)


def replace_simulated(event: Event, zones: Sequence[Zone]) -> bool:
    """Replaces event and zones unless an organiser made them. False if they stay."""
    with transaction.atomic():
        _lock()
        stored = models.Event.objects.first()
        if not stored.is_simulated if stored else models.Zone.objects.exists():
            return False
        _store(event, zones, is_simulated=True)
        return True


def simulated_event() -> Event | None:
    """The event that the simulation has stored, if no organiser has changed it."""
    return event() if models.Event.objects.filter(is_simulated=True).exists() else None


def extend_simulated(day: date) -> None:
    """The simulated event lasts at least until this day."""
    models.Event.objects.filter(is_simulated=True, last_day__lt=day).update(last_day=day)


@contextmanager
def changed_by_organiser() -> Iterator[None]:
    """A transaction for a change of the event or of some zones. The simulation keeps the venue afterwards.

    All writers take the locks of both tables first, in one order; otherwise two of them could deadlock.
    """
    with transaction.atomic():
        _lock()
        yield
        keep_from_simulation()


def keep_from_simulation() -> None:
    """Marks the venue as an organiser's after a change of some zones."""
    models.Event.objects.update(is_simulated=False)


def _lock() -> None:
    """Makes writers wait for each other: the ids of both would be the same. Readers do not wait."""
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE venue_event, venue_zone IN SHARE ROW EXCLUSIVE MODE")


def _store(event: Event | None, zones: Sequence[Zone] | None, *, is_simulated: bool) -> None:
    if event is not None:
        bounds = list(event.bounds) if event.bounds else None
        values = asdict(event) | {"bounds": bounds}
        models.Event.objects.update_or_create(id=models.EVENT_ID, defaults=values)
    models.Event.objects.update(is_simulated=is_simulated)
    if zones is None:
        return
    models.Zone.objects.all().delete()
    models.Zone.objects.bulk_create(
        models.Zone(id=zone.id, name=zone.name, kind=zone.kind, company=zone.company or "", area=zone.area)
        for zone in zones
    )
