"""An event that takes place now: its pings are sent in real time until the process is stopped."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import connection

from connect import neighbours
from connect.errors import NeighbourUnavailable
from locations.pings import MAX_BATCH, Ping
from simulation.event import OPENING_HOURS, Event
from venue import storage

ALREADY_OPEN = timedelta(hours=2)  # so that the halls are full from the beginning
RETRY_S = 2.0


def pings_from(event: Event, now: datetime) -> Iterator[Ping]:
    """The pings from now on, without an end. A new day opens when one closes."""
    opening = now - ALREADY_OPEN
    while True:
        yield from (ping for ping in event.day(opening) if ping.creation_time >= now)
        opening += timedelta(hours=OPENING_HOURS)


def run(event: Event, time_zone: ZoneInfo, stopped: threading.Event) -> int:
    """Sends each ping at its time, those of the same moment together. Returns their number.

    The stored event grows by each day of the time zone that begins.

    While Connect is out of reach, the pings wait and are sent later with their own times.
    """
    sent = 0
    waiting: list[Ping] = []
    today = datetime.now(time_zone).date()
    for ping in pings_from(event, datetime.now(UTC)):
        ahead_s = (ping.creation_time - datetime.now(UTC)).total_seconds()
        if waiting and (ahead_s > 0 or len(waiting) == MAX_BATCH):
            if not _submit(waiting, stopped):
                break
            sent += len(waiting)
            waiting = []
        if ahead_s > 0 and stopped.wait(ahead_s):
            break
        if (day := ping.creation_time.astimezone(time_zone).date()) != today:
            today = day
            connection.close_if_unusable_or_obsolete()
            storage.extend_simulated(today)
        waiting.append(ping)
    return sent


def _submit(pings: list[Ping], stopped: threading.Event) -> bool:
    """False if it was stopped before Connect took them."""
    while True:
        try:
            neighbours.pings().submit(pings)
        except NeighbourUnavailable:
            if stopped.wait(RETRY_S):
                return False
        else:
            return True
