"""The SQL statements of the spatial question.

Candidates are found in one of two ways. Up to CELLS_UP_TO_M metres: by the 32 m cubes around each own ping,
and by time (index locations_cell_time). For a longer distance the cubes would be many and mostly empty, so
candidates are found by time alone (index locations_time).

Answers contain only other people who are findable. The person asked about need not be.
"""

from datetime import datetime, timedelta
from typing import Any

from locations import distance_sql, person_rows
from locations.distance_sql import TINY
from locations.pings import COLUMNS, EARLIEST, LATEST, to_single

CELL_M = 32  # edge of the indexed cubes: migration 0001
CELLS_UP_TO_M = 40  # measured: beyond it a scan of the time range is faster than a lookup of the cubes

# Statements without a time tolerance: see _any_time_sql.
SPOTS_PER_DISTANCE = 8  # the distance divided by the width of a spot; 6 to 16 are equally fast
SMALL_CUBES_FROM_M = 10  # for shorter distances, spots are so many that small cubes cost more than they save
SMALL_CUBES_MAX_OWN = 2000  # own pings; the hash of their small cubes takes at most some 50 MB of work_mem
MIN_SPOT_DISTANCE_M = 1e-3  # better than any position; spots of much less would overflow
MAX_SLICES = 500
MIN_SLICE = timedelta(minutes=15)
OWN_PER_SLICE_LENGTH = 1000  # own pings; each full 1000 add the basic length to a slice once more

MAX_CHORD_M = 12_760_000  # longer than any chord between two points on earth
_MAX_LOOK_BACK_S = (LATEST - EARLIEST).total_seconds()

_LOCATION = ", ".join(COLUMNS)
_IS_ACCURATE = "(accuracy <= %(max_accuracy_m)s) IS NOT FALSE"  # good or unknown


def _accurate_only(values: dict[str, Any], max_accuracy_m: float | None) -> str:
    """The condition on the pings of both people, with AND, and its parameter. Empty without a maximum."""
    if max_accuracy_m is None:
        return ""
    values["max_accuracy_m"] = to_single(max_accuracy_m)  # like every stored accuracy
    return f"AND {_IS_ACCURATE}"


def _own(accurate: str) -> str:
    """CTE `own`: the pings of the person."""
    return f"""
own AS MATERIALIZED (
    SELECT creation_time, latitude, longitude, x, y, z, row_number() OVER before AS nth,
           lag(creation_time) OVER before AS before_time,
           lag(x) OVER before AS before_x, lag(y) OVER before AS before_y, lag(z) OVER before AS before_z
      FROM locations_location
     WHERE person_id = %(person_id)s AND creation_time >= %(start)s AND creation_time < %(end)s {accurate}
    WINDOW before AS (ORDER BY creation_time)
)"""


# `own` for a person's token: own pings may be forged. A ping counts if it is at least a second after the
# previous stored ping, and reachable from it at MAX_SPEED_M_S. The previous ping need not count itself, so
# each jump costs the forger a ping. For the first ping of the range it is the last ping before the range.
# `nth` numbers all stored pings, so that the pings of a meeting can be compared with all of them.
#
# The condition on the ping before the range is a row comparison: with a plain one the planner may walk back
# through everybody's pings. Pings that do not count are marked, not filtered out: otherwise the planner would
# expect very few rows and join them in nested loops.
_COLUMNS = "creation_time, latitude, longitude, x, y, z"


def _plausible_own(name: str = "own", columns: str = _COLUMNS) -> str:
    return f"""
{name} AS MATERIALIZED (
    SELECT {columns}, nth, creation_time >= %(start)s AND (passed_s IS NULL OR (passed_s >= 1 AND
           {distance_sql.square("judged", "before_")} <= (%(max_speed_m_s)s * passed_s) ^ 2)) AS counts
      FROM (
        SELECT {columns}, row_number() OVER before AS nth,
               extract(epoch FROM creation_time - lag(creation_time) OVER before)::float8 AS passed_s,
               lag(x) OVER before AS before_x, lag(y) OVER before AS before_y, lag(z) OVER before AS before_z
          FROM (
            (SELECT {columns} FROM locations_location
              WHERE (person_id, creation_time) >= (%(person_id)s, %(look_back)s)
                AND (person_id, creation_time) < (%(person_id)s, %(start)s)
                AND creation_time >= %(look_back)s AND creation_time < %(start)s
              ORDER BY person_id DESC, creation_time DESC LIMIT 1)
            UNION ALL
            SELECT {columns} FROM locations_location
             WHERE person_id = %(person_id)s AND creation_time >= %(start)s AND creation_time < %(end)s
          ) AS stored
        WINDOW before AS (ORDER BY creation_time)
      ) AS judged
)"""


