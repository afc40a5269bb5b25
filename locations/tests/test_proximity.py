"""Connections and encounters compared with brute force, all over the world."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from geographiclib.geodesic import Geodesic
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from locations import proximity_sql, storage
from locations.pings import Ping
from locations.tests import brute_force
from persons.models import Person

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)
DAY = {"start": datetime(2026, 5, 11, tzinfo=UTC), "end": datetime(2026, 5, 12, tzinfo=UTC)}
PLACES = {
    "Berlin": (52.52, 13.405),
    "zero": (0.0, 0.0),
    "antimeridian": (-17.0, 180.0),
    "north pole": (90.0, 0.0),
    "near the south pole": (-89.9999, 77.0),
    "a corner of cubes": (45.0, -90.0),
}
# Magnitudes that older versions stored, and that can underflow in PostgreSQL's arithmetic. The first is the
# smallest latitude for which PostgreSQL can compute the generated columns.
TINY_LATITUDES = [1e-157, 1e-155, 1e-103, 1e-90, 1e-60]
TINY_LONGITUDES = [5e-323, 1e-320, 2.3e-308, 1e-300, *TINY_LATITUDES]


def at(place: tuple[float, float], east_m: float, north_m: float) -> tuple[float, float]:
    """The position `east_m` and `north_m` away, as a device sends it: seven decimals, -180 to 180."""
    latitude, longitude = place
    point = Geodesic.WGS84.Direct(latitude, longitude, 90, east_m)
    point = Geodesic.WGS84.Direct(point["lat2"], point["lon2"], 0, north_m)
    wrapped = (point["lon2"] + 180) % 360 - 180
    return round(point["lat2"], 7), round(wrapped, 7)


def replace_all(pings: list[Ping], hidden: Collection[int] = ()) -> list[Ping]:
    """Replaces all stored pings; returns the stored ones, without repeats. `hidden` are not findable."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM locations_location")
        cursor.execute("DELETE FROM persons_person")
        people = sorted({ping.person_id for ping in pings} | {1})
        cursor.execute(
            "INSERT INTO persons_person (id, first_name, last_name, company_name, findable) "
            "SELECT id, 'A', 'B', 'C', id <> ALL(%s) FROM unnest(%s) AS id",
            [list(hidden), people],
        )
    storage.record(pings)
    unique: dict[tuple, Ping] = {}
    for ping in pings:
        unique.setdefault((ping.person_id, ping.creation_time), ping)
    return list(unique.values())


@st.composite
def events(draw) -> list[Ping]:
    """A few people who walk around a place for some minutes, on a coarse grid so that they meet often."""
    place = PLACES[draw(st.sampled_from(sorted(PLACES)))]
    spread = draw(st.sampled_from([3, 12, 60, 400, 5000]))
    metres = st.integers(-4, 4).map(lambda n: n * spread / 4)
    seconds = st.integers(0, 60).map(lambda n: n * 5.0) | st.floats(0, 300).map(lambda s: round(s, 3))
    accuracies = st.sampled_from([None, 3.3, 12.5, 40.0])
    pings = []
    for person_id in range(1, draw(st.integers(2, 4)) + 1):
        for _ in range(draw(st.integers(1, 10))):
            latitude, longitude = at(place, draw(metres), draw(metres))
            if not latitude and draw(st.booleans()):
                latitude = draw(st.sampled_from([-1, 1])) * draw(st.sampled_from(TINY_LATITUDES))
            if not longitude and draw(st.booleans()):
                longitude = draw(st.sampled_from([-1, 1])) * draw(st.sampled_from(TINY_LONGITUDES))
            moment = NOON + timedelta(seconds=draw(seconds))
            pings.append(Ping(person_id, moment, latitude, longitude, draw(accuracies)))
    return pings


