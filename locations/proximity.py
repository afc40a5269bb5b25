"""The spatial question: who was near whom, when and for how long. One SQL statement for each answer.

Candidates are found in one of two ways. Up to NEAR_M metres, by the 32 m cubes around each own ping and
the time (index locations_cell_time). Farther, where cubes would be many and mostly empty, by time alone
(index locations_time).

Of others only those are in an answer who may be found; the person asked about need not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from connect.database import stream_blocks
from locations import distance_sql, person_rows
from locations.distance_sql import TINY
from locations.pings import EARLIEST, LATEST, Ping

CELL_M = 32  # the edge of the indexed cubes: migration 0001
NEAR_M = 40  # measured: from here on the time window is looked through quicker than so many cubes

# Without a time tolerance.
SPOTS = 8  # how many times as far as a spot is wide one looks; 6 to 16 are alike
SMALL_FROM_M = 10  # nearer, spots are so many that making their small cubes takes longer than these save
FEW_OWN = 2000  # up to so many own pings their spots' cubes are small: at most some 50 MB of work_mem
SMALLEST_M = 1e-3  # nobody is known so well; far below it numbers would overflow
SLICES = 500
SHORTEST_SLICE = timedelta(minutes=15)
OWN_A_SLICE = 1000  # with each so many own pings more the slices are once more as long

EARTH_M = 12_760_000  # no two points on earth are a longer chord apart
_AGES_S = (LATEST - EARLIEST).total_seconds()


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
    for block in stream_blocks(sql, values):
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
    plausible_only: bool = False,
    after: tuple[datetime, int, int] | None = None,
    limit: int | None = None,
) -> Iterator[Encounter]:
    """A person's encounters in [start, end), ordered by start, person; `after` is (start, person, nth).

    `plausible_only` is for a person who asks about themselves and can forge own pings: see _PLAUSIBLE_OWN.
    """
    sql, values = encounters_sql(
        person_id,
        start=start,
        end=end,
        distance_m=distance_m,
        within_s=within_s,
        max_gap_s=max_gap_s,
        min_duration_s=min_duration_s,
        max_speed_m_s=settings.MAX_SPEED_M_S if plausible_only else None,
        after=after,
        limit=limit,
    )
    for block in stream_blocks(sql, values):
        for row in block:
            yield Encounter(*row)


# --- SQL -----------------------------------------------------------------------------------------

_OWN = """
own AS MATERIALIZED (
    SELECT creation_time, latitude, longitude, x, y, z, row_number() OVER before AS nth,
           lag(creation_time) OVER before AS before_time,
           lag(x) OVER before AS before_x, lag(y) OVER before AS before_y, lag(z) OVER before AS before_z
      FROM locations_location
     WHERE person_id = %(person_id)s AND creation_time >= %(start)s AND creation_time < %(end)s
    WINDOW before AS (ORDER BY creation_time)
)"""

# The same for a person who can forge own pings. A ping counts if the person can have come from the stored
# ping before it in time: at MAX_SPEED_M_S, and not in less than a second. "The one before" is the stored one,
# whether it counts or not, so that each jump costs a ping; for the first ping of the range it is the last one
# before the range. `nth` numbers all stored pings, so that a meeting can be compared with all of them.
#
# The condition on the ping before the range compares rows: with a plain one the planner may walk back in time
# through the pings of everybody. Pings that do not count are marked, not filtered out: the planner would take
# the rest for very few rows, and join in nested loops.
_COLUMNS = "creation_time, latitude, longitude, x, y, z"
_PLAUSIBLE_OWN = f"""
own AS MATERIALIZED (
    SELECT {_COLUMNS}, nth, creation_time >= %(start)s AND (passed_s IS NULL OR (passed_s >= 1 AND
           {distance_sql.square("judged", "before_")} <= (%(max_speed_m_s)s * passed_s) ^ 2)) AS counts
      FROM (
        SELECT {_COLUMNS}, row_number() OVER before AS nth,
               extract(epoch FROM creation_time - lag(creation_time) OVER before)::float8 AS passed_s,
               lag(x) OVER before AS before_x, lag(y) OVER before AS before_y, lag(z) OVER before AS before_z
          FROM (
            (SELECT {_COLUMNS} FROM locations_location
              WHERE (person_id, creation_time) >= (%(person_id)s, %(look_back)s)
                AND (person_id, creation_time) < (%(person_id)s, %(start)s)
                AND creation_time >= %(look_back)s AND creation_time < %(start)s
              ORDER BY person_id DESC, creation_time DESC LIMIT 1)
            UNION ALL
            SELECT {_COLUMNS} FROM locations_location
             WHERE person_id = %(person_id)s AND creation_time >= %(start)s AND creation_time < %(end)s
          ) AS stored
        WINDOW before AS (ORDER BY creation_time)
      ) AS judged
)"""

# The range stands here once more, and not only in `own`: it is what leaves other months out.
_IN_RANGE = "location.creation_time >= %(start)s AND location.creation_time < %(end)s"

_WITHIN = """
location.creation_time >= own.creation_time - %(within_s)s * interval '1 second' AND
location.creation_time <= own.creation_time + %(within_s)s * interval '1 second'"""


# Near the own ping before, too. It is missing for the first one, hence no plain NOT of this.
_SEEN_BEFORE = f"""
location.creation_time <= own.before_time + %(within_s)s * interval '1 second' AND
{distance_sql.square("location", "own.before_")} <= %(surely)s"""


def _pairs(reach: dict[str, float], *, each: bool, own: str = "own") -> str:
    """`pairs`: every own ping with the pings of others, who may be found, near it in space and time.

    Of one other ping not each pair, unless asked for: where people stay, the own ping before has most.
    """
    near = reach["distance_m"] <= NEAR_M
    return f"""
