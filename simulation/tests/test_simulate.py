"""Tests of the simulated event and of `manage.py simulate`."""

import gzip
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from io import StringIO
from math import hypot
from pathlib import Path

import pytest
from django.contrib.gis.geos import Polygon
from django.core.management import CommandError, call_command

from access.callers import EVERYBODY
from connect import neighbours
from connect.wire_format import parse_instant
from locations.models import Location
from locations.pings import Ping
from persons.models import Person
from simulation.event import PER_HALL, Event, floor_plan
from simulation.people import FIRST_ID, make_people
from simulation.venue import MAX_HALLS
from venue import services, storage
from venue.geojson import Zone
from venue.limits import MAX_ZONES


def simulated_pings(*, days: int = 1, interval_s: float = 60, seed: int = 1) -> list[Ping]:
    guests = list(make_people(30, seed=seed))
    event = Event(guests, start=date(2026, 5, 11), days=days, interval_s=interval_s, halls=2, seed=seed)
    return list(event.pings())


def by_person(pings: Iterable[Ping]) -> dict[int, list[Ping]]:
    found: dict[int, list[Ping]] = defaultdict(list)
    for ping in pings:
        found[ping.person_id].append(ping)
    return found


def simulate(**options: object) -> str:
    out = StringIO()
    call_command("simulate", stdout=out, stderr=out, skip_checks=True, people=20, interval=120, **options)
    return out.getvalue()


def test_only_the_same_seed_gives_the_same_event() -> None:
    assert simulated_pings() == simulated_pings()
    assert simulated_pings() != simulated_pings(seed=2)


def test_a_larger_number_of_people_extends_the_smaller_one() -> None:
    assert list(make_people(50, seed=1))[:20] == list(make_people(20, seed=1))


def test_pings_are_in_time_order_and_unique_by_person_and_time() -> None:
    pings = simulated_pings(days=2)
    assert pings == sorted(pings, key=lambda ping: ping.creation_time)
    assert len({(ping.person_id, ping.creation_time) for ping in pings}) == len(pings)
    assert {ping.creation_time.date() for ping in pings} == {date(2026, 5, 11), date(2026, 5, 12)}
    assert {ping.person_id for ping in pings} == set(range(FIRST_ID, FIRST_ID + 30))


def test_people_move_at_walking_speed() -> None:
    fastest = 0.0
    for pings in by_person(simulated_pings(interval_s=20)).values():
        for before, after in itertools.pairwise(pings):
            east = (after.longitude - before.longitude) * 67_910
            north = (after.latitude - before.latitude) * 111_265
            seconds = (after.creation_time - before.creation_time).total_seconds()
            fastest = max(fastest, (hypot(east, north) - 5) / seconds)  # 5 m: the noise of two positions
    assert 0.5 < fastest < 1.6


def test_some_phones_have_gaps_between_pings() -> None:
    steps = [
        after.creation_time - before.creation_time
        for pings in by_person(simulated_pings()).values()
        for before, after in itertools.pairwise(pings)
    ]
    assert 0.9 < sum(step < timedelta(seconds=63) for step in steps) / len(steps) < 1
    assert timedelta(minutes=5) < max(steps) < timedelta(minutes=14)


@pytest.mark.django_db
def test_a_stored_event_has_encounters_and_a_second_run_stores_nothing() -> None:
    output = simulate()
    pings = Location.objects.count()
    assert f"{pings:,} pings: {pings:,} stored, 0 repeats, 0 refused" in output
    assert f"/api/persons/{FIRST_ID}/encounters?start_date=2026-05-11&end_date=2026-05-11" in output
    assert Person.objects.count() == 20
    encounters = neighbours.locations().encounters(
        FIRST_ID,
        start=parse_instant("2026-05-11T00:00Z"),
        end=parse_instant("2026-05-12T00:00Z"),
        distance_m=5,
        within_s=120,
        max_gap_s=150,
        min_duration_s=120,
    )
    assert len({encounter.person_id for encounter in encounters}) >= 5
    assert f"{pings:,} pings: 0 stored, {pings:,} repeats, 0 refused" in simulate()