ranges = st.sampled_from(
    [
        DAY,
        {"start": NOON, "end": NOON + timedelta(seconds=120)},
        {"start": NOON + timedelta(seconds=60), "end": NOON + timedelta(seconds=150)},
        {"start": NOON, "end": NOON},
    ]
)
max_accuracies = st.sampled_from([None, 1, 3.3, 12.5, 39.9, 100_000])
some_hidden = st.just(frozenset()) | st.frozensets(st.integers(1, 4))
distances = st.sampled_from([0.5, 1, 5, 25, 40, 41, 100, 1000, 10_000])
many_examples = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@many_examples
@given(
    events(), ranges, distances, st.sampled_from([None, 0, 0.5, 10, 60, 3600]), max_accuracies, some_hidden
)
def test_connections_equal_the_brute_force(event, between, d, within_s, max_accuracy_m, hidden):
    stored = replace_all(event, hidden)
    assume(not brute_force.is_ambiguous(stored, 1, **between, d=d))

    question = {**between, "distance_m": d, "within_s": within_s, "max_accuracy_m": max_accuracy_m}

    found = list(storage.connections(1, **question))

    assert found == brute_force.connections(stored, 1, **question, hidden=hidden)


@many_examples
@given(events(), ranges, distances, some_hidden)
def test_connections_by_large_cubes_equal_the_brute_force(monkeypatch, event, between, d, hidden):
    stored = replace_all(event, hidden)
    assume(not brute_force.is_ambiguous(stored, 1, **between, d=d))
    monkeypatch.setattr(proximity_sql, "SMALL_CUBES_MAX_OWN", 0)

    found = list(storage.connections(1, **between, distance_m=d))

    assert found == brute_force.connections(stored, 1, **between, distance_m=d, within_s=None, hidden=hidden)


@many_examples
@given(
    events(),
    ranges,
    distances,
    st.sampled_from([0, 5, 60, 3600]),
    st.sampled_from([0, 5, 30, 75]),
    st.sampled_from([0, 1, 30]),
    max_accuracies,
    some_hidden,
)
def test_encounters_equal_the_brute_force(
    event, between, d, within_s, max_gap_s, min_duration_s, max_accuracy_m, hidden
):
    stored = replace_all(event, hidden)
    assume(not brute_force.is_ambiguous(stored, 1, **between, d=d))
    question = {
        **between,
        "distance_m": d,
        "within_s": within_s,
        "max_gap_s": max_gap_s,
        "min_duration_s": min_duration_s,
        "max_accuracy_m": max_accuracy_m,
    }

    found = list(storage.encounters(1, **question))
    expected = brute_force.encounters(stored, 1, **question, hidden=hidden)

    assert [(e.person_id, e.start, e.end, e.pings) for e in found] == [row[:4] for row in expected]
    for encounter, row in zip(found, expected, strict=True):
        assert encounter.min_distance_m == pytest.approx(row[4], abs=0.00500001)
        assert (encounter.latitude, encounter.longitude) == row[5:]


@many_examples
@given(
    events(),
    ranges,
    st.sampled_from([1, 5, 10, 100]),
    st.sampled_from([0, 5, 60]),
    st.sampled_from([0, 5, 30, 75]),
    st.sampled_from([0, 1, 30]),
    st.sampled_from([0.1, 0.7, 10, 200]),
    max_accuracies,
    some_hidden,
)
def test_plausible_encounters_equal_the_brute_force(
    settings, event, between, d, within_s, max_gap_s, min_duration_s, speed, max_accuracy_m, hidden
):
    settings.MAX_SPEED_M_S = speed
    stored = replace_all(event, hidden)
    assume(not brute_force.is_ambiguous(stored, 1, **between, d=d))
    question = {**between, "distance_m": d, "within_s": within_s}
    question |= {"max_gap_s": max_gap_s, "min_duration_s": min_duration_s, "max_accuracy_m": max_accuracy_m}

    found = list(storage.encounters(1, **question, plausible_only=True))
    expected = brute_force.encounters(stored, 1, **question, max_speed_m_s=speed, hidden=hidden)

    assert [(e.person_id, e.start, e.end, e.pings) for e in found] == [row[:4] for row in expected]
    for encounter, row in zip(found, expected, strict=True):
        assert encounter.min_distance_m == pytest.approx(row[4], abs=0.00500001)
        assert (encounter.latitude, encounter.longitude) == row[5:]


