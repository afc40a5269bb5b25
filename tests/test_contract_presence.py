"""The contract of days, positions, heat and visits: the same assertions over every implementation."""

import struct
from datetime import UTC, date, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from django.db import connection

from connect.errors import NeighbourUnavailable
from grpc_server import client as grpc_client
from locations import http_client, storage
from locations.bounds import Bounds
from locations.pings import Ping
from locations.presence import AreaVisits, Day, HeatCell
from persons.models import Person

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)
DAY = {"start": NOON - timedelta(hours=12), "end": NOON + timedelta(hours=12)}
VISIT = {**DAY, "max_gap_s": 120.0, "min_duration_s": 60.0}
NOBODY = [0, -1, 77, 2**63 - 1, 2**63, 10**30]


@pytest.fixture(autouse=True)
def people(transactional_db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO persons_person (id, first_name, last_name, company_name) "
            "SELECT id, 'A', 'B', 'C' FROM generate_series(1, 3000) AS id"
        )
    Person.objects.filter(id=9).update(findable=False)


def at(person_id: int, second: float, *, latitude: float = 1.0, longitude: float = 2.0) -> Ping:
    return Ping(person_id, NOON + timedelta(seconds=second), latitude, longitude)


def rectangle(west: float, south: float, east: float, north: float) -> bytes:
    """The WKB of a polygon."""
    corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    return struct.pack("<BIII10d", 1, 3, 1, 5, *(number for corner in corners for number in corner))


# --- days ----------------------------------------------------------------------------------------


def test_days_have_their_first_and_last_ping(locations: ModuleType):
    stored = [at(1, 0), at(2, 3600.000001), at(1, 12 * 3600), at(1, 40 * 24 * 3600), at(9, -(10**7))]
    storage.record(stored)

    first, second, last = (stored[index].creation_time for index in (0, 2, 3))
    assert list(locations.days(time_zone="UTC")) == [
        Day(date(2026, 5, 11), first, stored[1].creation_time),
        Day(date(2026, 5, 12), second, second),
        Day(date(2026, 6, 20), last, last),
    ]
    assert list(locations.days(time_zone="Pacific/Auckland")) == [
        Day(date(2026, 5, 12), first, second),
        Day(date(2026, 6, 21), last, last),
    ]
    own = Day(date(2026, 5, 11), stored[1].creation_time, stored[1].creation_time)
    assert list(locations.days(person_id=2)) == [own]
    hidden = stored[4].creation_time
    assert list(locations.days(person_id=9)) == [Day(hidden.date(), hidden, hidden)]


def test_many_days_come_in_order_and_whole(locations: ModuleType):
    """More than a block of rows."""
    storage.record([at(1, n * 24 * 3600) for n in range(2500)])

    found = list(locations.days())

    assert [day.first for day in found] == [NOON + timedelta(days=n) for n in range(2500)]


def test_nobody_has_days_positions_or_heat(locations: ModuleType):
    storage.record([at(1, 0)])
    area = (5, rectangle(1, 0, 3, 2))

    for nobody in NOBODY:
        assert list(locations.days(person_id=nobody)) == []
        assert list(locations.positions(at=NOON, max_age_s=60, person_id=nobody)) == []
        assert list(locations.heat(**DAY, cell_m=5, person_id=nobody)) == []
        assert list(locations.visits(**VISIT, areas=[area], person_id=nobody)) == [
            AreaVisits(5, 0, 0, 0.0, None, None)
        ]


# --- positions -----------------------------------------------------------------------------------


def test_positions_are_the_newest_of_each_person(locations: ModuleType):
    old, new, other, late, hidden = at(2, -60), at(2, -59.999999), at(1, 0), at(3, 0.000001), at(9, 0)
    storage.record([old, new._replace(accuracy=12.5), other, late, hidden])
    new = new._replace(accuracy=12.5)

    assert list(locations.positions(at=NOON, max_age_s=60)) == [other, new]
    assert list(locations.positions(at=NOON, max_age_s=59.999999)) == [other]
    assert list(locations.positions(at=NOON, max_age_s=60, person_id=2)) == [new]
    assert list(locations.positions(at=NOON, max_age_s=60, person_id=9)) == [hidden]
    assert list(locations.positions(at=NOON - timedelta(hours=1), max_age_s=3600)) == []
    assert list(locations.positions(at=datetime.min.replace(tzinfo=UTC), max_age_s=3600)) == []
    assert list(locations.positions(at=datetime.max.replace(tzinfo=UTC), max_age_s=3600)) == []


def test_a_box_leaves_out_people_whose_newest_position_is_outside(locations: ModuleType):
    storage.record([at(1, -1), at(1, 0, longitude=9), at(2, 0), at(3, 0, longitude=-179)])

    def seen(*box: float) -> list[int]:
        asked = {"at": NOON, "max_age_s": 60.0, "bounds": Bounds(*box)}
        return [ping.person_id for ping in locations.positions(**asked)]

    assert seen(1, 0, 3, 2) == [2]
    assert seen(8, 0, -178, 2) == [1, 3]
    assert seen(-180, 1, 180, 1) == [1, 2, 3]


