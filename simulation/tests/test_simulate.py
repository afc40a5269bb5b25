"""The simulated event: believable, the same each time, and stored once."""

import gzip
import itertools
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from io import StringIO
from math import hypot
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from connect import neighbours
from connect.wire_format import parse_instant
from locations.models import Location
from locations.pings import Ping
from persons.models import Person
from simulation.event import Event
from simulation.people import FIRST_ID, invited


def event(
    people: int = 30, *, days: int = 1, interval_s: float = 60, halls: int = 2, seed: int = 1
) -> list[Ping]:
    guests = list(invited(30, seed=seed))
    made = Event(guests, start=date(2026, 5, 11), days=days, interval_s=interval_s, halls=2, seed=seed)
    return list(made.pings())


def by_person(pings: Iterable[Ping]) -> dict[int, list[Ping]]:
    found: dict[int, list[Ping]] = defaultdict(list)
    for ping in pings:
        found[ping.person_id].append(ping)
    return found


def simulate(**options: object) -> str:
    out = StringIO()
    call_command("simulate", stdout=out, stderr=out, skip_checks=True, people=20, interval=120, **options)
    return out.getvalue()


def test_the_same_seed_gives_the_same_event_and_another_one_another() -> None:
    assert event() == event()
    assert event() != event(seed=2)


def test_more_people_extend_the_ones_that_are_there() -> None:
    assert list(invited(50, seed=1))[:20] == list(invited(20, seed=1))


def test_pings_come_in_time_order_and_each_person_has_a_time_once() -> None:
    pings = event(days=2)
    assert pings == sorted(pings, key=lambda ping: ping.creation_time)
    assert len({(ping.person_id, ping.creation_time) for ping in pings}) == len(pings)
    assert {ping.creation_time.date() for ping in pings} == {date(2026, 5, 11), date(2026, 5, 12)}
    assert {ping.person_id for ping in pings} == set(range(FIRST_ID, FIRST_ID + 30))


def test_people_walk_and_do_not_teleport() -> None:
    fastest = 0.0
    for pings in by_person(event(interval_s=20)).values():
        for before, after in itertools.pairwise(pings):
            east = (after.longitude - before.longitude) * 67_910
            north = (after.latitude - before.latitude) * 111_265
            seconds = (after.creation_time - before.creation_time).total_seconds()
            fastest = max(fastest, (hypot(east, north) - 5) / seconds)  # 5 m are the noise of two positions
    assert 0.5 < fastest < 1.6


def test_phones_are_silent_at_times() -> None:
    steps = [
        after.creation_time - before.creation_time
        for pings in by_person(event()).values()
        for before, after in itertools.pairwise(pings)
    ]
    assert 0.9 < sum(step < timedelta(seconds=63) for step in steps) / len(steps) < 1
    assert timedelta(minutes=5) < max(steps) < timedelta(minutes=14)


@pytest.mark.django_db
def test_a_stored_event_has_people_who_meet_and_is_stored_once() -> None:
    said = simulate()
    pings = Location.objects.count()
    assert f"{pings:,} pings: {pings:,} stored, 0 repeats, 0 refused" in said
    assert f"/api/persons/{FIRST_ID}/encounters?start_date=2026-05-11&end_date=2026-05-11" in said
    assert Person.objects.count() == 20
    met = neighbours.locations().encounters(
        FIRST_ID,
        start=parse_instant("2026-05-11T00:00Z"),
        end=parse_instant("2026-05-12T00:00Z"),
        distance_m=5,
        within_s=120,
        max_gap_s=150,
        min_duration_s=120,
    )
    assert len({encounter.person_id for encounter in met}) >= 5
    assert f"{pings:,} pings: 0 stored, {pings:,} repeats, 0 refused" in simulate()


@pytest.mark.django_db
def test_another_event_does_not_take_over_the_people_of_the_first() -> None:
    simulate(days=1)
    pings = Location.objects.count()
    with pytest.raises(CommandError, match="exist under other names") as error:
        simulate(days=1, seed=2)
    assert error.value.returncode == 1
    assert Location.objects.count() == pings


@pytest.mark.django_db
@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_an_event_in_files_is_the_one_that_would_be_stored(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"event{ending}"
    simulate(days=1, to=file)
    assert not Location.objects.exists()
    out = StringIO()
    call_command("import_persons", str(tmp_path / f"event.persons{ending}"), stdout=out, skip_checks=True)
    call_command("import_locations", str(file), stdout=out, skip_checks=True)
    assert "20 read: 20 created" in out.getvalue()
    said = simulate(days=1)
    assert ": 0 stored" in said
    assert " 0 refused" in said


def test_a_file_of_another_kind_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"must end in \.csv or \.csv\.gz"):
        simulate(to=tmp_path / "event.json")


def test_a_packed_file_is_packed(tmp_path: Path) -> None:
    simulate(days=1, to=tmp_path / "event.csv.gz")
    with gzip.open(tmp_path / "event.csv.gz", "rt") as lines:
        assert next(lines) == "person_id,latitude,longitude,creation_time\n"
