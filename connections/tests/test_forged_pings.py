"""Forged own pings reveal no position of others, and only people near most of the forged path."""

import random
from bisect import bisect_left, bisect_right
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from math import hypot
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied

from access.callers import Caller, Kind
from connections import services
from locations import services as location_services
from locations.pings import Ping
from locations.proximity import Encounter
from locations.quota import BURST
from locations.storage import record
from persons.csv_import import import_rows
from tests.attacks.forged_pings import METRES, PATHS
from tests.attacks.forged_pings import pings as forged

pytestmark = pytest.mark.django_db

ATTENDEES = 200
EVE = 1
WIDEST = {"distance_m": 10.0, "within_s": 60.0, "max_gap_s": 120.0}


def event(start: datetime) -> list[Ping]:
    """199 people with one ping per minute. Each changes to another of sixty booths every twenty minutes."""
    dice = random.Random(7)
    event_pings = []
    for person_id in range(2, ATTENDEES + 1):
        path = []
        for n in range(480):
            if n % 20 == 0:
                east, north = 30.0 * dice.randrange(10), 33.0 * dice.randrange(6)
            moment = 60.0 * n + person_id % 60
            path.append((moment, east + 4 * dice.random(), north + 4 * dice.random()))
        event_pings += forged(person_id, start, path)
    return event_pings


def near(a: Ping, b: Ping) -> bool:
    north, east = (a.latitude - b.latitude) * METRES[0], (a.longitude - b.longitude) * METRES[1]
    return hypot(north, east) < 10.05


def share(own: list[Ping], theirs: list[Ping], encounter: Encounter) -> float:
    """The share of own pings near the other person, from the first to the last such ping."""
    minute = timedelta(seconds=60)
    times = [ping.creation_time for ping in theirs]
    around = [
        ping for ping in own if encounter.start - minute <= ping.creation_time <= encounter.end + minute
    ]
    together = [
        n
        for n, ping in enumerate(around)
        if any(
            near(ping, other)
            for other in theirs[
                bisect_left(times, ping.creation_time - minute) : bisect_right(
                    times, ping.creation_time + minute
                )
            ]
        )
    ]
    return len(together) / (together[-1] - together[0] + 1)


# The number of encounters that each path may find. A path that stays in one place has real encounters.
@pytest.mark.parametrize(
    ("name", "minimum", "maximum"),
    [
        ("grid_sweep", 0, 100),
        ("zigzag", 0, 100),
        ("runner", 0, 0),
        ("jumps", 0, 0),
        ("double_jumps", 0, 0),
        ("pile", 0, 0),
        ("stays", 100, 1000),
    ],
)
def test_forged_pings_reveal_no_position_and_only_people_near_most_of_the_path(
    settings: Any, tmp_path: Path, name: str, minimum: int, maximum: int
) -> None:
    start = (datetime.now(UTC) - timedelta(hours=30)).replace(microsecond=0)
    import_rows(
        ["id,first_name,last_name,company_name,findable\n"]
        + [f"{n},A,B,C,true\n" for n in range(1, ATTENDEES + 1)]
    )
    others = event(start)
    record(others)
    own = forged(EVE, start, PATHS[name]())
    phone = Caller(Kind.INGEST, "token 1", (EVE, EVE))
    for first in range(0, len(own), BURST):
        settings.QUOTA_FILE = str(tmp_path / f"quota-{first}")  # as if an hour had passed
        assert location_services.submit(phone, own[first : first + BURST]).refused == []

    eve = Caller(Kind.PERSON, "token 2", (EVE, EVE))
    day = {"person_id": EVE, "start": start, "end": start + timedelta(hours=9)}
    with pytest.raises(PermissionDenied):
        services.connections(eve, **day)
    found = list(services.encounters(eve, **day, **WIDEST))

    assert {(e.latitude, e.longitude) for e in found} <= {(p.latitude, p.longitude) for p in own}
    assert minimum <= len(found) <= maximum
    by_person = defaultdict(list)
    for ping in others:
        by_person[ping.person_id].append(ping)
    assert all(share(own, by_person[e.person_id], e) >= 0.5 and e.duration_s >= 60 for e in found)