def test_many_positions_come_in_order_and_whole(locations: ModuleType):
    """More than a block of rows."""
    storage.record([at(person_id, -person_id / 100) for person_id in range(3000, 0, -1)])

    found = list(locations.positions(at=NOON, max_age_s=60))

    assert [ping.person_id for ping in found] == [n for n in range(1, 3001) if n != 9]


# --- heat ----------------------------------------------------------------------------------------


def test_heat_counts_minutes_and_people_in_each_cell(locations: ModuleType):
    here, there = {"latitude": 52.5, "longitude": 13.4}, {"latitude": 52.5001, "longitude": 13.4}
    storage.record([at(1, 0, **here), at(1, 59.9, **here), at(1, 60, **here), at(2, 0, **here)])
    storage.record([at(2, 30, **there), at(9, 0, **there), at(3, 13 * 3600, **there)])

    south, north = locations.heat(**DAY, cell_m=5)

    assert (south.person_minutes, south.people) == (3, 2)
    assert (north.person_minutes, north.people) == (1, 1)
    for cell, place in ((south, here), (north, there)):
        assert abs(cell.latitude - place["latitude"]) * 111_195 <= 2.6
        assert abs(cell.longitude - place["longitude"]) * 67_692 <= 2.6
    assert isinstance(south, HeatCell)
    [own] = locations.heat(**DAY, cell_m=5, person_id=9)
    assert own == HeatCell(north.latitude, north.longitude, 1, 1)


def test_many_cells_come_in_order_and_whole(locations: ModuleType):
    storage.record([at(1, n, latitude=n / 100 - 10, longitude=n % 7) for n in range(2500)])

    found = list(locations.heat(**DAY, cell_m=1000))

    assert found == list(storage.heat(**DAY, cell_m=1000))
    assert len(found) > 2000
    assert sorted(found, key=lambda cell: (cell.latitude, cell.longitude)) == found


# --- visits --------------------------------------------------------------------------------------


def test_visits_are_runs_of_pings_in_an_area(locations: ModuleType):
    area, empty = (7, rectangle(1, 0, 3, 2)), (3, rectangle(50, 50, 51, 51))
    storage.record([at(1, n * 120) for n in range(4)])  # 360 s
    storage.record([at(1, 360 + 120.000001 + n * 60) for n in range(2)])  # 60 s
    storage.record([at(2, n * 59.999999) for n in range(2)])  # too short
    storage.record([at(3, n * 60, longitude=3.0 + n % 2 * 1e-9) for n in range(9)])  # every other is outside
    storage.record([at(9, n * 60) for n in range(9)])  # hidden

    assert list(locations.visits(**VISIT, areas=[area, empty])) == [
        AreaVisits(3, 0, 0, 0.0, None, None),
        AreaVisits(7, people=2, visits=3, person_seconds=900.0, median_stay_s=360.0, longest_stay_s=480.0),
    ]
    own = AreaVisits(7, people=1, visits=1, person_seconds=480.0, median_stay_s=480.0, longest_stay_s=480.0)
    assert list(locations.visits(**VISIT, areas=[area], person_id=3)) == [own]
    assert list(locations.visits(**VISIT, areas=[])) == []


def test_many_areas_come_in_order_and_whole(locations: ModuleType):
    """More than a block of rows, and more than fits into a URL."""
    storage.record([at(1, n * 60, longitude=100.5) for n in range(3)])
    areas = [(n, rectangle(n / 20, 0, n / 20 + 0.05, 2)) for n in range(2500, 0, -1)]

    found = list(locations.visits(**VISIT, areas=areas))

    assert [visits.area_id for visits in found] == list(range(1, 2501))
    assert [visits.area_id for visits in found if visits.visits] == [2009, 2010]  # on the border of both


# --- out of reach --------------------------------------------------------------------------------

QUESTIONS: dict[str, dict[str, Any]] = {
    "days": {},
    "positions": {"at": NOON, "max_age_s": 60.0},
    "heat": {**DAY, "cell_m": 5.0},
    "visits": {**VISIT, "areas": [(1, rectangle(0, 0, 1, 1))]},
}


@pytest.mark.parametrize("verb", QUESTIONS)
@pytest.mark.parametrize("far", ["http", "grpc"])
def test_a_server_that_is_away_is_said_to_be(far: str, verb: str, settings: Any, free_port: int):
    settings.LOCATIONS_URL = f"{far}://127.0.0.1:{free_port}"
    client = {"http": http_client, "grpc": grpc_client}[far]

    with pytest.raises(NeighbourUnavailable):
        list(getattr(client, verb)(**QUESTIONS[verb]))
