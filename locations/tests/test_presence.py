"""Days, positions, heat and visits compared with brute force, all over the world."""

import math
import struct
from datetime import UTC, datetime, timedelta
from zoneinfo import available_timezones

import pytest
from django.db import connection
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from connect.time_zones import time_zone_error
from locations import presence_sql, storage
from locations.bounds import Bounds
from locations.pings import Ping
from locations.tests import presence_brute_force as brute_force
from locations.tests.test_proximity import PLACES, at, replace_all, some_hidden

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)
# With changes at 1:00, at 2:00 and at midnight, by half an hour, and a whole day left out.
TIME_ZONES = [
    *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"),
    *("America/Havana", "Africa/Cairo", "Asia/Beirut", "America/Santiago", "Pacific/Apia"),
]
many_examples = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
person_ids = st.sampled_from([None, None, 1, 2, 4])


@st.composite
def events(draw) -> list[Ping]:
    """A few people around a place, on a coarse grid so that cells, borders and instants coincide."""
    place = PLACES[draw(st.sampled_from(sorted(PLACES)))]
    spread = draw(st.sampled_from([3, 12, 60, 5000]))
    metres = st.integers(-4, 4).map(lambda n: n * spread / 4)
    seconds = st.integers(-30, 30).map(lambda n: n * 10.0) | st.floats(-300, 300).map(lambda s: round(s, 6))
    return [
        Ping(person_id, NOON + timedelta(seconds=draw(seconds)), *at(place, draw(metres), draw(metres)))
        for person_id in range(1, draw(st.integers(1, 4)) + 1)
        for _ in range(draw(st.integers(1, 10)))
    ]


# --- days ----------------------------------------------------------------------------------------

whole_years = st.integers(0, 365 * 48).map(lambda half_hours: timedelta(minutes=30 * half_hours))
instants = st.sampled_from([2011, 2026]).flatmap(
    lambda year: whole_years.map(lambda passed: datetime(year, 1, 1, tzinfo=UTC) + passed)
)
near_instants = instants.flatmap(
    lambda first: st.lists(st.integers(-100, 100), min_size=1, max_size=12).map(
        lambda steps: [first + step * timedelta(minutes=30, microseconds=step % 2 - 1) for step in steps]
    )
)


def half_hours_around(text: str) -> list[list[datetime]]:
    middle = datetime.fromisoformat(text)
    return [[middle + timedelta(minutes=30 * n, microseconds=m) for n in range(-60, 60) for m in (-1, 0)]]


@many_examples
@given(st.lists(near_instants, min_size=1, max_size=3), st.sampled_from(TIME_ZONES), person_ids, some_hidden)
@example(half_hours_around("2026-11-01T05:00Z"), "America/Havana", None, frozenset())
@example(half_hours_around("2026-03-08T05:00Z"), "America/Havana", None, frozenset())
@example(half_hours_around("2011-12-30T10:00Z"), "Pacific/Apia", None, frozenset())
@example(half_hours_around("2026-10-24T21:00Z"), "Asia/Beirut", 1, frozenset())
@example(half_hours_around("2026-10-25T01:00Z"), "Europe/Berlin", None, frozenset())
def test_days_equal_the_brute_force(times, time_zone, person_id, hidden):
    stored = replace_all(
        [Ping(1 + n % 3, time, 1.0, 2.0) for some in times for n, time in enumerate(some)], hidden
    )

    found = list(storage.days(person_id=person_id, time_zone=time_zone))

    assert found == brute_force.days(stored, person_id=person_id, time_zone=time_zone, hidden=hidden)


@many_examples
@given(st.lists(near_instants, min_size=1, max_size=3), st.sampled_from(TIME_ZONES), some_hidden)
def test_days_of_findable_people_among_many_hidden_ones(monkeypatch, times, time_zone, hidden):
    """If the outermost ping is of a hidden person, each findable person is looked up."""
    monkeypatch.setattr(presence_sql, "_OUTERMOST", 1)
    stored = replace_all(
        [Ping(1 + n % 3, time, 1.0, 2.0) for some in times for n, time in enumerate(some)], hidden
    )

    found = list(storage.days(time_zone=time_zone))

    assert found == brute_force.days(stored, person_id=None, time_zone=time_zone, hidden=hidden)


def test_every_time_zone_that_is_accepted_is_one_of_the_database():
    replace_all([Ping(1, NOON, 1.0, 2.0)], frozenset())
    accepted = [name for name in sorted(available_timezones()) if not time_zone_error(name)]
    for name in accepted:
        assert [day.first for day in storage.days(time_zone=name)] == [NOON]
    assert set(available_timezones()) - set(accepted) <= {"Factory", "localtime"}


# --- positions -----------------------------------------------------------------------------------

boxes = st.sampled_from(
    [
        None,
        Bounds(-180, -90, 180, 90),
        Bounds(13.405, 52.52, 13.5, 53),
        Bounds(179.99999, -20, -179.99999, -10),
        Bounds(0, -90, 0, 0),
    ]
)


@many_examples
@given(
    events(),
    st.integers(-31, 31),
    st.sampled_from([1e-6, 10, 20.0, 119.5, 3600]),
    boxes,
    person_ids,
    some_hidden,
)
def test_positions_equal_the_brute_force(event, tens, max_age_s, bounds, person_id, hidden):
    stored = replace_all(event, hidden)
    asked = {
        "at": NOON + timedelta(seconds=10 * tens),
        "max_age_s": max_age_s,
        "bounds": bounds,
        "person_id": person_id,
    }

    found = list(storage.positions(**asked))

    assert found == brute_force.positions(stored, **asked, hidden=hidden)