# The same with a maximum accuracy, which comes after the judgement: a forger must not be able to hide a jump
# by calling it inaccurate. An inaccurate ping is left out only if it is plausible: then the pings around it
# are reachable from each other without it. An implausible one still counts against each meeting around it, as
# does an accurate one that follows an inaccurate one in less than a second.
_PLAUSIBLE_ACCURATE_OWN = f"""{_plausible_own("judged_own", f"{_COLUMNS}, accuracy")},
own AS MATERIALIZED (
    SELECT {_COLUMNS}, row_number() OVER (ORDER BY creation_time) AS nth, counts AND {_IS_ACCURATE} AS counts
      FROM judged_own WHERE {_IS_ACCURATE} OR NOT counts
)"""

# `own` has the range, too; it is repeated on the others' pings so that the planner prunes other months.
IN_RANGE = "location.creation_time >= %(start)s AND location.creation_time < %(end)s"

_WITHIN = """
location.creation_time >= own.creation_time - %(within_s)s * interval '1 second' AND
location.creation_time <= own.creation_time + %(within_s)s * interval '1 second'"""


# The other ping is also near the previous own ping. NULL for the first own ping, which has none: hence the
# condition IS NOT TRUE instead of NOT.
_NEAR_PREVIOUS = f"""
location.creation_time <= own.before_time + %(within_s)s * interval '1 second' AND
{distance_sql.square("location", "own.before_")} <= %(inner_squared)s"""


def _pairs(chords: dict[str, float], accurate: str, *, every_pair: bool, own: str = "own") -> str:
    """CTE `pairs`: each own ping with the pings of findable others that are near it in space and time.

    Without `every_pair` a pair is left out if the other ping is near the previous own ping, too. That saves
    most pairs where people stay, and every other ping is still in at least one.
    """
    near = chords["distance_m"] <= CELLS_UP_TO_M
    return f"""
pairs AS (
    SELECT other.*, own.creation_time AS own_time, own.nth AS own_nth
      FROM {own} {distance_sql.cells("own", chords["outer_m"], CELL_M) if near else ""}
     CROSS JOIN LATERAL (
        SELECT {_LOCATION}, {distance_sql.square("location", "own.")} AS square
          FROM locations_location AS location
         WHERE {f"locations_cell(x, y, z, {CELL_M}) = near.cell AND" if near else ""}
               {IN_RANGE} AND {_WITHIN} AND person_id <> %(person_id)s {accurate}
               AND abs(x - own.x) <= %(outer_m)s
               AND {distance_sql.square("location", "own.")} <= %(outer_squared)s
               {"" if every_pair else f"AND ({_NEAR_PREVIOUS}) IS NOT TRUE"}
        OFFSET 0 -- optimization fence: one index lookup per own ping, whatever the planner estimates
     ) AS other
     WHERE (square <= %(inner_squared)s OR {distance_sql.geodesic("other", "own")} <= %(distance_m)s)
           AND {person_rows.is_findable("other.person_id")}
)"""


def connections_sql(
    person_id: int,
    *,
    start: datetime,
    end: datetime,
    distance_m: float,
    within_s: float | None,
    max_accuracy_m: float | None = None,
    after: tuple[datetime, int] | None,
    limit: int | None,
) -> tuple[str, dict[str, Any]]:
    """The statement of `connections` and its parameters."""
    chords = distance_sql.chords(distance_m)
    values: dict[str, Any] = {"person_id": person_id, "start": start, "end": end, "within_s": within_s}
    values |= chords
    accurate = _accurate_only(values, max_accuracy_m)
    page = "true"
    if after is not None:
        page = "(creation_time, person_id) > (%(after_time)s, %(after_person)s)"
        values |= {"after_time": after[0], "after_person": after[1]}
    if within_s is not None:
        sql = f"""
WITH {_own(accurate)}, {_pairs(chords, accurate, every_pair=False)}
SELECT DISTINCT ON (creation_time, person_id) {_LOCATION}
  FROM pairs WHERE {page}
 ORDER BY creation_time, person_id"""
    else:
        sql = _any_time_sql(chords, accurate, page)
        first = start if after is None else max(start, after[0])
        values |= {"first": first, "slice": max((end - first) / MAX_SLICES, MIN_SLICE)}
    return _limited(sql, values, limit)


