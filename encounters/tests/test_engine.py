"""The engine finds, for every person, exactly what the question by SQL answers."""

import time
import tracemalloc
from datetime import timedelta

import numpy as np
import pytest
from django.db import connection
from geographiclib.geodesic import Geodesic
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encounters import engine
from encounters.engine import Engine, Parameters
from encounters.geodesy import geocentric, geodesic_m
from encounters.rows import ENCOUNTER, PING, Rows
from encounters.tests.asked import asked, columns, found, in_order
from locations import limits
from locations.pings import Ping
from locations.tests.test_proximity import DAY, NOON, PLACES, at, events, replace_all

pytestmark = pytest.mark.django_db

many_examples = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
parameters = st.builds(
    Parameters,
    distance_m=st.sampled_from([0.5, 1, 5, 25, 41, 100, 1000]),
    within_s=st.sampled_from([0, 0.5, 5, 60, 3600]),
    max_gap_s=st.sampled_from([0, 5, 30, 75]),
)


def fed(pings: Rows, cuts: list[int], asked_for: Parameters | None = None) -> Rows:
    """The encounters of pings that come in slices, which end at these times."""
    finder, rest, ended = Engine(asked_for), pings, []
    for cut in [*sorted(set(cuts)), int(pings["time"].max()) + 1]:
        now = rest["time"] < cut
        ended.append(finder.feed(rest[now], until=cut))
        rest = rest[~now]
        if not len(rest):
            break
    return np.sort(np.concatenate([*ended, finder.finish()]))


@st.composite
def dense_events(draw) -> list[Ping]:
    """Two to five people in a few square metres, with equal times, repeats, and distances that are equal."""
    place = PLACES[draw(st.sampled_from(sorted(PLACES)))]
    spots = [at(place, 5.0 * east, 5.0 * north) for east in range(3) for north in range(2)]
    ping = st.builds(
        lambda person_id, seconds, spot: Ping(person_id, NOON + timedelta(seconds=seconds), *spot),
        st.integers(1, 5),
        st.integers(0, 40).map(lambda n: n * 15),
        st.sampled_from(spots),
    )
    return draw(st.lists(ping, min_size=2, max_size=120))


@many_examples
@given(events() | dense_events(), parameters)
def test_the_engine_equals_the_question(event, parameters):
    replace_all(event)

    people = sorted({ping.person_id for ping in event})
    expected = asked(people, parameters, **DAY)

    assert in_order(found(people, engine.find(columns(event), parameters))) == in_order(expected)


@many_examples
@given(
    events() | dense_events(),
    parameters,
    st.lists(st.integers(0, 600), max_size=8),
    st.sampled_from([1, 2, 7, 2000]),
)
def test_slices_and_chunks_of_any_size_give_the_same(event, parameters, seconds, chunk):
    pings = columns(event)
    cuts = [int(pings["time"].min()) + each * 1_000_000 for each in seconds]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "FIRST_CHUNK", chunk)
        patch.setattr(engine, "MAX_CHUNK", chunk)
        sliced = fed(pings, cuts, parameters)
    assert sliced.tolist() == np.sort(engine.find(pings, parameters)).tolist()


@many_examples
@given(events() | dense_events(), parameters, st.data())
def test_pings_in_any_order_give_the_same_or_are_said_to_miss_pings(event, parameters, data):
    pings = columns(data.draw(st.permutations(event)))
    sizes = data.draw(st.lists(st.integers(1, 40), max_size=20))
    truth = set(engine.find(pings, parameters).tolist())

    finder = Engine(parameters)
    for batch in np.split(pings, np.cumsum(sizes)):
        finder.take(batch)
        finder.take_changes(5)
    ended = finder.close(int(pings["time"].max()) + parameters.max_gap_us + 1)
    unsure = finder.take_incomplete()

    assert set(ended.tolist()) <= truth
    others = truth - set(ended.tolist())
    assert {each[1:3] for each in others} <= set(
        zip(*(unsure[f"person_{n}_id"].tolist() for n in "ab"), strict=True)
    )