# --- heat ----------------------------------------------------------------------------------------

ranges = st.sampled_from(
    [
        {"start": NOON - timedelta(hours=1), "end": NOON + timedelta(hours=1)},
        {"start": NOON - timedelta(seconds=100), "end": NOON + timedelta(seconds=100)},
        {"start": NOON, "end": NOON},
    ]
)


@many_examples
@given(events(), ranges, st.sampled_from([1, 2.5, 5, 30, 1000]), person_ids, some_hidden)
def test_heat_equals_the_brute_force(event, between, cell_m, person_id, hidden):
    stored = replace_all(event, hidden)
    asked = {**between, "cell_m": cell_m, "person_id": person_id}

    found = list(storage.heat(**asked))

    assert found == brute_force.heat(stored, **asked, hidden=hidden)


# --- visits --------------------------------------------------------------------------------------

HALL = PLACES["Berlin"]
GRID = 1e-4  # degrees, some metres


def place(column: int, row: int) -> tuple[float, float]:
    """Longitude and latitude of a point of the grid."""
    return HALL[1] + column * GRID, HALL[0] + row * GRID


def polygon(rings: list[brute_force.Ring]) -> bytes:
    """The WKB of a polygon."""
    parts = [struct.pack("<BII", 1, 3, len(rings))]
    for ring in rings:
        parts.append(struct.pack("<I", len(ring) + 1))
        parts += [struct.pack("<dd", *corner) for corner in [*ring, ring[0]]]
    return b"".join(parts)


def rectangle(west: int, south: int, east: int, north: int) -> brute_force.Ring:
    return [place(west, south), place(east, south), place(east, north), place(west, north)]


@st.composite
def areas(draw) -> list[brute_force.Ring]:
    """A rectangle, one with a hole, or a triangle, with corners on the grid."""
    west, south = draw(st.integers(-4, 2)), draw(st.integers(-4, 2))
    width, height = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    outer = rectangle(west, south, west + width, south + height)
    if draw(st.booleans()):
        return [outer[:3]]
    if width > 2 and height > 2 and draw(st.booleans()):
        return [outer, rectangle(west + 1, south + 1, west + width - 1, south + height - 1)]
    return [outer]


@st.composite
def walks(draw) -> list[Ping]:
    """People who walk on the points of the grid and between them, before and after a full hour."""
    steps = st.integers(-12, 12)
    seconds = st.integers(-20, 20).map(lambda n: n * 15.0) | st.floats(-300, 300).map(lambda s: round(s, 6))
    pings = []
    for person_id in range(1, draw(st.integers(1, 3)) + 1):
        for _ in range(draw(st.integers(1, 15))):
            longitude, latitude = (HALL[axis] + draw(steps) * GRID / 2 for axis in (1, 0))
            pings.append(Ping(person_id, NOON + timedelta(seconds=draw(seconds)), latitude, longitude))
    return pings


@many_examples
@given(
    walks(),
    st.dictionaries(st.integers(-5, 50), areas(), min_size=1, max_size=5),
    ranges,
    st.sampled_from([0, 14.999999, 15, 60, 120, 86_400]),
    st.sampled_from([0, 15, 60]),
    person_ids,
    some_hidden,
)
def test_visits_equal_the_brute_force(walk, shapes, between, max_gap_s, min_duration_s, person_id, hidden):
    stored = replace_all(walk, hidden)
    asked = {
        **between,
        "max_gap_s": max_gap_s,
        "min_duration_s": min_duration_s,
        "person_id": person_id,
    }

    found = list(storage.visits(areas=[(n, polygon(shapes[n])) for n in shapes], **asked))
    expected = brute_force.visits(stored, areas=shapes, **asked, hidden=hidden)

    def rounded(visits):
        stays = (visits.person_seconds, visits.median_stay_s or 0, visits.longest_stay_s or 0)
        return visits.area_id, visits.people, visits.visits, *(round(stay, 6) for stay in stays)

    assert list(map(rounded, found)) == [pytest.approx(rounded(each), abs=2e-6) for each in expected]
    assert [each.median_stay_s is None for each in found] == [not each.visits for each in found]


def test_a_polygon_of_many_points_is_not_copied_into_the_cells():
    """Cells of 10,000 points each would not fit into memory and would go to temporary files."""
    turns = [n / 10_000 * math.tau for n in range(10_000)]
    circle = polygon([[(math.cos(turn), math.sin(turn)) for turn in turns]])
    replace_all([Ping(1, NOON + timedelta(seconds=n), 0.1, 0.1) for n in (0, 60)], frozenset())
    hour = {"start": NOON, "end": NOON + timedelta(hours=1)}
    asked = {"areas": [(1, circle)], **hour, "max_gap_s": 120, "min_duration_s": 0}
    sql, values = presence_sql.visits_sql(**asked, person_id=None)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", values)
        plan = cursor.fetchone()[0][0]["Plan"]
    assert plan["Temp Written Blocks"] == 0
    assert [each.visits for each in storage.visits(**asked)] == [1]
