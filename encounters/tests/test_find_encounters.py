"""The command stores what the question answers, whatever was stored before and wherever the range ends."""

import csv
import gzip
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from connect.wire_format import parse_instant
from encounters import backfill, storage
from encounters.engine import Parameters
from encounters.models import Encounter
from encounters.partitions import PARTITIONS
from encounters.tests.asked import asked, in_order
from locations import storage as locations
from locations.pings import Ping
from locations.tests.test_proximity import DAY, NOON, PLACES, at, events, replace_all
from persons.models import Person

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
HERE = at(PLACES["Berlin"], 0, 0)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.django_db


def find(start: object, end: object, *options: str) -> str:
    said = StringIO()
    call_command("find_encounters", f"--from={start}", f"--to={end}", *options, stdout=said, stderr=said)
    return said.getvalue()


def stored() -> list[tuple]:
    return list(Encounter.objects.order_by("pk").values_list())


def views(people, start, end) -> dict[int, list[tuple]]:
    return {person_id: list(storage.seen_by(person_id, start=start, end=end)) for person_id in people}


def together(*person_ids: int, seconds: range) -> list[Ping]:
    return [Ping(each, NOON + timedelta(seconds=n), *HERE) for each in person_ids for n in seconds]


@pytest.fixture(autouse=True)
def _no_pings(db: None) -> None:
    replace_all([])


# --- equal to the question -----------------------------------------------------------------------


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events(), st.frozensets(st.integers(1, 4)), st.integers(0, 300), st.integers(0, 300))
def test_any_range_is_that_part_of_the_answer_over_all_time(event, hidden, first, length):
    replace_all(event, hidden)
    people = sorted({ping.person_id for ping in event})
    start = NOON + timedelta(seconds=first)
    end = start + timedelta(seconds=length)

    find(start.isoformat(), end.isoformat())

    expected = {
        person_id: [row for row in rows if start <= row[1] < end]
        for person_id, rows in asked(people, Parameters(), **DAY).items()
    }
    assert in_order(views(people, DAY["start"], DAY["end"])) == in_order(expected)
    assert " 0 differences" in find(start.isoformat(), end.isoformat(), "--check")
    Encounter.objects.all().delete()


def test_an_encounter_that_crosses_hours_and_ends_is_stored_whole_and_once():
    replace_all(together(1, 2, seconds=range(0, 3 * 3600, 30)) + together(3, seconds=range(3000, 4200, 60)))
    whole = [(NOON, NOON + timedelta(seconds=3 * 3600 - 30), 360)]

    find(NOON, NOON + HOUR)
    met = Encounter.objects.filter(person_a_id=1, person_b_id=2)
    assert list(met.values_list("start", "end", "pings_a")) == whole
    assert Encounter.objects.filter(person_b_id=3).count() == 2
    find(NOON + HOUR, NOON + 2 * HOUR)
    find(NOON - HOUR, NOON + 5 * HOUR)
    assert list(met.values_list("start", "end", "pings_a")) == whole
    assert Encounter.objects.count() == 3


def test_what_is_found_again_replaces_what_was_stored():
    replace_all(together(1, 2, 3, seconds=range(0, 7200, 30)))
    find("2026-05-11", "2026-05-11")
    before = stored()
    assert len(before) == 3

    assert find("2026-05-11", "2026-05-11") == "720 pings read, 3 encounters found\n"
    assert stored() == before
    Encounter.objects.filter(person_a_id=1, person_b_id=2).update(pings_a=1)
    Encounter.objects.filter(person_b_id=3, person_a_id=1).delete()
    Encounter.objects.filter(person_a_id=2).update(start=NOON + timedelta(seconds=5))
    with pytest.raises(CommandError, match="3 people asked, 8 differences"):
        find("2026-05-11", "2026-05-11", "--check")
    find("2026-05-11", "2026-05-11")
    assert stored() == before
    assert find("2026-05-11", "2026-05-11", "--check") == "3 people asked, 0 differences\n"