def _any_time_sql(chords: dict[str, float], accurate: str, page: str) -> str:
    """Connections without a time tolerance: each candidate once, kept if it is near any own ping.

    The time range is read in slices, so that the first rows arrive long before the last. More own pings make
    fewer slices, because each slice reads all own pings again where they do not fit into memory.

    Own pings are grouped into spots, SPOTS_PER_DISTANCE to the distance. For most candidates the distance to
    the middle of a spot decides. If the radius of the spot leaves a doubt, the candidate is compared with
    each ping of the spot. Spots are hashed by the cubes within their reach: a hundred small cubes, which few
    candidates share with a spot too far away, or eight large ones where there are too many spots for that.
    """
    distance_m = chords["distance_m"]
    spot_m = max(distance_m, MIN_SPOT_DISTANCE_M) / SPOTS_PER_DISTANCE
    reach_m = chords["outer_m"] + spot_m
    small_m, large_m, edge = reach_m / 2, 2 * reach_m, "(SELECT edge FROM cubes)"
    few = SMALL_CUBES_MAX_OWN if distance_m >= SMALL_CUBES_FROM_M else 0
    if distance_m <= CELLS_UP_TO_M:
        near = f"SELECT DISTINCT cell FROM own {distance_sql.cells('own', chords['outer_m'], CELL_M)}"
        areas, area = f"areas AS MATERIALIZED ({near}),", "areas,"
        in_area = f"locations_cell(x, y, z, {CELL_M}) = areas.cell"
    else:
        areas, area, in_area = "", "", "EXISTS (SELECT FROM own)"
    middle = distance_sql.square("other", "spot.")
    spot = ", ".join(f"floor(({axis} + {TINY}) / {spot_m})" for axis in "xyz")
    return f"""
WITH {_own(accurate)},
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
    SELECT spot.*, cell, (%(outer_m)s + radius) ^ 2 AS outer_squared,
           CASE WHEN radius < %(inner_m)s THEN (%(inner_m)s - radius) ^ 2 ELSE -1 END AS inner_squared
      FROM spots AS spot {distance_sql.cells("spot", reach_m, small_m, edge)}
),
{areas}
slices AS (
    SELECT begins, ends
      FROM (SELECT %(slice)s * (1 + count(*) / {OWN_PER_SLICE_LENGTH}) AS lasts FROM own) AS slice,
           generate_series(%(first)s, %(end)s - interval '1 microsecond', lasts) AS begins,
           LATERAL (SELECT begins + lasts AS ends) AS each,
           -- Only slices that have rows. LIMIT and not EXISTS, which may become a join that reads all rows.
           LATERAL (SELECT FROM locations_location AS location
                     WHERE creation_time >= begins AND creation_time < ends AND {IN_RANGE} LIMIT 1) AS one
     ORDER BY begins
)
SELECT {_LOCATION}
  FROM slices CROSS JOIN LATERAL (
    SELECT {_LOCATION}
      FROM (
        SELECT location.* FROM {area} LATERAL (
            SELECT * FROM locations_location AS location
             WHERE {in_area} AND creation_time >= begins AND creation_time < ends AND {IN_RANGE} {accurate}
            OFFSET 0
        ) AS location
        OFFSET 0
      ) AS other
     WHERE person_id <> %(person_id)s AND {page} AND {person_rows.is_findable("person_id")} AND EXISTS (
        SELECT FROM reach AS spot
         WHERE cell = {distance_sql.cell_of("other", edge)}
           AND {middle} <= outer_squared AND ({middle} <= inner_squared OR EXISTS (
            -- Not FROM generate_subscripts, which would make all of them before the first comparison.
            SELECT FROM (SELECT generate_subscripts(xs, 1) AS nth) AS each,
                   LATERAL (SELECT xs[nth] AS x, ys[nth] AS y, zs[nth] AS z OFFSET 0) AS own,
                   LATERAL (SELECT latitudes[nth] AS latitude, longitudes[nth] AS longitude) AS place
             WHERE {distance_sql.square("other", "own.")} <= %(outer_squared)s
               AND ({distance_sql.square("other", "own.")} <= %(inner_squared)s
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
    max_accuracy_m: float | None = None,
    max_speed_m_s: float | None = None,
    after: tuple[datetime, int, int] | None,
    limit: int | None,
) -> tuple[str, dict[str, Any]]:
    """The statement of `encounters` and its parameters.

    With `max_speed_m_s` only plausible own pings count (_plausible_own), and a meeting needs at least half of
    the stored own pings from its first to its last one. To count these, own pings get runs of their own.

    Pairs are first grouped into runs. A run is all pairs of one ping of another person: no gap can be between
    them if `max_gap_s` is at least `within_s`. If it is less, each pair is a run of its own.

    `nearest` identifies the nearest own ping through both GROUP BYs: the chord in tenths of a micrometre in
    the high bits, `nth` of the own ping in the low 26. Its minimum is the earliest of the nearest own pings.
    """
    chords = distance_sql.chords(distance_m)
    values: dict[str, Any] = {
        "person_id": person_id,
        "start": start,
        "end": end,
        "within_s": within_s,
        "max_gap_s": max_gap_s,
        "min_duration_s": min_duration_s,
    }
    values |= chords
    accurate = _accurate_only(values, max_accuracy_m)
    page = "true"
    if after is not None:
        page = "(start, person_id, meeting) > (%(after_start)s, %(after_person)s, %(after_nth)s)"
        values |= {"after_start": after[0], "after_person": after[1], "after_nth": after[2]}
    own, counting = _own(accurate), "own"
    run = "creation_time, person_id"  # time first: pairs are almost in its order, so the sort is faster
    more_of_run, count, having = "", "count(*)", ""
    their_first = their_last = "creation_time"
    if max_gap_s < within_s:
        run, count = f"{run}, own_time", "count(DISTINCT creation_time)"
    if max_speed_m_s is not None:
        # Within this time any place on earth can be reached, so an older ping excludes nothing.
        look_back = timedelta(seconds=min(MAX_CHORD_M / max_speed_m_s, _MAX_LOOK_BACK_S))
        values |= {"max_speed_m_s": max_speed_m_s, "look_back": max(start, EARLIEST + look_back) - look_back}
        own = _PLAUSIBLE_ACCURATE_OWN if accurate else _plausible_own()
        counting = "(SELECT * FROM own WHERE counts) AS own"
        more_of_run = ", own_time, min(own_nth) AS nth_first, max(own_nth) AS nth_last"
        their_first, their_last = "min(creation_time)", "max(creation_time)"
        count_own = "count(DISTINCT own_time)"
        if max_gap_s >= within_s:
            # creation_time is NULL in a run of an own ping, own_time in a run of another person's ping.
            run = "GROUPING SETS ((creation_time, person_id), (own_time, person_id))"
            count, count_own = "count(creation_time)", "count(own_time)"
        having = f"HAVING 2 * {count_own} >= max(nth_last) - min(nth_first) + 1"
    sql = f"""
