"""The spatial question: who was near whom, when and for how long. One SQL statement for each answer.

Nearness is decided in geocentric metres, where it is the same everywhere on earth. The chord between two
points of the ellipsoid is never longer than the geodesic and, up to 10 km, at most 1.1 mm shorter; only
pairs inside that doubt (at 5 m it is a ten-millionth of a metre, all rounding) are measured on the geodesic.

Candidates are found in one of two ways. Up to NEAR_M metres, by the 32 m cubes around each own ping and
the time (index locations_cell_time). Farther, where cubes would be many and mostly empty, by time alone
(index locations_time) and, without a time tolerance, by hashed cubes as large as the distance asks.

Of others only those are in an answer who may be found; the person asked about need not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any

from connect.database import cut_in_blocks
from locations import people
from locations.pings import Ping

CELL_M = 32  # the edge of the indexed cubes: migration 0001
NEAR_M = 40  # measured: from here on the time window is looked through quicker than so many cubes


@dataclass(frozen=True, slots=True)
class Encounter:
    """An uninterrupted time together, as both see it; the position is the own ping's at its nearest."""

    person_id: int
    start: datetime
    end: datetime
    pings: int
    min_distance_m: float
    latitude: float
    longitude: float
    nth: int  # of the asker's encounters with this person; it tells apart two that start at the same instant

    @property
    def duration_s(self) -> float:
        return (self.end - self.start).total_seconds()


def connections(
    person_id: int,
    *,
    start: datetime,
    end: datetime,
    distance_m: float,
    within_s: float | None = None,
    after: tuple[datetime, int] | None = None,
    limit: int | None = None,
) -> Iterator[Ping]:
    """Others' locations in [start, end) near an own one, each once, ordered by creation_time, person."""
    sql, values = connections_sql(
        person_id,
        start=start,
        end=end,
        distance_m=distance_m,
        within_s=within_s,
        after=after,
        limit=limit,
    )
    for block in cut_in_blocks(sql, values):
        yield from map(Ping._make, block)


def encounters(
    person_id: int,
    *,
    start: datetime,
    end: datetime,
    distance_m: float,
    within_s: float,
    max_gap_s: float,
    min_duration_s: float = 0,
    after: tuple[datetime, int, int] | None = None,
    limit: int | None = None,
) -> Iterator[Encounter]:
    """A person's encounters in [start, end), ordered by start, person; `after` is (start, person, nth)."""
    sql, values = encounters_sql(
        person_id,
        start=start,
        end=end,
        distance_m=distance_m,
        within_s=within_s,
        max_gap_s=max_gap_s,
        min_duration_s=min_duration_s,
        after=after,
        limit=limit,
    )
    for block in cut_in_blocks(sql, values):
        for row in block:
            yield Encounter(*row)


# --- SQL -----------------------------------------------------------------------------------------

_OWN = """
own AS MATERIALIZED (
    SELECT creation_time, latitude, longitude, x, y, z
      FROM locations_location
     WHERE person_id = %(person_id)s AND creation_time >= %(start)s AND creation_time < %(end)s
)"""

# The range stands here once more, and not only in `own`: it is what leaves other months out.
_IN_RANGE = "creation_time >= %(start)s AND creation_time < %(end)s"

_WITHIN = """
creation_time >= own.creation_time - %(within_s)s * interval '1 second' AND
creation_time <= own.creation_time + %(within_s)s * interval '1 second'"""


def _square(a: str, b: str) -> str:
    """The square of the chord between two rows, in square metres."""
    return " + ".join(f"({a}.{axis} - {b}.{axis}) * ({a}.{axis} - {b}.{axis})" for axis in "xyz")


def _geodesic(a: str, b: str) -> str:
    return ", ".join(f"ST_MakePoint({each}.longitude, {each}.latitude)::geography" for each in (a, b))


