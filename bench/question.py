"""The question on a million simulated pings, asked as it is and as others ask it, side by side in one run.

Run by `make bench` on a database of its own. Every way is asked in turn, several times over; the medians and
the ratios stand in docs/benchmarks.md. Nothing here asserts a time.
"""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django

TARGET = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
ROUNDS = 5
DISTANCE_M = 5
WITHIN_S = 60

# The same rows in the layouts that were weighed; docs/decisions/0001-locations-table.md.
OTHER_LAYOUTS = """
CREATE EXTENSION IF NOT EXISTS btree_gist;
CREATE TABLE bench_points AS
SELECT person_id, creation_time, ST_MakePoint(longitude, latitude)::geography AS position
  FROM locations_location;
CREATE UNIQUE INDEX ON bench_points (person_id, creation_time);
CREATE INDEX bench_position ON bench_points USING gist (position);
CREATE TABLE bench_points_time (LIKE bench_points);
INSERT INTO bench_points_time SELECT * FROM bench_points;
CREATE UNIQUE INDEX ON bench_points_time (person_id, creation_time);
CREATE INDEX bench_position_time ON bench_points_time USING gist (position, creation_time);
"""

SELF_JOIN = """
SELECT DISTINCT other.person_id, other.creation_time,
       ST_Y(other.position::geometry), ST_X(other.position::geometry)
  FROM {table} AS own JOIN {table} AS other
    ON ST_DWithin(own.position, other.position, %(distance_m)s) AND other.person_id <> own.person_id
   AND other.creation_time BETWEEN own.creation_time - %(within)s AND own.creation_time + %(within)s
 WHERE own.person_id = %(person_id)s AND own.creation_time >= %(start)s AND own.creation_time < %(end)s
   AND other.creation_time >= %(start)s AND other.creation_time < %(end)s
 ORDER BY creation_time, person_id
"""


def main(people: int) -> None:
    from django.core.management import call_command  # noqa: PLC0415 - the settings come first
    from django.db import connection  # noqa: PLC0415

    from locations import proximity  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    call_command("simulate", people=people, interval=52, verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute(OTHER_LAYOUTS)
        for table in ("bench_points", "bench_points_time", "locations_location"):
            cursor.execute(f"VACUUM ANALYZE {table}")
        cursor.execute(
            "SELECT min(creation_time), count(*), count(DISTINCT person_id) FROM locations_location"
        )
        first, total, persons = cursor.fetchone()
        start = datetime(first.year, first.month, first.day, tzinfo=UTC)
        # The person with the most pings that day, so that the question is not a small one.
        cursor.execute(
            "SELECT person_id, count(*) FROM locations_location WHERE creation_time < %s "
            "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1",
            [start + timedelta(days=1)],
        )
        person_id, own = cursor.fetchone()
        cursor.execute("SELECT version(), postgis_lib_version()")
        postgresql, postgis = cursor.fetchone()

    asked: dict[str, Any] = {"start": start, "end": start + timedelta(days=1), "distance_m": DISTANCE_M}
    page: dict[str, Any] = {"after": None, "limit": None}
    parameters = asked | {"person_id": person_id, "within": timedelta(seconds=WITHIN_S)}

    def rows(sql: str, values: Any) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall()

    near = proximity.connections_sql(person_id, **asked, within_s=WITHIN_S, **page)
    met = proximity.encounters_sql(
        person_id, **asked, within_s=WITHIN_S, max_gap_s=75, min_duration_s=0, **page
    )
    ever = proximity.connections_sql(person_id, **asked, within_s=None, **page)
    ways: dict[str, Callable[[], list[tuple[Any, ...]]]] = {
        "plain self-join, GiST on position": lambda: rows(SELF_JOIN.format(table="bench_points"), parameters),
        "the same, GiST on position and time": lambda: rows(
            SELF_JOIN.format(table="bench_points_time"), parameters
        ),
        "Connect: `connection`, within 60 s": lambda: rows(*near),
        "Connect: `encounters`": lambda: rows(*met),
        "Connect: `connection`, any time": lambda: rows(*ever),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, list[tuple[Any, ...]]] = {}
    for _ in range(ROUNDS):
        for name, ask in ways.items():
            begun = time.perf_counter()
            found[name] = ask()
            seconds[name].append(time.perf_counter() - begun)
    answers = [found[name] for name in list(ways)[:3]]
    same = answers[0] == answers[1] == answers[2]

    software = f"Python {platform.python_version()}, {postgresql.split(' (')[0]}, PostGIS {postgis}"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {software}"
    base = statistics.median(seconds["plain self-join, GiST on position"])
    lines = [
        "# Benchmarks",
        "",
        f"Made by `make bench` on {machine}.",
        "Absolute times drift with the machine; the ratios are of one run, the ways asked in turn.",
        "",
        f"{total:,} simulated pings of {persons:,} people. The question: one person, one day,",
        f"{own:,} own pings, {DISTANCE_M} m, {WITHIN_S} s. Medians of {ROUNDS} rounds, rows fetched.",
        "",
        "| way to ask | rows | median | least | most | times as fast as the plain self-join |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, times in seconds.items():
        median = statistics.median(times)
        lines.append(
            f"| {name} | {len(found[name]):,} | {median * 1e3:,.1f} ms | {min(times) * 1e3:,.1f} ms "
            f"| {max(times) * 1e3:,.1f} ms | {base / median:,.0f} |"
        )
    lines += ["", f"The first three answers are {'the same, row by row' if same else 'NOT the same'}.", ""]
    text = "\n".join(lines)
    TARGET.write_text(text)
    print(text)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connect.settings")
    django.setup()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