# --- forged own pings ----------------------------------------------------------------------------

HALL = PLACES["Berlin"]
MINUTE = {"distance_m": 5, "within_s": 60, "max_gap_s": 75, "min_duration_s": 60, "plausible_only": True}


def pings_every(
    person_id: int, seconds: float, where: list[tuple[float, float]], start: float = 0
) -> list[Ping]:
    """A ping at each place in turn, `seconds` apart; places in metres from the middle of the hall."""
    places = {each: at(HALL, *each) for each in set(where)}
    return [
        Ping(person_id, NOON + timedelta(seconds=start + n * seconds), *places[each])
        for n, each in enumerate(where)
    ]


def met_ids(person_id: int = 1, **question) -> list[int]:
    return [e.person_id for e in storage.encounters(person_id, **(DAY | MINUTE | question))]


HERE, THERE = (0.0, 0.0), (300.0, 0.0)


def test_two_people_in_one_place_meet():
    replace_all(pings_every(1, 10, [HERE] * 7) + pings_every(2, 10, [HERE] * 7))
    assert met_ids() == [2]


@pytest.mark.parametrize("seconds", [1, 5, 29])
def test_pings_that_jump_between_places_do_not_count(seconds):
    replace_all(
        pings_every(1, seconds, [HERE, THERE] * 100)
        + pings_every(2, 10, [HERE] * 400)
        + pings_every(3, 10, [THERE] * 400)
    )
    assert met_ids(plausible_only=False) == [2, 3]
    assert met_ids() == []


@pytest.mark.parametrize("start_s", range(0, 240, 30))
def test_a_jump_just_before_the_range_is_detected(start_s):
    """Each range starts with a ping at the target that is too fast from the previous one."""
    replace_all(pings_every(1, 10, [THERE, HERE] * 20) + pings_every(2, 10, [HERE] * 40))
    start = NOON + timedelta(seconds=start_s)
    assert met_ids(start=start, end=start + timedelta(seconds=61)) == []


def test_the_previous_ping_may_be_hours_old_and_far_away():
    """At 10 m/s, 300 km are possible in 12 hours and not in 5."""
    for hours, expected in ((12, [2]), (5, [])):
        home = Ping(1, NOON - timedelta(hours=hours), *at(HALL, 300_000, 0))
        replace_all([home, *pings_every(1, 60, [HERE] * 2), *pings_every(2, 10, [HERE] * 7)])
        assert met_ids() == expected


def test_pings_less_than_a_second_apart_do_not_count():
    replace_all(pings_every(1, 0.999, [HERE] * 100) + pings_every(2, 10, [HERE] * 10))
    assert met_ids() == []
    replace_all(pings_every(1, 1, [HERE] * 100) + pings_every(2, 10, [HERE] * 10))
    assert met_ids() == [2]


def test_implausible_pings_are_part_of_the_total():
    """Pings elsewhere, too close in time to count, between two pings at the target."""
    away = [Ping(1, NOON + timedelta(seconds=30, milliseconds=n), *at(HALL, 100, 0)) for n in range(3)]
    replace_all(pings_every(1, 60, [HERE] * 2) + away[:2] + pings_every(2, 10, [HERE] * 7))
    assert met_ids() == [2]  # 2 of 4
    replace_all(pings_every(1, 60, [HERE] * 2) + away + pings_every(2, 10, [HERE] * 7))
    assert met_ids() == []  # 2 of 5


