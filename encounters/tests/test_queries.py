"""The answers about everybody's encounters equal those of a brute force."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.gis.geos import Point, Polygon
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encounters import queries
from encounters.queries import Step, Sum
from encounters.tests.stored import NINE, Met, people, store, store_pings

pytestmark = pytest.mark.django_db

many_examples = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

COMPANIES = {1: "Brio", 2: "Acme", 3: "acme", 4: "Brio", 5: "Zoë & Co", 6: "Acme"}
RANGE = {"start": NINE + timedelta(minutes=15), "end": NINE + timedelta(minutes=150)}

encounter = st.builds(
    lambda pair, at, lasts, x, y: Met(*sorted(pair), at * 300, lasts * 150.5, 52.5 + y, 13.4 + x),
    st.lists(st.sampled_from([*COMPANIES]), min_size=2, max_size=2, unique=True),
    st.integers(0, 36),
    st.integers(0, 20),
    st.integers(0, 4),
    st.integers(0, 4),
)
encounters = st.lists(encounter, unique_by=lambda each: each.key, max_size=25)
few_encounters = st.lists(encounter, unique_by=lambda each: each.key, max_size=12)
hidden_people = st.frozensets(st.sampled_from([*COMPANIES]), max_size=2)
durations = st.sampled_from([0, 150.5, 900, 900.000001, 1e10])


def seen(stored: list[Met], hidden: frozenset[int], least: float = 0) -> list[Met]:
    """The encounters that questions about the range have, in order."""
    return sorted(
        (
            each
            for each in stored
            if RANGE["start"] <= each.start < RANGE["end"]
            and each.end - each.start >= timedelta(seconds=least)
            and not {each.a, each.b} & hidden
        ),
        key=lambda each: each.key,
    )


@many_examples
@given(
    encounters,
    hidden_people,
    durations,
    st.none() | st.integers(1, 7),
    st.none() | st.sampled_from(["Acme", "Brio", "ACME"]),
    st.booleans(),
    st.integers(1, 5),
)
def test_lists_and_their_pages(stored, hidden, least, person_id, company, in_area, size):
    people(COMPANIES, hidden)
    store(stored)
    area = Polygon(((13.4, 52.5), (16.5, 52.5), (13.4, 55.5), (13.4, 52.5)), srid=4326)
    expected = [
        each
        for each in seen(stored, hidden, least)
        if (person_id is None or person_id in (each.a, each.b))
        and (company is None or company in (COMPANIES[each.a], COMPANIES[each.b]))
        and (not in_area or area.intersects(Point(each.longitude, each.latitude)))  # border included
    ]
    asked: dict[str, Any] = {
        **RANGE,
        "person_id": person_id,
        "company": company,
        "area": bytes(area.wkb) if in_area else None,
        "min_duration_s": least,
    }

    found = list(queries.encounters(**asked))

    assert [(row.start, *row.person_ids) for row in found] == [each.key for each in expected]
    for row, each in zip(found, expected, strict=True):
        assert (row.end, row.duration_s, row.latitude, row.longitude) == (
            each.end,
            each.lasts,
            each.latitude,
            each.longitude,
        )
        assert (row.pings, row.min_distance_m, row.ongoing) == (3, 1.25, False)
    paged, after = [], None
    while page := list(queries.encounters(**asked, after=after, limit=size)):
        assert len(page) <= size
        paged += page
        after = page[-1].start, *page[-1].person_ids
    assert paged == found


@many_examples
@given(
    encounters,
    hidden_people,
    durations,
    st.sampled_from(["pair", "person", "company", "hour"]),
    st.none() | st.integers(1, 5),
)
def test_summaries(stored, hidden, least, by, limit):
    people(COMPANIES, hidden)
    store(stored)
    groups: dict[tuple, list[tuple[set[int], float]]] = defaultdict(list)
    pairs: dict[tuple, set[tuple[int, int]]] = defaultdict(set)
    for each in seen(stored, hidden, least):
        both = {each.a, each.b}
        match by:
            case "pair":
                groups[each.a, each.b].append((both, each.lasts))
            case "person":
                groups[(each.a,)].append(({each.b}, each.lasts))
                groups[(each.b,)].append(({each.a}, each.lasts))
            case "company":
                companies = tuple(sorted((COMPANIES[each.a], COMPANIES[each.b])))
                groups[companies].append((both, each.lasts))
                pairs[companies].add((each.a, each.b))
            case "hour":
                groups[(each.start.replace(minute=0, second=0),)].append((both, each.lasts))
    expected = [
        (
            key,
            len(met),
            len(set.union(*(who for who, _ in met))),
            sum(lasts for _, lasts in met),
            {"pairs": len(pairs[key])} if by == "company" else {},
        )
        for key, met in groups.items()
    ]
    expected.sort(key=lambda row: row[0] if by == "hour" else (-row[3], row[0]))

    assert list(queries.summary(by=by, **RANGE, min_duration_s=least, limit=limit)) == expected[:limit]


@many_examples
@given(
    encounters,
    st.lists(st.tuples(st.sampled_from([*COMPANIES]), st.integers(0, 40)), unique=True, max_size=25),
    hidden_people,
    durations,
)
def test_summaries_with_those_who_met_nobody(stored, pings, hidden, least):
    people(COMPANIES, hidden)
    store(stored)
    times = {(person_id, NINE + timedelta(seconds=300 * step)) for person_id, step in pings}
    store_pings(times)
    quarter = timedelta(minutes=15)
    expected = []
    arrived: set[int] = set()
    for begin in (NINE + step * quarter for step in range(40)):
        met = [
            each for each in seen(stored, hidden, least) if each.start < begin + quarter and begin <= each.end
        ]
        present = {
            person_id
            for person_id, time in times
            if begin <= time < begin + quarter
            and RANGE["start"] <= time < RANGE["end"]
            and person_id not in hidden
        }
        if met or present:
            seconds = sum(
                (min(each.end, begin + quarter) - max(each.start, begin)).total_seconds() for each in met
            )
            who = {person_id for each in met for person_id in (each.a, each.b)}
            more = {"present": len(present), "arrived": len(present - arrived)}
            expected.append(((begin,), len(met), len(who), seconds, more))
        arrived |= present

    found = list(queries.summary(by="quarter_hour", **RANGE, min_duration_s=least))

    attendees = list(queries.summary(by="attendee", **RANGE, min_duration_s=least))

    assert found == expected
    by_person = {row.key: row for row in queries.summary(by="person", **RANGE, min_duration_s=least)}
    own = {
        person_id: [
            time for each, time in times if each == person_id and RANGE["start"] <= time < RANGE["end"]
        ]
        for person_id in arrived
    }
    assert sorted(attendees) == sorted(
        Sum(
            (each,),
            *by_person.get((each,), (None, 0, 0, 0))[1:4],
            {"first": min(own[each]), "last": max(own[each])},
        )
        for each in arrived
    )
    assert attendees == sorted(attendees, key=lambda row: (-row.seconds, row.key))
    assert sum(row.seconds for row in found) == sum(each.lasts for each in seen(stored, hidden, least))


@many_examples
@given(encounters, hidden_people, durations)
def test_graphs(stored, hidden, least):
    people(COMPANIES, hidden)
    store(stored)
    pairs: dict[tuple[int, int], list[float]] = defaultdict(list)
    for each in seen(stored, hidden, least):
        pairs[each.a, each.b].append(each.lasts)

    found = list(queries.graph(**RANGE, min_duration_s=least))

    nodes = sorted({each for pair in pairs for each in pair})
    edges = [(*pair, len(lasts), sum(lasts)) for pair, lasts in sorted(pairs.items())]
    assert found == [(each, None, None, None) for each in nodes] + edges


# --- cascades ------------------------------------------------------------------------------------

Path = tuple[Step, ...]


def all_paths(
    met: list[Met], carrier: int, time: datetime, depth: int, least: timedelta, so_far: Path = ()
) -> list[Path]:
    """Every way on from a carrier, over at most `depth` encounters."""
    found: list[Path] = []
    for each in met if depth else ():
        if carrier not in (each.a, each.b):
            continue
        passed = max(each.start, time) + least
        if passed > each.end:
            continue
        other = each.b if carrier == each.a else each.a
        path = (*so_far, Step(other, each.start, each.end, passed))
        found += [path, *all_paths(met, other, passed, depth - 1, least, path)]
    return found


@many_examples
@given(few_encounters, hidden_people, st.sampled_from([0, 300, 900, 1200]), st.integers(1, 5))
def test_cascades(stored, hidden, least, depth):
    people(COMPANIES, hidden)
    store(stored)
    paths = (
        []
        if 1 in hidden
        else all_paths(seen(stored, hidden), 1, RANGE["start"], depth, timedelta(seconds=least))
    )
    best: dict[int, tuple[datetime, int]] = {}
    for path in paths:
        reached, now = path[-1], (path[-1].time, len(path))
        if reached.person_id != 1:
            best[reached.person_id] = min(now, best.get(reached.person_id, now))

    found = list(queries.cascade(person_id=1, **RANGE, depth=depth, min_duration_s=least))

    assert {row.person_id: (row.time, row.generation) for row in found} == best
    assert [row.person_id for row in found] == sorted(best, key=lambda each: (best[each][0], each))
    for row in found:
        assert tuple(row.path) in paths
        assert (row.path[-1].person_id, row.path[-1].time) == (row.person_id, row.time)
        assert len(row.path) == row.generation