WITH {own}, {_pairs(chords, accurate, every_pair=True, own=counting)},
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
SELECT person_id, start, greatest(start, last), pings, round(100 * {_nearest_m(accurate)}) / 100,
       latitude, longitude, meeting
  FROM meetings JOIN own ON own.nth = own_nth
 WHERE greatest(start, last) - start >= %(min_duration_s)s * interval '1 second' AND {page}
 ORDER BY start, person_id, meeting"""
    return _limited(sql, values, limit)


def _nearest_m(accurate: str) -> str:
    """The geodesic distance in metres between the two pings of the shortest pair of a meeting.

    Up to a metre, chord and geodesic differ by 1e-15 m. Up to a kilometre the formula for a sphere is exact
    to 1.2e-8 m. Beyond that the distance is measured: pings nearer than the chord belong to another meeting.
    """
    return f"""
CASE WHEN chord_m < 1 THEN chord_m
     WHEN chord_m < 1000 THEN chord_m + chord_m ^ 3 / (24 * 6371000.0 ^ 2)
     ELSE (SELECT min({distance_sql.geodesic("own", "location")}) FROM locations_location AS location
            WHERE location.person_id = meetings.person_id AND {IN_RANGE} AND {_WITHIN} {accurate}
                  AND {distance_sql.square("location", "own.")} >= (chord_m - 1e-6) ^ 2) END"""


def _limited(sql: str, values: dict[str, Any], limit: int | None) -> tuple[str, dict[str, Any]]:
    return (sql, values) if limit is None else (f"{sql} LIMIT %(limit)s", values | {"limit": limit})