@pytest.mark.django_db
def test_an_event_with_another_seed_is_refused_while_the_first_exists() -> None:
    simulate(days=1)
    pings = Location.objects.count()
    with pytest.raises(CommandError, match="exist under other names") as error:
        simulate(days=1, seed=2)
    assert error.value.returncode == 1
    assert Location.objects.count() == pings


@pytest.mark.django_db
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_an_event_in_files_equals_the_stored_event(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"event{suffix}"
    simulate(days=1, to=file)
    assert not Location.objects.exists()
    out = StringIO()
    call_command("import_persons", str(tmp_path / f"event.persons{suffix}"), stdout=out, skip_checks=True)
    call_command("import_locations", str(file), stdout=out, skip_checks=True)
    assert "20 read: 20 created" in out.getvalue()
    output = simulate(days=1)
    assert ": 0 stored" in output
    assert " 0 refused" in output


def test_an_unknown_file_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"must end in \.csv or \.csv\.gz"):
        simulate(to=tmp_path / "event.json")


def test_a_file_suffix_in_gz_is_compressed(tmp_path: Path) -> None:
    simulate(days=1, to=tmp_path / "event.csv.gz")
    with gzip.open(tmp_path / "event.csv.gz", "rt") as lines:
        assert next(lines) == "person_id,latitude,longitude,creation_time\n"


# --- the venue -----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_venue_is_stored_with_the_days_of_its_time_zone() -> None:
    simulate(halls=2)
    zones = storage.zones()
    assert Counter(zone.kind for zone in zones) == {
        "hall": 2,
        "entrance": 2,
        "stage": 2,
        "food": 2,
        "booth": 60,
    }
    assert zones[0].name == "Hall 1"
    assert {zone.company for zone in zones if zone.kind == "booth"} >= {
        person.company_name for person in make_people(20, seed=1)
    }
    assert all(zone.area.valid for zone in zones)
    halls = [zone.area for zone in zones if zone.kind == "hall"]
    for zone in zones:
        assert zone.kind == "entrance" or any(hall.covers(zone.area) for hall in halls), zone.name
    event = storage.event()
    assert (event.name, event.time_zone) == ("Simulated event", "Europe/Berlin")
    assert (event.first_day, event.last_day) == (date(2026, 5, 11), date(2026, 5, 12))
    call_command("simulate", "--time-zone", "Pacific/Auckland", stdout=StringIO(), people=1, skip_checks=True)
    event = storage.event()  # it closes at 17:00 UTC, which is 5:00 of the next day there
    assert event.time_zone == "Pacific/Auckland"
    assert (event.first_day, event.last_day) == (date(2026, 5, 11), date(2026, 5, 13))


@pytest.mark.django_db
def test_people_are_where_the_floor_plan_says() -> None:
    simulate(days=1)
    day = {"start": parse_instant("2026-05-11T00:00Z"), "end": parse_instant("2026-05-12T00:00Z")}
    visits = services.visits(EVERYBODY, **day, max_gap_s=300)
    by_kind: dict[str, float] = defaultdict(float)
    for each in visits:
        by_kind[each.zone.kind] += each.visits.person_seconds
    total = by_kind["hall"]
    assert by_kind["food"] > 0.03 * total
    assert by_kind["stage"] > 0.03 * total
    assert by_kind["booth"] > 0.5 * total
    assert visits[0].visits.people == 20
    assert visits[0].zone.name == "Hall 1"


@pytest.mark.django_db
def test_the_venue_of_an_organiser_stays() -> None:
    own = [Zone(1, "Own", "hall", None, Polygon.from_bbox((1, 1, 2, 2)))]
    storage.replace(zones=own)
    assert "of the organiser stay" in simulate(days=1)
    assert [zone.name for zone in storage.zones()] == ["Own"]
    assert storage.event().name == ""


@pytest.mark.django_db
@pytest.mark.parametrize("options", [["--time-zone", "Mars"], ["--halls", "300"]])
def test_a_venue_that_cannot_be_is_refused(options: list[str]) -> None:
    with pytest.raises(CommandError, match=options[0]):
        call_command("simulate", *options, skip_checks=True)


def test_the_largest_venue_has_no_more_zones_than_allowed() -> None:
    assert MAX_ZONES - PER_HALL < len(list(floor_plan(MAX_HALLS))) <= MAX_ZONES
