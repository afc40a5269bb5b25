"""The question about one person's day, beside its alternatives on the same rows, and its plans."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from bench.event import DISTANCE_M, WITHIN_S, Event, Rows, Statement, rows
from bench.report import Part, Spread, timed

ROUNDS = 5
LOOP_STEPS = 3  # own pings that the loop measures; each takes as long as any other

LAYOUTS = {
    # The table of UdaConnect: a geometry with a B-tree, and another B-tree for the time.
    "bench_loop": """
        CREATE TABLE bench_loop AS
        SELECT person_id, creation_time, ST_SetSRID(ST_MakePoint(longitude, latitude), 4326) AS coordinate
          FROM locations_location;
        CREATE INDEX ON bench_loop (coordinate);
        CREATE INDEX ON bench_loop (creation_time);
        CREATE INDEX ON bench_loop (person_id)""",
    "bench_points": """
        CREATE TABLE bench_points AS
        SELECT person_id, creation_time, ST_MakePoint(longitude, latitude)::geography AS position
          FROM locations_location;
        CREATE UNIQUE INDEX ON bench_points (person_id, creation_time);
        CREATE INDEX bench_position ON bench_points USING gist (position)""",
    "bench_points_time": """
        CREATE EXTENSION IF NOT EXISTS btree_gist;
        CREATE TABLE bench_points_time AS SELECT * FROM bench_points;
        CREATE UNIQUE INDEX ON bench_points_time (person_id, creation_time);
        CREATE INDEX bench_position_time ON bench_points_time USING gist (position, creation_time)""",
}
LOOP_OWN = """
SELECT ST_X(coordinate), ST_Y(coordinate) FROM bench_loop
 WHERE person_id = %(person_id)s AND creation_time >= %(start)s AND creation_time < %(end)s
 LIMIT %(steps)s
"""
LOOP_STEP = """
SELECT person_id, creation_time, ST_Y(coordinate), ST_X(coordinate) FROM bench_loop
 WHERE ST_DWithin(coordinate::geography, ST_MakePoint(%(x)s, %(y)s)::geography, %(distance_m)s)
   AND person_id <> %(person_id)s AND creation_time >= %(start)s AND creation_time < %(end)s
"""
SELF_JOIN = """
SELECT DISTINCT other.person_id, other.creation_time,
       ST_Y(other.position::geometry), ST_X(other.position::geometry)
  FROM {table} AS own JOIN {table} AS other
    ON ST_DWithin(own.position, other.position, %(distance_m)s) AND other.person_id <> own.person_id {within}
 WHERE own.person_id = %(person_id)s AND own.creation_time >= %(start)s AND own.creation_time < %(end)s
   AND other.creation_time >= %(start)s AND other.creation_time < %(end)s
 ORDER BY creation_time, person_id
"""
WITHIN = "AND other.creation_time BETWEEN own.creation_time - %(within)s AND own.creation_time + %(within)s"


def parts(event: Event) -> Iterator[Part]:
    for table, sql in LAYOUTS.items():
        rows(sql)
        rows(f"VACUUM ANALYZE {table}")
    statements = {
        "`connection`, within 60 s": event.connections(WITHIN_S),
        "`connection`, any time": event.connections(None),
        "`encounters`": event.encounters(),
    }
    yield alternatives(event, statements)
    yield plans(statements)


def loop(values: dict[str, Any]) -> Rows:
    """The first steps of a loop with one statement per own ping."""
    return [row for x, y in rows(LOOP_OWN, values) for row in rows(LOOP_STEP, values | {"x": x, "y": y})]


def alternatives(event: Event, statements: Mapping[str, Statement]) -> Part:
    values = event.question() | {
        "person_id": event.person_id,
        "within": timedelta(seconds=WITHIN_S),
        "steps": LOOP_STEPS,
    }

    def self_join(table: str, within: str) -> Callable[[], Rows]:
        return partial(rows, SELF_JOIN.format(table=table, within=within), values)

    asked: dict[str, Any] = {
        "one statement per own ping, cast to geography, B-tree (UdaConnect)": partial(loop, values),
        "self-join, GiST on position, any time": self_join("bench_points", ""),
        "self-join, GiST on position, within 60 s": self_join("bench_points", WITHIN),
        "self-join, GiST on position and time, within 60 s": self_join("bench_points_time", WITHIN),
    } | {f"Connect: {name}": partial(rows, *statement) for name, statement in statements.items()}
    looped, any_time, within, within_time, connect_within, connect_any_time, encounters = asked
    took, found = timed(asked, ROUNDS)
    took[looped] = Spread([value * event.own / LOOP_STEPS for value in took[looped].values])
    medians = {name: spread.median for name, spread in took.items()}

    part = Part(f"The question at {event.pings:,} pings, beside its alternatives")
    part.text(
        f"{len(event.person_ids):,} people. One person's day: {event.own:,} own pings among "
        f"{event.pings_that_day:,}, {DISTANCE_M} m, {WITHIN_S:g} s. Every way fetches its rows. The loop is "
        f"calculated from {LOOP_STEPS} of {event.own:,} own pings."
    )
    part.table(
        ("way to ask", "rows", "median (least to most)", "speed, as a multiple of the self-join within 60 s"),
        [
            (
                name,
                "" if name == looped else f"{len(found[name]):,}",
                spread.ms(),
                f"{medians[within] / spread.median:,.3g}",
            )
            for name, spread in took.items()
        ],
    )
    # Connect's rows also have the accuracy, which comes last.
    rows_of = {name: [row[:4] for row in answer] for name, answer in found.items()}
    same = rows_of[within] == rows_of[within_time] == rows_of[connect_within]
    same &= rows_of[any_time] == rows_of[connect_any_time]
    part.text(f"All answers to one question are {'the same, row by row' if same else '**NOT the same**'}.")
    ratio = medians[within] / medians[connect_within]
    part.target("`connection`, within 60 s", "100 x the self-join", f"{ratio:,.0f} x", met=ratio >= 100)
    ratio = medians[any_time] / medians[connect_any_time]
    part.target("`connection`, any time", "8 x the self-join", f"{ratio:,.0f} x", met=ratio >= 8)
    ratio = medians[encounters] / medians[connect_within]
    part.target("`encounters`", "1.5 x `connection` within 60 s", f"{ratio:.2f} x", met=ratio <= 1.5)
    return part


def plans(statements: Mapping[str, Statement]) -> Part:
    part = Part("Plans")
    part.text("From EXPLAIN ANALYZE, whose clock makes the statements slower.")
    for name, (sql, values) in statements.items():
        plan = [line for (line,) in rows(f"EXPLAIN (ANALYZE, COSTS OFF) {sql}", values)]
        nodes = [line for line in plan if "actual time" in line and "never executed" not in line]
        part.text("\n".join([f"{name}:", "", "```text", *nodes, "```"]))
    return part
