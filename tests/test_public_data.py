"""Recorded movement of real people, imported by the commands, asked about, and compared with known answers.

The data is not part of this repository; where it is absent these tests are skipped.
"""

import csv
import gzip
import hashlib
import json
import math
from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from connect import neighbours
from connect.wire_format import parse_instant
from locations.models import Location
from persons.models import Person

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"

ANY_TIME_S = 30 * 24 * 3600

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not DATA.is_dir(), reason="the recorded movement is not here"),
]


def run(command: str, *arguments: object, **options: object) -> str:
    """What a command says, however it ends."""
    out = StringIO()
    try:
        call_command(command, *map(str, arguments), stdout=out, stderr=out, skip_checks=True, **options)
    except CommandError as error:
        out.write(f"{error} (status {error.returncode})")
    return out.getvalue()


def midnight(day: str, *, plus_days: int = 0) -> datetime:
    return datetime.combine(date.fromisoformat(day) + timedelta(plus_days), time(), UTC)


# --- who was near whom ---------------------------------------------------------------------------


def question(query: dict[str, Any]) -> dict[str, Any]:
    return {
        "start": midnight(query["start_date"]),
        "end": midnight(query["end_date"], plus_days=1),
        "distance_m": query["distance_m"],
    }


def check_connections(query: dict[str, Any], spelt: dict[tuple[int, datetime], str]) -> None:
    """Pairs within 2 cm of the distance may be in the answer or not; all else is certain."""
    answer = list(
        neighbours.locations().connections(
            query["person_id"], within_s=query["time_tolerance_s"], **question(query)
        )
    )
    times: dict[int, list[datetime]] = defaultdict(list)
    for ping in answer:
        times[ping.person_id].append(ping.creation_time)
    certain = set(query["person_ids"])
    assert certain <= times.keys() <= certain | set(query["ambiguous_person_ids"]), query["id"]
    count = query["location_count"]
    assert count <= len(answer) <= count + query["location_count_ambiguous"], query["id"]
    if query["locations_sha256"]:
        lines = sorted(f"{ping.person_id},{spelt[ping.person_id, ping.creation_time]}" for ping in answer)
        assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == query["locations_sha256"], query["id"]
    for met in query["persons"]:
        theirs = times[met["person_id"]]
        count = met["location_count"]
        assert count <= len(theirs) <= count + met.get("location_count_ambiguous", 0), (query["id"], met)
        first, last = parse_instant(met["first_time"]), parse_instant(met["last_time"])
        earliest = parse_instant(met.get("first_time_if_ambiguous", met["first_time"]))
        latest = parse_instant(met.get("last_time_if_ambiguous", met["last_time"]))
        assert earliest <= min(theirs) <= first, (query["id"], met)
        assert last <= max(theirs) <= latest, (query["id"], met)


def check_distances(query: dict[str, Any]) -> None:
    """Encounters tell the smallest distances; without a tolerance all pairs of the range belong to one."""
    within_s = query["time_tolerance_s"]
    nearest: dict[int, float] = {}
    for encounter in neighbours.locations().encounters(
        query["person_id"],
        within_s=ANY_TIME_S if within_s is None else within_s,
        max_gap_s=ANY_TIME_S,
        **question(query),
    ):
        known = nearest.get(encounter.person_id, math.inf)
        nearest[encounter.person_id] = min(known, encounter.min_distance_m)
    expected = {met["person_id"]: met["min_distance_m"] for met in query["persons"]}
    assert {person: nearest[person] for person in expected} == expected, query["id"]


@pytest.mark.parametrize(
    ("name", "file", "people", "pings"),
    [("eth_zurich", "locations.csv", 750, 15_452), ("geolife_2009", "locations.csv.gz", 21, 159_386)],
)
def test_recorded_movement_gives_the_answers_of_an_independent_brute_force(
    name: str, file: str, people: int, pings: int
) -> None:
    folder = DATA / name
    assert f"{people} created, 0 updated, 0 repeats, 0 refused" in run(
        "import_persons", folder / "persons.csv"
    )
    assert f"{pings:,} read, {pings:,} stored, 0 repeats, 0 refused" in run("import_locations", folder / file)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE locations_location")  # as autovacuum does within a minute
    with (gzip.open if file.endswith(".gz") else open)(folder / file, "rt") as lines:
        rows = csv.DictReader(lines)
        spelt = {
            (int(row["person_id"]), parse_instant(row["creation_time"])): row["creation_time"] for row in rows
        }
    for query in json.loads((folder / f"expected_{name}.json").read_text())["queries"]:
        check_connections(query, spelt)
        check_distances(query)


def test_people_without_positions_can_be_imported() -> None:
    said = run("import_persons", DATA / "contacts_ht09" / "persons.csv")
    assert said == "113 read: 113 created, 0 updated, 0 repeats, 0 refused\n"


# --- GPX -----------------------------------------------------------------------------------------


def test_every_gpx_file_for_a_person_of_its_own() -> None:
    expected = json.loads((DATA / "gpx" / "expected_gpx.json").read_text())["files"]
    for person_id, (name, file) in enumerate(sorted(expected.items()), 1):
        Person.objects.create(id=person_id, first_name="GPX", last_name=name, company_name="Recorder")
        said = run("import_locations", DATA / "gpx" / name, person=person_id)
        read, timed, stored = file["track_points"], file["track_points_with_time"], file["distinct_times"]
        counts = f"{read:,} read, {stored:,} stored, {timed - stored:,} repeats, {read - timed:,} refused"
        assert counts in said, name
        locations = Location.objects.filter(person_id=person_id).order_by("creation_time")
        assert locations.count() == stored, name
        if stored:
            ends = (locations[0].creation_time, locations[stored - 1].creation_time)
            cut = tuple(moment.replace(microsecond=moment.microsecond // 1000 * 1000) for moment in ends)
            assert cut == (parse_instant(file["earliest_time"]), parse_instant(file["latest_time"])), name
        again = run("import_locations", DATA / "gpx" / name, person=person_id)
        assert f"{read:,} read, 0 stored, {timed:,} repeats, {read - timed:,} refused" in again, name
