"""The floor plan of the simulated event: what its people walk between."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.contrib.gis.geos import Polygon

from simulation import event as simulated
from simulation.event import Event
from simulation.people import BOOTHS, company_name
from venue.geojson import Zone
from venue.models import Kind
from venue.storage import Event as StoredEvent

_BOOTH_M = 5.0  # from its middle to its sides
NAME = "Simulated event"


def stored_event(event: Event, time_zone: ZoneInfo) -> StoredEvent:
    """The event with the days of its pings in this time zone."""
    opening = datetime.combine(event.start, simulated.OPENING_TIME, UTC)
    closing = opening + timedelta(days=event.days - 1, hours=simulated.OPENING_HOURS)
    first, last = (moment.astimezone(time_zone).date() for moment in (opening, closing))
    return StoredEvent(NAME, time_zone.key, first, last)


def zones(halls: int) -> list[Zone]:
    return [
        Zone(number, name, kind, company, area)
        for number, (name, kind, company, area) in enumerate(_zones(halls), 1)
    ]