def test_the_check_says_what_differs():
    replace_all(together(1, 2, seconds=range(0, 100, 30)))
    find("2026-05-11", "2026-05-11")
    Encounter.objects.update(pings_b=7)
    said = StringIO()
    with pytest.raises(CommandError) as raised:
        call_command("find_encounters", "--from=2026-05-11", "--to=2026-05-11", "--check", stdout=said)
    assert raised.value.returncode == 1
    lines = said.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("person 1 with 2 from 2026-05-11 12:00:00.000000: not stored: ")
    assert lines[1].startswith("person 1 with 2 from 2026-05-11 12:00:00.000000: only stored: ")


def test_late_pings_that_join_or_move_encounters_are_repaired():
    replace_all(together(1, 2, seconds=range(0, 600, 30)) + together(1, 2, seconds=range(900, 1500, 30)))
    find("2026-05-11", "2026-05-11")
    assert Encounter.objects.count() == 2
    locations.record(together(1, 2, seconds=range(-60, 900, 30)))
    find("2026-05-11", "2026-05-11")
    [(start, end)] = Encounter.objects.values_list("start", "end")
    assert (start, end) == (NOON - timedelta(seconds=60), NOON + timedelta(seconds=1470))


def test_years_without_pings_are_no_work():
    replace_all(together(1, 2, seconds=range(0, 100, 30)))
    assert find("1900-01-01", "2099-12-31") == "8 pings read, 1 encounters found\n"


def test_rows_outside_of_the_range_stay():
    replace_all(together(1, 2, seconds=range(0, 7200, 30)))
    find("2026-05-11", "2026-05-11")
    before = stored()
    find(NOON + timedelta(microseconds=1), NOON + 9 * HOUR)
    find("2026-05-12", "2026-05-30")
    assert stored() == before


# --- interruption, deletion, options -------------------------------------------------------------


def test_after_an_interruption_no_encounter_is_a_part_and_the_next_run_does_the_rest():
    replace_all(together(1, 2, seconds=range(0, 3 * 3600, 30)) + together(3, 4, seconds=range(0, 600, 30)))
    find("2026-05-11", "2026-05-11")
    before = stored()
    assert len(before) == 6
    steps = backfill.find(start=DAY["start"], end=DAY["end"])
    while next(steps).until < NOON + HOUR:
        pass
    steps.close()
    assert stored() == before  # the hours that are done are as before, and so is the row of what goes on
    Encounter.objects.all().delete()
    steps = backfill.find(start=DAY["start"], end=DAY["end"])
    while next(steps).until < NOON + HOUR:
        pass
    steps.close()
    pairs = Encounter.objects.values_list("person_a_id", "person_b_id")
    assert set(pairs) == {(1, 3), (1, 4), (2, 3), (2, 4), (3, 4)}
    find("2026-05-11", "2026-05-11")
    assert stored() == before


def test_equal_rows_are_not_written_again():
    replace_all(together(1, 2, 3, seconds=range(0, 3000, 30)))
    find("2026-05-11", "2026-05-11")
    Encounter.objects.filter(person_a_id=2).update(pings_a=1)

    def versions() -> dict[tuple, str]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT person_a_id, person_b_id, ctid::text FROM encounters_encounter")
            return {(a, b): version for a, b, version in cursor.fetchall()}

    before = versions()
    find("2026-05-11", "2026-05-11")
    assert {pair for pair, version in versions().items() if version != before[pair]} == {(2, 3)}


def test_it_can_be_interrupted(monkeypatch):
    replace_all(together(1, 2, seconds=range(0, 100, 30)))

    def interrupted(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "replace", interrupted)
    with pytest.raises(SystemExit) as ended:
        find("2026-05-11", "2026-05-11")
    assert ended.value.code == 130


def test_encounters_of_a_deleted_person_are_gone_in_the_same_transaction_and_do_not_come_back():
    replace_all(together(1, 2, 3, seconds=range(0, 100, 30)))
    find("2026-05-11", "2026-05-11")
    assert Encounter.objects.count() == 3
    Person.objects.filter(id=2).delete()
    assert list(Encounter.objects.values_list("person_a_id", "person_b_id")) == [(1, 3)]