@pytest.mark.parametrize(("places", "meetings"), [(1, 1), (2, 2), (3, 0), (4, 0)])
def test_a_round_trip_meets_only_people_near_half_of_its_pings(places, meetings):
    """`places` people, 100 m apart, and a path that moves to the next one every 15 s for an hour."""
    spots = [(100.0 * n, 0.0) for n in range(places)]
    others = [each for n, spot in enumerate(spots) for each in pings_every(2 + n, 10, [spot] * 360)]
    replace_all(pings_every(1, 15, spots * (240 // places)) + others)
    assert len(met_ids(max_gap_s=120)) == meetings


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("d", [5, 30, 500, 9_999])
def test_distances_are_exact_in_every_direction_all_over_the_world(place, d):
    pings = [Ping(1, NOON, *at(place, 0, 0))]
    person_id = 2
    for azimuth in range(0, 360, 45):
        for reach in (d - 0.5, d + 0.5):
            there = Geodesic.WGS84.Direct(pings[0].latitude, pings[0].longitude, azimuth, reach)
            longitude = (there["lon2"] + 180) % 360 - 180
            pings.append(Ping(person_id, NOON, there["lat2"], longitude))
            person_id += 1
    replace_all(pings)

    near = [p.person_id for p in storage.connections(1, **DAY, distance_m=d, within_s=0)]
    any_time = [p.person_id for p in storage.connections(1, **DAY, distance_m=d)]

    assert near == any_time == list(range(2, person_id, 2))


def test_points_at_the_antimeridian_and_the_pole_are_equal_across_longitudes():
    replace_all(
        [
            Ping(1, NOON, 10.0, 180.0),
            Ping(2, NOON, 10.0, -180.0),
            Ping(1, NOON + timedelta(hours=1), 90.0, 12.0),
            Ping(3, NOON + timedelta(hours=1), 90.0, -170.0),
        ]
    )

    found = list(storage.encounters(1, **DAY, distance_m=0.001, within_s=0, max_gap_s=0))

    assert [(e.person_id, e.min_distance_m) for e in found] == [(2, 0.0), (3, 0.0)]


@pytest.mark.parametrize("tiny", [5e-323, 1e-320, 1e-300, 1e-163, 1e-155, 1e-108, 1e-103, -1e-90, 1e-90])
@pytest.mark.parametrize("latitude", [0.1, 0.0, 90.0, -89.99999])
@pytest.mark.parametrize("base", [0.0, 90.0, 180.0])
@pytest.mark.parametrize("d", [1e-9, 5, 100, 10_000])
def test_tiny_coordinates_make_no_question_fail(tiny, latitude, base, d):
    """Older versions stored coordinates near 0, whose squares, cubes and quotients underflow."""
    later = NOON + timedelta(seconds=10)
    there = [(1, NOON, base), (1, later, tiny), (2, later, base), (2, NOON, tiny), (3, NOON, -tiny)]
    with connection.cursor() as cursor:
        replace_all([Ping(person_id, NOON - timedelta(days=9), 1.0, 1.0) for person_id in (1, 2, 3)])
        cursor.executemany(
            "INSERT INTO locations_location (person_id, creation_time, latitude, longitude) "
            "VALUES (%s, %s, %s, %s)",
            [(person_id, moment, latitude, longitude) for person_id, moment, longitude in there],
        )
    stored = [Ping(person_id, moment, latitude, longitude) for person_id, moment, longitude in there]

    for within_s in (None, 0, 60):
        question = {**DAY, "distance_m": d, "within_s": within_s}
        assert list(storage.connections(1, **question)) == brute_force.connections(stored, 1, **question)
    question = {**DAY, "distance_m": d, "within_s": 60, "max_gap_s": 75}
    found = [(e.person_id, e.start, e.end, e.pings) for e in storage.encounters(1, **question)]
    assert found == [row[:4] for row in brute_force.encounters(stored, 1, **question)]


def test_a_location_near_many_own_pings_is_returned_once():
    replace_all(
        [Ping(1, NOON + timedelta(seconds=s), 1.0, 1.0) for s in range(9)] + [Ping(2, NOON, 1.0, 1.0)]
    )

    assert len(list(storage.connections(1, **DAY, distance_m=5, within_s=60))) == 1
    assert len(list(storage.connections(1, **DAY, distance_m=5))) == 1
    assert len(list(storage.connections(1, **DAY, distance_m=500))) == 1


@pytest.mark.parametrize("d", [5e-324, 1e-310, 1e-200, 1e-9])
def test_the_distance_may_be_tiny(d):
    replace_all([Ping(1, NOON, 1.0, 1.0), Ping(2, NOON, 1.0, 1.0), Ping(3, NOON, 1.0, 1.0000001)])

    for within_s in (None, 60):
        found = storage.connections(1, **DAY, distance_m=d, within_s=within_s)
        assert [ping.person_id for ping in found] == [2]


def test_encounters_that_share_an_own_ping_have_their_own_distances():
    """If max_gap is less than within, one own ping may be in two encounters."""
    place = PLACES["Berlin"]
    far = [Ping(2, NOON, *at(place, 2000, 0)), Ping(2, NOON + timedelta(seconds=50), *at(place, 1500, 0))]
    replace_all([Ping(1, NOON, *place), *far])

    found = storage.encounters(1, **DAY, distance_m=5000, within_s=60, max_gap_s=10)

    assert [e.min_distance_m for e in found] == pytest.approx([2000, 1500], abs=0.02)


def test_both_people_see_the_same_encounter():
    walk = [Ping(1, NOON + timedelta(seconds=10 * n), 1.0, 1.0) for n in range(10)]
    stay = [Ping(2, NOON + timedelta(seconds=7 * n + 3), 1.0, 1.00001) for n in range(10)]
    replace_all(walk + stay)
    question = {**DAY, "distance_m": 5, "within_s": 60, "max_gap_s": 75}

    (mine,) = storage.encounters(1, **question)
    (theirs,) = storage.encounters(2, **question)

    assert (mine.start, mine.end, mine.min_distance_m) == (theirs.start, theirs.end, theirs.min_distance_m)
    assert (mine.person_id, theirs.person_id) == (2, 1)


def test_a_hidden_person_is_in_no_answer_of_others_and_still_gets_own_answers():
    replace_all([Ping(person_id, NOON, 1.0, 1.0) for person_id in (1, 2, 3)])
    question = {**DAY, "distance_m": 5, "within_s": 60, "max_gap_s": 75}

    def seen(person_id: int) -> list[list[int]]:
        ways = [
            storage.connections(person_id, **DAY, distance_m=5),
            storage.connections(person_id, **DAY, distance_m=5, within_s=60),
            storage.connections(person_id, **DAY, distance_m=500),
            storage.encounters(person_id, **question),
        ]
        return [[each.person_id for each in way] for way in ways]

    assert seen(1) == [[2, 3]] * 4
    Person.objects.filter(id=2).update(findable=False)
    assert seen(1) == [[3]] * 4
    assert seen(2) == [[1, 3]] * 4
    assert [ping.person_id for ping in storage.list_between(**DAY)] == [1, 3]
    assert [ping.person_id for ping in storage.list_between(**DAY, limit=2)] == [1, 3]
    assert [ping.person_id for ping in storage.list_between(person_id=2)] == [2]
    assert storage.get(2, NOON) is not None
    Person.objects.filter(id=2).update(findable=True)
    assert seen(1) == [[2, 3]] * 4


def test_all_pages_together_are_the_whole_answer():
    pings = [
        Ping(person_id, NOON + timedelta(seconds=200 * n + person_id), 1.0, 1.0)
        for person_id in range(1, 6)
        for n in range(6)
    ]
    pings += [ping._replace(person_id=9) for ping in pings if ping.person_id == 3]
    replace_all(pings, hidden=[1, 9])
    question = {**DAY, "distance_m": 5, "within_s": 60, "max_gap_s": 75}
    near = {**DAY, "distance_m": 5}

    whole = list(storage.encounters(1, **question))
    paged, after = [], None
    while page := list(storage.encounters(1, **question, after=after, limit=5)):
        paged += page
        after = (page[-1].start, page[-1].person_id, page[-1].nth)
    assert paged == whole
    assert len(whole) == 24

    for within_s in (60, None):
        whole = list(storage.connections(1, **near, within_s=within_s))
        paged, after = [], None
        while page := list(storage.connections(1, **near, within_s=within_s, after=after, limit=5)):
            paged += page
            after = (page[-1].creation_time, page[-1].person_id)
        assert paged == whole
        assert len(whole) == 24