@pytest.mark.parametrize("spare", [1, 100_000])
def test_what_is_stored_follows_what_changes(spare, monkeypatch):
    """Kept by its changes alone, a copy has in the end what the engine has found."""
    monkeypatch.setattr(engine, "_SPARE_COUPLES", spare)
    stored: dict[tuple, tuple] = {}
    finder, begin = Engine(), 1_778_500_000_000_000
    pings = crowd(people=30, pings_each=60, width_m=30)
    for until in range(begin, begin + 780_000_000, 7_000_000):
        finder.take(pings[(pings["time"] >= until) & (pings["time"] < until + 7_000_000)])
        ended = finder.close(until - 20_000_000)
        changed, withdrawn = finder.take_changes(10)
        for key in withdrawn.tolist():
            del stored[key]
        keys_changed = [each[:3] for each in [*ended.tolist(), *changed.tolist()]]
        assert len(set(keys_changed)) == len(keys_changed)
        stored |= zip(keys_changed, [*ended.tolist(), *changed.tolist()], strict=True)
    assert {each for each in stored.values() if not each[-1]} == set(engine.find(pings).tolist())
    assert not any(each[-1] for each in stored.values())


def test_a_step_costs_what_its_pings_cost():
    """Not what all encounters cost that go on: ten times as many."""

    def cost(people: int) -> float:
        finder = Engine()
        pings = crowd(people=people, pings_each=6, width_m=4 * people**0.5)
        finder.take(pings)
        finder.take_changes(0)
        few = pings[-50:].copy()
        few["time"] += 1000
        begin = time.process_time()
        for _ in range(20):
            few["time"] += 1000
            finder.take(few)
            finder.take_changes(0)
            finder.close(int(pings["time"].min()))
        return time.process_time() - begin

    cost(200)
    assert min(cost(4000) for _ in range(3)) < 5 * min(cost(400) for _ in range(3))


def test_an_order_that_does_not_fit_one_number_is_the_same(monkeypatch):
    pings = crowd(people=20, pings_each=40, width_m=15)
    expected = engine.find(pings).tolist()
    ids = pings.copy()
    ids["person_id"] += 2**62
    rows = engine.find(ids)
    rows["person_a_id"] -= 2**62
    rows["person_b_id"] -= 2**62
    assert rows.tolist() == expected


def test_the_position_that_comes_first_counts():
    times = [NOON + timedelta(seconds=10 * n) for n in range(3)]
    here, there = at(PLACES["Berlin"], 0, 0), at(PLACES["Berlin"], 900, 0)
    event = [Ping(1, time, *here) for time in times] + [Ping(1, time, *there) for time in times]
    event += [Ping(2, time, *there) for time in times] + [Ping(2, time, *here) for time in times]
    assert len(engine.find(columns(event))) == 0
    assert len(engine.find(columns(reversed(event)))) == 0
    assert len(engine.find(columns([*event[:3], *event[9:]]))) == 1


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("d", [0.5, 5, 30, 999])
def test_distances_at_the_border_are_decided_as_in_the_database(place, d):
    """Pairs around the distance in steps of 2e-9 m, where only the geodesic and its rounding can decide."""
    event = [Ping(1, NOON, *at(place, 0, 0))]
    for azimuth in (3, 50, 117, 180, 290):
        for step in range(-12, 13):
            line = Geodesic.WGS84.Direct(
                event[0].latitude, event[0].longitude, azimuth, d + step * 2e-9 * (1 if abs(step) < 9 else 20)
            )
            longitude = (line["lon2"] + 180) % 360 - 180
            event.append(Ping(len(event) + 1, NOON, line["lat2"], longitude))
    replace_all(event)
    asked_for = Parameters(distance_m=d, within_s=0, max_gap_s=0)

    expected = asked([1], asked_for, **DAY)[1]

    assert found(range(1, len(event) + 1), engine.find(columns(event), asked_for))[1] == expected
    assert 0 < len(expected) < len(event) - 1


