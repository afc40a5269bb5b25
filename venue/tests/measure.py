"""Measures the visits of a simulated day: `make test ARGS="venue/tests/measure.py -s"`. Needs Linux.

CPU times of PostgreSQL in one run, as ratios to a scan of the same pings that compares each with one polygon.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from django.contrib.gis.geos import Polygon
from django.db import connection

from bench import cpu
from locations import presence, storage
from simulation.event import Event, floor_plan
from simulation.people import make_people

PEOPLE, INTERVAL_S = 1000, 52
START = datetime(2026, 5, 11, tzinfo=UTC)
DAY = {"start": START, "end": START + timedelta(days=1)}
ZONES = [(number, bytes(Polygon(area.ring(), srid=4326).wkb)) for number, area in enumerate(floor_plan(1), 1)]
TRIES = 5
SCAN = """
SELECT count(*) FROM locations_location WHERE creation_time >= %(start)s AND creation_time < %(end)s
   AND ST_Covers(ST_GeomFromWKB(%(hall)s), ST_MakePoint(longitude, latitude))
"""


def least_cpu(work: Callable[[], object]) -> float:
    return min(cpu.of_work(work)[1] for _ in range(TRIES))


@pytest.mark.django_db(transaction=True)
def test_cpu_of_the_visits_of_a_day() -> None:
    people = list(make_people(PEOPLE, seed=1))
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO persons_person (id, first_name, last_name, company_name) VALUES (%s, 'A', 'B', 'C')",
            [(each.id,) for each in people],
        )
    pings = Event(people, start=START.date(), days=1, interval_s=INTERVAL_S, halls=1, seed=1).pings()
    while batch := list(islice(pings, 10_000)):
        storage.record(batch)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE locations_location")

    def scan() -> int:
        with connection.cursor() as cursor:
            cursor.execute(SCAN, DAY | {"hall": memoryview(ZONES[0][1])})
            (covered,) = cursor.fetchone()
            return int(covered)

    def visits(person_id: int | None = None) -> list[presence.AreaVisits]:
        asked = {"max_gap_s": 120, "min_duration_s": 60, "person_id": person_id}
        return list(presence.visits(areas=ZONES, **DAY, **asked))

    scan_s, everybody_s = least_cpu(scan), least_cpu(visits)
    one_s = least_cpu(lambda: visits(people[0].id))
    print(f"\n{scan():,} pings in the hall, {PEOPLE:,} people, {len(ZONES)} zones")
    print(f"scan                {scan_s:5.2f} s")
    print(f"visits of everybody {everybody_s:5.2f} s, {everybody_s / scan_s:.1f} x the scan")
    print(f"visits of a person  {one_s:5.2f} s, {one_s / scan_s:.2f} x the scan")
    assert visits()[0].people == PEOPLE
