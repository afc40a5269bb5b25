"""Stores the floor plan of the simulated event, unless an organiser has made one."""

from datetime import datetime
from zoneinfo import ZoneInfo

from django.contrib.gis.geos import Polygon

from simulation.event import PER_HALL, floor_plan
from simulation.people import BOOTHS
from venue import storage
from venue.geojson import Zone
from venue.limits import MAX_ZONES

NAME = "Simulated event"
MAX_HALLS = (MAX_ZONES - BOOTHS) // PER_HALL


def store(*, opening: datetime, closing: datetime, time_zone: ZoneInfo, halls: int) -> bool:
    """Its days are those of the time zone, and those of an earlier simulation, whose pings are still stored.

    False if an organiser's venue is stored, which stays.
    """
    first_day, last_day = (moment.astimezone(time_zone).date() for moment in (opening, closing))
    stored = storage.simulated_event()
    if stored and stored.first_day and stored.last_day:
        first_day, last_day = min(first_day, stored.first_day), max(last_day, stored.last_day)
    zones = [
        Zone(number, area.name, area.kind, area.company, Polygon(area.ring(), srid=4326))
        for number, area in enumerate(floor_plan(halls), 1)
    ]
    return storage.replace_simulated(storage.Event(NAME, time_zone.key, first_day, last_day), zones)