def _reach(distance_m: float) -> dict[str, float]:
    """The squares of the chords that are surely and perhaps within a geodesic distance of up to 10 km.

    geodesic - chord <= chord^3 / (24 r^2), r >= 6335 km (the smallest radius of curvature of WGS84).
    The rest is room for rounding: coordinates of 6,378 km are good to a few nanometres.
    """
    room_m = 1e-7
    surely_m = distance_m - distance_m**3 / (24 * 6.33e6**2) - room_m
    perhaps_m = distance_m + room_m
    return {
        "distance_m": distance_m,
        "perhaps_m": perhaps_m,
        "perhaps": perhaps_m**2,
        "surely": surely_m**2 if surely_m > 0 else -1,
    }


def _cells(edge_m: float, distance_m: float) -> str:
    """Joins to each row of `own` the numbers of the cubes within distance_m of it, as `near (cell)`.

    Arrays of known length, not generate_series, because the planner can count them.
    """
    steps = list(range(ceil(2 * distance_m / edge_m) + 1))
    first = {axis: f"floor((own.{axis} - %(perhaps_m)s) / {edge_m})" for axis in "xyz"}
    last = {axis: f"floor((own.{axis} + %(perhaps_m)s) / {edge_m})" for axis in "xyz"}
    joins = " ".join(
        f"JOIN unnest(ARRAY{steps}) AS step_{axis} ON {first[axis]} + step_{axis} <= {last[axis]}"
        for axis in "xyz"
    )
    number = {axis: f"({first[axis]}::bigint + step_{axis} + 1048576)" for axis in "xyz"}
    cell = f"({number['x']} << 42) | ({number['y']} << 21) | {number['z']}"
    return f"{joins} CROSS JOIN LATERAL (SELECT {cell} AS cell) AS near"


def _pairs(distance_m: float) -> str:
    """`pairs`: every own ping with the pings of others, who may be found, near it in space and time."""
    near = distance_m <= NEAR_M
    return f"""
pairs AS (
    SELECT other.*, own.creation_time AS own_time,
           own.latitude AS own_latitude, own.longitude AS own_longitude
      FROM own {_cells(CELL_M, distance_m) if near else ""}
     CROSS JOIN LATERAL (
        SELECT person_id, creation_time, latitude, longitude, {_square("location", "own")} AS square
          FROM locations_location AS location
         WHERE {f"locations_cell(x, y, z, {CELL_M}) = near.cell AND" if near else ""}
               {_IN_RANGE} AND {_WITHIN} AND person_id <> %(person_id)s
               AND {_square("location", "own")} <= %(perhaps)s
        OFFSET 0 -- a fence: the index is looked up once an own ping, whatever the planner guesses
     ) AS other
     WHERE (square <= %(surely)s OR ST_Distance({_geodesic("other", "own")}) <= %(distance_m)s)
           AND {people.may_be_found("other.person_id")}
)"""


def connections_sql(
    person_id: int,
    *,
    start: datetime,
    end: datetime,
    distance_m: float,
    within_s: float | None,
    after: tuple[datetime, int] | None,
    limit: int | None,
) -> tuple[str, dict[str, Any]]:
    """The statement of `connections` and its parameters."""
    values: dict[str, Any] = {"person_id": person_id, "start": start, "end": end, "within_s": within_s}
    values |= _reach(distance_m)
    page = ""
    if after is not None:
        page = "AND (creation_time, person_id) > (%(after_time)s, %(after_person)s)"
        values |= {"after_time": after[0], "after_person": after[1]}
    if within_s is not None:
        sql = f"""
WITH {_OWN}, {_pairs(distance_m)}
SELECT DISTINCT ON (creation_time, person_id) person_id, creation_time, latitude, longitude
  FROM pairs WHERE true {page}
 ORDER BY creation_time, person_id"""
    else:
        sql = _any_time_sql(distance_m, page)
    return _limited(sql, values, limit)