def test_coordinates_and_distances_are_those_of_the_database_to_the_bit():
    rng = np.random.default_rng(7)
    count = 20_000
    latitude = np.concatenate([rng.uniform(-90, 90, count), [0, 30, 60, 90, -90, -30, 45, 1e-9]])
    longitude = np.concatenate([rng.uniform(-180, 180, count), [180, -180, 0, 90, -90, 120, 1e-9, -0.0]])
    pings = np.zeros(len(latitude), PING)
    pings["latitude"], pings["longitude"] = latitude, longitude
    east = pings.copy()
    east["longitude"] = np.clip(longitude + rng.uniform(-1e-4, 1e-4, len(longitude)), -180, 180)
    replace_all(
        [
            Ping(1, NOON + timedelta(seconds=n), *each)
            for n, each in enumerate(zip(latitude, longitude, strict=True))
        ]
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT x, y, z FROM locations_location ORDER BY creation_time")
        assert (
            np.array(cursor.fetchall()).tolist() == np.column_stack(geocentric(latitude, longitude)).tolist()
        )
        cursor.execute(
            "SELECT ST_Distance(ST_MakePoint(a, b)::geography, ST_MakePoint(c, b)::geography) "
            "FROM unnest(%s::float8[], %s::float8[], %s::float8[]) WITH ORDINALITY AS pair (a, b, c, nth) "
            "ORDER BY nth",
            [longitude.tolist(), latitude.tolist(), east["longitude"].tolist()],
        )
        stored = np.array(cursor.fetchall())[:, 0]
    assert stored.tolist() == geodesic_m(pings, east).tolist()


def test_a_distance_of_more_than_a_kilometre_is_refused():
    for distance_m in (0, -1, 1001, float("nan")):
        with pytest.raises(ValueError, match="distance"):
            Parameters(distance_m=distance_m)


def test_the_defaults_are_those_of_the_question_and_give_each_pair_one_encounter_per_start():
    assert Parameters() == Parameters(limits.DISTANCE_M, limits.WITHIN_S, limits.MAX_GAP_S)
    assert Parameters().max_gap_s >= Parameters().within_s  # the primary key relies on it


def test_pings_outside_their_slice_are_refused():
    finder = Engine()
    pings = crowd(people=2, pings_each=5, width_m=1)
    middle = int(np.median(pings["time"]))
    with pytest.raises(ValueError, match="between"):
        finder.feed(pings, until=middle)
    finder.feed(pings[pings["time"] < middle], until=middle)
    with pytest.raises(ValueError, match="between"):
        finder.feed(pings[:1], until=middle + 1)
    with pytest.raises(ValueError, match="before the previous"):
        finder.feed(pings[:0], until=middle - 1)


# --- memory --------------------------------------------------------------------------------------


def crowd(*, people: int, pings_each: int, width_m: float, interval_s: float = 10, seed: int = 1) -> Rows:
    """People at random places of a square, each with a ping every `interval_s`."""
    rng = np.random.default_rng(seed)
    pings = np.zeros(people * pings_each, PING)
    pings["person_id"] = np.repeat(np.arange(1, people + 1), pings_each)
    steps = np.tile(np.arange(pings_each), people) * interval_s + rng.uniform(0, interval_s, len(pings))
    pings["time"] = 1_778_500_000_000_000 + (steps * 1e6).astype(np.int64)
    pings["latitude"] = 52.5 + rng.uniform(0, width_m, len(pings)) / 111_265
    pings["longitude"] = 13.4 + rng.uniform(0, width_m, len(pings)) / 67_910
    return pings[np.argsort(pings["time"])]


def peak_memory(pings: Rows) -> tuple[int, int]:
    """The largest memory of an engine in bytes, besides the pings of a slice; and the encounters."""
    finder, total = Engine(), 0
    minutes = np.arange(pings["time"][0], pings["time"][-1] + 60_000_001, 60_000_000)
    cuts = np.searchsorted(pings["time"], minutes)
    tracemalloc.start()
    for first, last, until in zip(cuts, cuts[1:], minutes[1:], strict=False):
        total += len(finder.feed(pings[first:last], until=int(until)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, total + len(finder.finish())


def test_memory_does_not_grow_with_the_duration():
    short, few = peak_memory(crowd(people=100, pings_each=60, width_m=60))
    long, many = peak_memory(crowd(people=100, pings_each=600, width_m=60))
    assert many > 5 * few > 0
    assert long < 1.5 * short


def test_the_pairs_of_a_dense_crowd_do_not_fill_the_memory():
    """500 people in one room: 25 million pairs in two minutes, which would take gigabytes at once."""
    pings = crowd(people=500, pings_each=12, width_m=3)
    peak, total = peak_memory(pings)
    assert total == 500 * 499 / 2
    assert peak < 700e6


def test_nothing_gives_nothing():
    assert len(engine.find(np.empty(0, PING))) == 0
    finder = Engine()
    assert finder.feed(np.empty(0, PING), until=5).dtype == ENCOUNTER
    assert len(finder.finish()) == 0