def test_people_who_are_deleted_while_it_runs_are_not_stored(monkeypatch):
    replace_all(together(1, 2, 3, seconds=range(0, 100, 30)))
    real = storage.replace

    def deleted_before(**options):
        Person.objects.filter(id=2).delete()
        return real(**options)

    monkeypatch.setattr(storage, "replace", deleted_before)
    find("2026-05-11", "2026-05-11")
    assert list(Encounter.objects.values_list("person_a_id", "person_b_id")) == [(1, 3)]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--from=2026-05-12", "--to=2026-05-10"], "--from must not be after --to"),
        (["--from=yesterday", "--to=2026-05-10"], "Must be a date such as"),
        (["--to=2026-05-10"], "Give both --from and --to"),
    ],
)
def test_wrong_options_are_refused(options, error):
    with pytest.raises(CommandError, match=error):
        call_command("find_encounters", *options)


def test_it_needs_the_database(settings):
    settings.LOCATIONS_URL = "http://127.0.0.1:9"
    with pytest.raises(CommandError, match="the scheme must be one of") as raised:
        find("2026-05-11", "2026-05-11")
    assert raised.value.returncode == 2


# --- the table -----------------------------------------------------------------------------------


def test_questions_use_the_indexes():
    PARTITIONS.ensure([(2026, 5)])
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO encounters_encounter "
            "SELECT timestamptz '2026-05-11Z' + n * interval '1 s', n % 300, "
            "300 + n % 299, timestamptz '2026-05-12Z', timestamptz '2026-05-12Z', 1, 1, 0, 0, 0, 0, 0, false "
            "FROM generate_series(1, 80000) AS n"
        )
        cursor.execute("ANALYZE encounters_encounter")

        def plan(condition: str, order: str = "") -> str:
            cursor.execute(f"EXPLAIN SELECT * FROM encounters_encounter WHERE {condition} {order}")
            return "\n".join(line for (line,) in cursor.fetchall())

        page = "ORDER BY start, person_a_id, person_b_id LIMIT 100"
        after = "(start, person_a_id, person_b_id) > (timestamptz '2026-05-11 10:00Z', 5, 400)"
        bounds = "start >= '2026-05-11 10:00Z' AND start < '2026-05-12Z'"
        assert "Sort" not in plan(f"{after} AND {bounds}", page)
        for condition in (bounds, "person_a_id = 7 OR person_b_id = 7", "person_b_id = 301"):
            assert "Seq Scan on encounters_encounter_2026" not in plan(condition), condition


# --- recorded movement ---------------------------------------------------------------------------

recorded = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded movement is not here")


@recorded
@pytest.mark.parametrize(
    ("file", "people"), [("eth_zurich/locations.csv", 750), ("geolife_2009/locations.csv.gz", 21)]
)
def test_recorded_movement_is_found_as_asked(file, people):
    """ETH Zurich: several pings a second, across midnight. GeoLife: two people with equal tracks."""
    with (gzip.open if file.endswith(".gz") else open)(DATA / file, "rt") as lines:
        event = [
            Ping(
                int(row["person_id"]),
                parse_instant(row["creation_time"]),
                float(row["latitude"]),
                float(row["longitude"]),
            )
            for row in csv.DictReader(lines)
        ]
    found_as_asked(event, people)


@recorded
def test_recorded_contacts_are_found_as_asked():
    """113 people of Hypertext 2009: who faced whom in each 20 s. The place is made from the two people."""
    event: list[Ping] = []
    with (DATA / "contacts_ht09" / "contacts.csv").open() as lines:
        for row in csv.DictReader(lines):
            pair = int(row["person_a"]), int(row["person_b"])
            where = at(PLACES["Berlin"], pair[0] % 10 * 30.0, pair[0] // 10 * 30.0)
            event += [Ping(each, parse_instant(row["contact_time"]), *where) for each in pair]
    found_as_asked(event, 113)


def found_as_asked(event: list[Ping], people: int) -> None:
    replace_all(event)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE locations_location")  # as autovacuum does within a minute
    first, last = (by(ping.creation_time for ping in event).date() for by in (min, max))
    find(first, last)
    assert Encounter.objects.count() > people
    assert find(first, last, "--check") == f"{people} people asked, 0 differences\n"