pairs AS (
    SELECT other.*, own.creation_time AS own_time, own.nth AS own_nth
      FROM {own} {distance_sql.cells("own", reach["perhaps_m"], CELL_M) if near else ""}
     CROSS JOIN LATERAL (
        SELECT person_id, creation_time, latitude, longitude,
               {distance_sql.square("location", "own.")} AS square
          FROM locations_location AS location
         WHERE {f"locations_cell(x, y, z, {CELL_M}) = near.cell AND" if near else ""}
               {_IN_RANGE} AND {_WITHIN} AND person_id <> %(person_id)s
               AND abs(x - own.x) <= %(perhaps_m)s
               AND {distance_sql.square("location", "own.")} <= %(perhaps)s
               {"" if each else f"AND ({_SEEN_BEFORE}) IS NOT TRUE"}
        OFFSET 0 -- a fence: the index is looked up once an own ping, whatever the planner guesses
     ) AS other
     WHERE (square <= %(surely)s OR {distance_sql.geodesic("other", "own")} <= %(distance_m)s)
           AND {person_rows.may_be_found("other.person_id")}
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
    reach = distance_sql.reach(distance_m)
    values: dict[str, Any] = {"person_id": person_id, "start": start, "end": end, "within_s": within_s}
    values |= reach
    page = "true"
    if after is not None:
        page = "(creation_time, person_id) > (%(after_time)s, %(after_person)s)"
        values |= {"after_time": after[0], "after_person": after[1]}
    if within_s is not None:
        sql = f"""
WITH {_OWN}, {_pairs(reach, each=False)}
SELECT DISTINCT ON (creation_time, person_id) person_id, creation_time, latitude, longitude
  FROM pairs WHERE {page}
 ORDER BY creation_time, person_id"""
    else:
        sql = _any_time_sql(reach, page)
        first = start if after is None else max(start, after[0])
        values |= {"first": first, "slice": max((end - first) / SLICES, SHORTEST_SLICE)}
    return _limited(sql, values, limit)


def _any_time_sql(reach: dict[str, float], page: str) -> str:
    """Connections without a time tolerance: each candidate once, kept if any own ping is in reach.

    Slice by slice of the time, so that the first rows are there long before the last. The longer the own
    way, the fewer: should it not fit into memory, each slice reads all of it again.

    Own pings are gathered in spots, some hundredths of the distance wide. Of most candidates a spot's
    middle says enough; those in the doubt that its radius leaves are compared with each ping of it. Spots
    are hashed by the cubes that they reach into: a hundred small ones, which few candidates share with spots
    too far away, or eight large ones where spots are too many for that.
    """
    distance_m = reach["distance_m"]
    spot_m = max(distance_m, SMALLEST_M) / SPOTS
    reach_m = reach["perhaps_m"] + spot_m
    small_m, large_m, edge = reach_m / 2, 2 * reach_m, "(SELECT edge FROM cubes)"
    few = FEW_OWN if distance_m >= SMALL_FROM_M else 0
    if distance_m <= NEAR_M:
        near = f"SELECT DISTINCT cell FROM own {distance_sql.cells('own', reach['perhaps_m'], CELL_M)}"
        areas, area = f"areas AS MATERIALIZED ({near}),", "areas,"
        in_area = f"locations_cell(x, y, z, {CELL_M}) = areas.cell"
    else:
        areas, area, in_area = "", "", "EXISTS (SELECT FROM own)"
    middle = distance_sql.square("other", "spot.")
    spot = ", ".join(f"floor(({axis} + {TINY}) / {spot_m})" for axis in "xyz")
    return f"""
WITH {_OWN},
spots AS (
    SELECT {_middle("x")} AS x, {_middle("y")} AS y, {_middle("z")} AS z,
           sqrt({_squared_width("x")} + {_squared_width("y")} + {_squared_width("z")}) / 2 + 1e-7 AS radius,
           array_agg(x) AS xs, array_agg(y) AS ys, array_agg(z) AS zs,
           array_agg(latitude) AS latitudes, array_agg(longitude) AS longitudes
      FROM own GROUP BY {spot}
),
cubes AS (
    SELECT CASE WHEN count(*) <= {few} THEN {small_m} ELSE {large_m} END::float8 AS edge FROM own
),
reach AS MATERIALIZED (
    SELECT spot.*, cell, (%(perhaps_m)s + radius) ^ 2 AS perhaps,
           CASE WHEN radius < %(surely_m)s THEN (%(surely_m)s - radius) ^ 2 ELSE -1 END AS surely
      FROM spots AS spot {distance_sql.cells("spot", reach_m, small_m, edge)}
),
{areas}
slices AS (
    SELECT begins, ends
      FROM (SELECT %(slice)s * (1 + count(*) / {OWN_A_SLICE}) AS lasts FROM own) AS slice,
           generate_series(%(first)s, %(end)s - interval '1 microsecond', lasts) AS begins,
           LATERAL (SELECT begins + lasts AS ends) AS each,
           -- Is anybody there? LIMIT and not EXISTS, which may become a join that reads them all.
           LATERAL (SELECT FROM locations_location AS location
                     WHERE creation_time >= begins AND creation_time < ends AND {_IN_RANGE} LIMIT 1) AS one
     ORDER BY begins
)
SELECT person_id, creation_time, latitude, longitude
  FROM slices CROSS JOIN LATERAL (
    SELECT person_id, creation_time, latitude, longitude
      FROM (
        SELECT location.* FROM {area} LATERAL (
            SELECT * FROM locations_location AS location
             WHERE {in_area} AND creation_time >= begins AND creation_time < ends AND {_IN_RANGE}
            OFFSET 0
        ) AS location
        OFFSET 0
      ) AS other
     WHERE person_id <> %(person_id)s AND {page} AND {person_rows.may_be_found("person_id")} AND EXISTS (
        SELECT FROM reach AS spot
         WHERE cell = {distance_sql.cell_of("other", edge)}
           AND {middle} <= perhaps AND ({middle} <= surely OR EXISTS (
            -- Not FROM generate_subscripts, which would find all before the first is looked at.
            SELECT FROM (SELECT generate_subscripts(xs, 1) AS nth) AS each,
                   LATERAL (SELECT xs[nth] AS x, ys[nth] AS y, zs[nth] AS z OFFSET 0) AS own,
                   LATERAL (SELECT latitudes[nth] AS latitude, longitudes[nth] AS longitude) AS place
             WHERE {distance_sql.square("other", "own.")} <= %(perhaps)s
               AND ({distance_sql.square("other", "own.")} <= %(surely)s
                    OR {distance_sql.geodesic("other", "place")} <= %(distance_m)s)
         ))
     )
    OFFSET 0
 ) AS found
 ORDER BY begins, creation_time, person_id"""


def _middle(axis: str) -> str:
    return f"(min({axis}) + max({axis}) + {TINY}) / 2"


def _squared_width(axis: str) -> str:
    return f"(max({axis}) - min({axis}) + {TINY}) ^ 2"


def encounters_sql(
    person_id: int,
    *,
    start: datetime,
    end: datetime,
    distance_m: float,
    within_s: float,
    max_gap_s: float,
    min_duration_s: float,
    max_speed_m_s: float | None = None,
    after: tuple[datetime, int, int] | None,
    limit: int | None,
) -> tuple[str, dict[str, Any]]:
    """The statement of `encounters` and its parameters.

    With `max_speed_m_s` only plausible own pings count (_PLAUSIBLE_OWN), and a meeting needs at least half of
    the stored own pings from its first to its last one. To count them there are runs of each own ping, too.

    Pairs come first into runs: all those of one ping of another person, between two of which there is never
    a gap, unless gaps are shorter than the time tolerance; then each pair is a run of its own.

    The nearest own ping travels through the groups in one number: the chord in tenths of a micrometre, and
    after it the own ping's place in time, so that the least number is that of the earliest of the nearest.
    """
    reach = distance_sql.reach(distance_m)
    values: dict[str, Any] = {
        "person_id": person_id,
        "start": start,
        "end": end,
        "within_s": within_s,
        "max_gap_s": max_gap_s,
        "min_duration_s": min_duration_s,
    }
    values |= reach
    page = "true"
    if after is not None:
        page = "(start, person_id, meeting) > (%(after_start)s, %(after_person)s, %(after_nth)s)"
        values |= {"after_start": after[0], "after_person": after[1], "after_nth": after[2]}
    # Time first: pairs come almost in its order, and are sorted in less.
    own, counting, run, more_of_run, count, having = (
        _OWN,
        "own",
        "creation_time, person_id",
        "",
        "count(*)",
        "",
    )
    their_first = their_last = "creation_time"
    if max_gap_s < within_s:
        run, count = f"{run}, own_time", "count(DISTINCT creation_time)"
    if max_speed_m_s is not None:
        # Beyond this time the ping before the range may have been anywhere.
        look_back = timedelta(seconds=min(EARTH_M / max_speed_m_s, _AGES_S))
        values |= {"max_speed_m_s": max_speed_m_s, "look_back": max(start, EARLIEST + look_back) - look_back}
        own, counting = _PLAUSIBLE_OWN, "(SELECT * FROM own WHERE counts) AS own"
        more_of_run = ", own_time, min(own_nth) AS nth_first, max(own_nth) AS nth_last"
        their_first, their_last = "min(creation_time)", "max(creation_time)"
        count_own = "count(DISTINCT own_time)"
        if max_gap_s >= within_s:
            # A run of an own ping has no creation_time, and one of another person's ping no own_time.
            run = "GROUPING SETS ((creation_time, person_id), (own_time, person_id))"
            count, count_own = "count(creation_time)", "count(own_time)"
        having = f"HAVING 2 * {count_own} >= max(nth_last) - min(nth_first) + 1"
    sql = f"""
WITH {own}, {_pairs(reach, each=True, own=counting)},
runs AS (
    SELECT person_id, creation_time, min(own_time) AS own_first, max(own_time) AS own_last,
           {their_first} AS their_first, {their_last} AS their_last,
           greatest(min(own_time), {their_first}) AS first, greatest(max(own_time), {their_last}) AS last,
           min(square) AS square, min((floor(sqrt(square) * 1e7)::bigint << 26) | own_nth) AS nearest
           {more_of_run}
      FROM pairs GROUP BY {run}
),
steps AS (
    SELECT *, first - max(last) OVER before <= %(max_gap_s)s * interval '1 second' AS goes_on
      FROM runs
    WINDOW before AS (PARTITION BY person_id ORDER BY first ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
),
numbered AS (
    SELECT *, count(*) FILTER (WHERE goes_on IS NOT TRUE) OVER so_far AS meeting
      FROM steps
    WINDOW so_far AS (PARTITION BY person_id ORDER BY first ROWS UNBOUNDED PRECEDING)
),
meetings AS (
    SELECT person_id, meeting, greatest(min(own_first), min(their_first)) AS start,
           least(max(own_last), max(their_last)) AS last, {count} AS pings,
           sqrt(min(square)) AS chord_m, min(nearest) & ((1 << 26) - 1) AS own_nth
      FROM numbered GROUP BY person_id, meeting {having}
)
SELECT person_id, start, greatest(start, last), pings, round(100 * {_nearest_m()}) / 100,
       latitude, longitude, meeting
  FROM meetings JOIN own ON own.nth = own_nth
 WHERE greatest(start, last) - start >= %(min_duration_s)s * interval '1 second' AND {page}
 ORDER BY start, person_id, meeting"""
    return _limited(sql, values, limit)


def _nearest_m() -> str:
    """The geodesic of the chord between an own ping and the nearest ping of the other person near it.

    Up to a metre they are the same to 1e-15 m. Up to a kilometre the radius of the sphere gives the geodesic
    to 1.2e-8 m; beyond that it is measured. What is nearer to that own ping than the chord belongs to another
    encounter of the two.
    """
    return f"""
CASE WHEN chord_m < 1 THEN chord_m
     WHEN chord_m < 1000 THEN chord_m + chord_m ^ 3 / (24 * 6371000.0 ^ 2)
     ELSE (SELECT min({distance_sql.geodesic("own", "location")}) FROM locations_location AS location
            WHERE location.person_id = meetings.person_id AND {_IN_RANGE} AND {_WITHIN}
                  AND {distance_sql.square("location", "own.")} >= (chord_m - 1e-6) ^ 2) END"""


def _limited(sql: str, values: dict[str, Any], limit: int | None) -> tuple[str, dict[str, Any]]:
    return (sql, values) if limit is None else (f"{sql} LIMIT %(limit)s", values | {"limit": limit})