def _any_time_sql(distance_m: float, page: str) -> str:
    """Connections without a time tolerance: each candidate once, kept if any own ping is in reach.

    Own pings are hashed by the cubes, twice the distance wide, that they reach into (eight at most).
    """
    edge_m = max(2.0 * distance_m, 8.0)
    if distance_m <= NEAR_M:
        candidates = f"""
    (SELECT DISTINCT cell FROM own {_cells(CELL_M, distance_m)}) AS near
     CROSS JOIN LATERAL (
        SELECT person_id, creation_time, latitude, longitude, x, y, z FROM locations_location
         WHERE locations_cell(x, y, z, {CELL_M}) = near.cell AND {_IN_RANGE}
        OFFSET 0
     ) AS other"""
    else:
        candidates = f"""
    (SELECT person_id, creation_time, latitude, longitude, x, y, z FROM locations_location
      WHERE {_IN_RANGE} AND EXISTS (SELECT FROM own)) AS other"""
    return f"""
WITH {_OWN},
reach AS MATERIALIZED (SELECT own.*, cell FROM own {_cells(edge_m, distance_m)})
SELECT person_id, creation_time, latitude, longitude
  FROM {candidates}
 WHERE person_id <> %(person_id)s {page} AND {people.may_be_found("person_id")} AND EXISTS (
        SELECT FROM reach
         WHERE reach.cell = locations_cell(other.x, other.y, other.z, {edge_m})
           AND {_square("other", "reach")} <= %(perhaps)s
           AND ({_square("other", "reach")} <= %(surely)s
                OR ST_Distance({_geodesic("other", "reach")}) <= %(distance_m)s)
       )
 ORDER BY creation_time, person_id"""


def encounters_sql(
    person_id: int,
    *,
    start: datetime,
    end: datetime,
    distance_m: float,
    within_s: float,
    max_gap_s: float,
    min_duration_s: float,
    after: tuple[datetime, int, int] | None,
    limit: int | None,
) -> tuple[str, dict[str, Any]]:
    """The statement of `encounters` and its parameters."""
    values: dict[str, Any] = {
        "person_id": person_id,
        "start": start,
        "end": end,
        "within_s": within_s,
        "max_gap_s": max_gap_s,
        "min_duration_s": min_duration_s,
    }
    values |= _reach(distance_m)
    page = ""
    if after is not None:
        page = "AND (start, person_id, nth) > (%(after_start)s, %(after_person)s, %(after_nth)s)"
        values |= {"after_start": after[0], "after_person": after[1], "after_nth": after[2]}
    sql = f"""
WITH {_OWN}, {_pairs(distance_m)},
steps AS (
    SELECT *, greatest(own_time, creation_time) - lag(greatest(own_time, creation_time)) OVER of_person
              <= %(max_gap_s)s * interval '1 second' AS goes_on
      FROM pairs
    WINDOW of_person AS (PARTITION BY person_id ORDER BY greatest(own_time, creation_time))
),
numbered AS (
    SELECT *, count(*) FILTER (WHERE goes_on IS NOT TRUE) OVER of_person AS nth
      FROM steps
    WINDOW of_person AS (PARTITION BY person_id ORDER BY greatest(own_time, creation_time))
),
measured AS (
    -- A chord within a millionth of a metre of the shortest may be the shortest geodesic: measure those.
    SELECT *, CASE WHEN sqrt(square) <= sqrt(min(square) OVER (PARTITION BY person_id, nth)) + 1e-6
                   THEN ST_Distance(ST_MakePoint(own_longitude, own_latitude)::geography,
                                    ST_MakePoint(longitude, latitude)::geography) END AS exact
      FROM numbered
),
meetings AS (
    SELECT person_id, nth, greatest(min(own_time), min(creation_time)) AS start,
           least(max(own_time), max(creation_time)) AS last,
           count(DISTINCT creation_time) AS pings, min(exact) AS nearest,
           (array_agg(own_latitude ORDER BY exact, own_time) FILTER (WHERE exact >= 0))[1] AS latitude,
           (array_agg(own_longitude ORDER BY exact, own_time) FILTER (WHERE exact >= 0))[1] AS longitude
      FROM measured GROUP BY person_id, nth
)
SELECT person_id, start, greatest(start, last), pings, round(nearest::numeric, 2)::float8,
       latitude, longitude, nth
  FROM meetings
 WHERE greatest(start, last) - start >= %(min_duration_s)s * interval '1 second' {page}
 ORDER BY start, person_id, nth"""
    return _limited(sql, values, limit)


def _limited(sql: str, values: dict[str, Any], limit: int | None) -> tuple[str, dict[str, Any]]:
    return (sql, values) if limit is None else (f"{sql} LIMIT %(limit)s", values | {"limit": limit})
