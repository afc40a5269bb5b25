"""The SQL statements of locations.presence."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from locations import person_rows
from locations.bounds import Bounds
from locations.pings import COLUMNS

Statement = tuple[str, dict[str, Any]]

# The grid of the heat map. The earth is a sphere here, so the size of a cell is right to 0.6 %.
METRES_PER_DEGREE = 6_371_008.8 * 3.141592653589793 / 180

# The cells of the grid of visits_sql in each direction. The fine grid takes longer to make, but leaves fewer
# pings to compare with polygons: it is for the pings of everybody in more than an hour.
_COARSE, _FINE = 32, 128

_OUTERMOST = 1_000  # pings in which days_sql looks for one of a findable person

_BEGINNING = datetime.min.replace(tzinfo=UTC)
_LOCATION = ", ".join(COLUMNS)
_IN_RANGE = "creation_time >= %(start)s AND creation_time < %(end)s"


def _whose(person_id: int | None) -> str:
    """The condition on the pings that count."""
    return person_rows.is_findable("person_id") if person_id is None else "person_id = %(person_id)s"


def _outermost(person_id: int | None, condition: str, order: str) -> str:
    """A query for the time of the first ping (ASC) or the last one (DESC) that meets the condition.

    Without such a ping it returns NULL or no row. Usually one of the outermost pings is of a findable person.
    If none is, each findable person has a lookup of their own, because hidden people may have many pings.
    """

    def pings(condition: str, limit: str) -> str:
        return (
            "SELECT person_id, creation_time FROM locations_location "
            f"WHERE {condition} ORDER BY creation_time {order} {limit}"
        )

    if person_id is not None:
        own = pings(f"person_id = %(person_id)s AND {condition}", "LIMIT 1")
        return f"SELECT creation_time FROM ({own}) AS ping"
    return f"""
    SELECT coalesce(
        (SELECT creation_time FROM ({pings(condition, f"LIMIT {_OUTERMOST}")}) AS outermost
          WHERE {person_rows.is_findable("person_id")} ORDER BY creation_time {order} LIMIT 1),
        (SELECT ping.creation_time FROM ({person_rows.FINDABLE}) AS person
          CROSS JOIN LATERAL ({pings(f"person_id = person.id AND {condition}", "LIMIT 1")}) AS ping
          WHERE EXISTS ({pings(condition, f"OFFSET {_OUTERMOST} LIMIT 1")})
          ORDER BY ping.creation_time {order} LIMIT 1)
    )
    OFFSET 0 -- computes the time once
    """


def days_sql(*, person_id: int | None, time_zone: str) -> Statement:
    """Two lookups in an index for each day: the first ping at or after its start, the last before its end.

    The start of the next day is computed from the local midnight. If that midnight does not exist, the day
    starts at the transition. If it exists twice, PostgreSQL returns the second one; the statement subtracts
    the repeated time, so that the day starts at the first one.
    """
    sql = f"""
WITH RECURSIVE days AS (
    SELECT NULL::timestamptz AS first, '-infinity'::timestamptz AS next
    UNION ALL
    SELECT ping.first, begins - greatest(interval '0', (begins - interval '1 microsecond')
                                AT TIME ZONE %(time_zone)s + interval '1 microsecond' - midnight)
      FROM days
     CROSS JOIN LATERAL ({_outermost(person_id, "creation_time >= next", "ASC")}) AS ping (first)
     CROSS JOIN LATERAL (
        SELECT date_trunc('day', ping.first AT TIME ZONE %(time_zone)s) + interval '1 day' AS midnight
     ) AS local
     CROSS JOIN LATERAL (SELECT midnight AT TIME ZONE %(time_zone)s AS begins) AS next
     WHERE ping.first IS NOT NULL
)
SELECT (first AT TIME ZONE %(time_zone)s)::date, first, last
  FROM days
 CROSS JOIN LATERAL (
    {_outermost(person_id, "creation_time >= first AND creation_time < next", "DESC")}
 ) AS ping (last)
 WHERE first IS NOT NULL
 ORDER BY first"""
    return sql, {"person_id": person_id, "time_zone": time_zone}


def positions_sql(
    *, at: datetime, max_age_s: float, bounds: Bounds | None, person_id: int | None
) -> Statement:
    """The times come from an index alone; the positions of these pings are then looked up by primary key."""
    max_age = timedelta(seconds=max_age_s)
    after = max(at, _BEGINNING + max_age) - max_age
    values: dict[str, Any] = {"person_id": person_id, "at": at, "after": after}
    if bounds is not None:
        values |= asdict(bounds)
    sql = f"""
WITH newest AS MATERIALIZED (
    SELECT person_id, max(creation_time) AS creation_time FROM locations_location
     WHERE {_whose(person_id)} AND creation_time > %(after)s AND creation_time <= %(at)s
     GROUP BY person_id
)
SELECT {_LOCATION} FROM newest JOIN locations_location AS location USING (person_id, creation_time)
 WHERE location.creation_time > %(after)s AND location.creation_time <= %(at)s
       {f"AND {bounds.condition}" if bounds else ""}
 ORDER BY person_id"""
    return sql, values


def heat_sql(*, start: datetime, end: datetime, cell_m: float, person_id: int | None) -> Statement:
    """Each ping becomes a cell and a minute; these are grouped by person and minute, by person, and by cell.

    The grid has a whole number of rows from pole to pole, and each row a whole number of columns from -180 to
    180 degrees. A row is `cell_m` high, and a cell `cell_m` wide at the middle of its row.
    """
    rows = max(1, round(180 * METRES_PER_DEGREE / cell_m))
    values = {
        "person_id": person_id,
        "start": start,
        "end": end,
        "rows": rows,
        "height": 180 / rows,
        "columns_at_equator": 360 * METRES_PER_DEGREE / cell_m,
    }
    sql = f"""
WITH minutes AS (
    SELECT person_id, nth_row, columns,
           mod(floor((longitude + 180) / 360 * columns)::bigint, columns) AS nth_column
      FROM locations_location
     CROSS JOIN LATERAL (
        SELECT least(floor((latitude + 90) / %(height)s)::bigint, %(rows)s - 1) AS nth_row
     ) AS row
     CROSS JOIN LATERAL (SELECT radians((nth_row + 0.5::float8) * %(height)s - 90) AS middle) AS line
     CROSS JOIN LATERAL (
        SELECT greatest(1, round(%(columns_at_equator)s * cos(middle)))::bigint AS columns
     ) AS size
     WHERE {_whose(person_id)} AND {_IN_RANGE}
     GROUP BY person_id, nth_row, columns, nth_column, date_trunc('minute', creation_time)
),
people AS (
    SELECT nth_row, columns, nth_column, count(*) AS minutes
      FROM minutes GROUP BY person_id, nth_row, columns, nth_column
)
SELECT (nth_row + 0.5::float8) * %(height)s - 90, (nth_column + 0.5::float8) * 360 / columns - 180,
       sum(minutes)::bigint, count(*)
  FROM people GROUP BY nth_row, columns, nth_column ORDER BY nth_row, nth_column"""
    return sql, values


def visits_sql(
    *,
    areas: Sequence[tuple[int, bytes]],
    start: datetime,
    end: datetime,
    max_gap_s: float,
    min_duration_s: float,
    person_id: int | None,
) -> Statement:
    """Each ping becomes the range of time [its time, its time + max_gap]; a visit is a union of such ranges.

    The areas of a ping come from a grid over all areas. A cell that an area covers as a whole needs no
    comparison of polygon and point, and cells of the same areas are one kind: the ranges are united by person
    and kind first, then by person and area. The cells that are compared with areas are a little larger than
    those of the grid, because rounding may put a ping into the next cell. They have the ids of areas only: a
    polygon of many points would be copied into each of its cells.
    """
    ids, polygons = zip(*areas, strict=True)
    side = _FINE if person_id is None and end - start > timedelta(hours=1) else _COARSE

    def column(longitude: str) -> str:
        return f"width_bucket({longitude}, west, east, {side})"  # from 1; 0 is west of the grid

    def row(latitude: str) -> str:
        return f"width_bucket({latitude}, south, north, {side})"

    def cell(column: str, row: str) -> str:
        return f"{column} * {side + 2} + {row}"

    values = {
        "ids": list(ids),
        "polygons": [memoryview(polygon) for polygon in polygons],
        "person_id": person_id,
        "start": start,
        "end": end,
        "max_gap": timedelta(seconds=max_gap_s),
        "min_duration": timedelta(seconds=min_duration_s),
    }
    sql = f"""
WITH areas AS MATERIALIZED (
    SELECT id, ST_SetSRID(ST_GeomFromWKB(polygon), 4326) AS shape
      FROM unnest(%(ids)s::bigint[], %(polygons)s::bytea[]) AS area (id, polygon)
),
grid AS MATERIALIZED (
    SELECT ST_XMin(box) AS west, greatest(ST_XMax(box), ST_XMin(box) + 1e-9) AS east,
           ST_YMin(box) AS south, greatest(ST_YMax(box), ST_YMin(box) + 1e-9) AS north
      FROM (SELECT ST_Extent(shape) AS box FROM areas) AS extent
),
cells AS MATERIALIZED (
    SELECT id, {cell("x", "y")} AS cell, ST_Covers(shape, square) AS is_whole
      FROM areas CROSS JOIN grid
     CROSS JOIN LATERAL (SELECT (east - west) / {side} AS width, (north - south) / {side} AS height) AS size
     CROSS JOIN LATERAL generate_series({column("ST_XMin(shape)")}, {column("ST_XMax(shape)")}) AS x
     CROSS JOIN LATERAL generate_series({row("ST_YMin(shape)")}, {row("ST_YMax(shape)")}) AS y
     CROSS JOIN LATERAL ST_MakeEnvelope(
        west + (x - 1 - 1e-6) * width, south + (y - 1 - 1e-6) * height,
        west + (x + 1e-6) * width, south + (y + 1e-6) * height, 4326
     ) AS square
     WHERE ST_Intersects(shape, square)
),
-- Cells that the same areas cover as a whole have one kind, the number of the first of these cells. A cell on
-- the border of an area has a kind of its own, which is negative. Cells outside of all areas have the kind 0.
kinds AS MATERIALIZED (
    SELECT array_agg(coalesce(kind, 0) ORDER BY cell) AS kind_of
      FROM generate_series(0, {(side + 2) ** 2 - 1}) AS cell LEFT JOIN (
        SELECT cell,
               CASE WHEN is_inside THEN min(cell) OVER (PARTITION BY is_inside, ids) ELSE -cell END AS kind
          FROM (
            SELECT cell, bool_and(is_whole) AS is_inside, array_agg(id ORDER BY id) AS ids
              FROM cells GROUP BY cell
          ) AS covered
      ) AS known USING (cell)
),
-- The hours keep the groups small, so that an aggregate of many pings fits into memory.
presences AS (
    SELECT person_id, kind, min(longitude) AS longitude, min(latitude) AS latitude,
           range_agg(tstzrange(creation_time, creation_time + %(max_gap)s, '[]')) AS times
      FROM (
        SELECT person_id, creation_time, longitude, latitude,
               (SELECT kind_of FROM kinds)[1 + {cell(column("longitude"), row("latitude"))}] AS kind
          FROM locations_location CROSS JOIN grid WHERE {_whose(person_id)} AND {_IN_RANGE}
        OFFSET 0 -- computes the kind once
      ) AS pings
     WHERE kind <> 0
     GROUP BY person_id, kind, CASE WHEN kind > 0 THEN date_bin('1 hour', creation_time, %(start)s)
                                    ELSE creation_time END
),
visits AS (
    SELECT id, person_id, unnest(range_agg(times)) AS visit
      FROM (
        SELECT cells.id, is_whole, person_id, longitude, latitude, times
          FROM presences JOIN cells ON cell = abs(kind)
        OFFSET 0 -- joins with the cells first, then with the few areas
      ) AS candidates JOIN areas USING (id)
     WHERE is_whole OR ST_Covers(shape, ST_SetSRID(ST_MakePoint(longitude, latitude), 4326))
     GROUP BY id, person_id
),
long_visits AS (
    SELECT id, person_id, stay
      FROM visits CROSS JOIN LATERAL (SELECT upper(visit) - %(max_gap)s - lower(visit) AS stay) AS length
     WHERE stay >= %(min_duration)s
)
SELECT id, count(DISTINCT person_id), count(stay), coalesce(extract(epoch FROM sum(stay)), 0)::float8,
       extract(epoch FROM percentile_cont(0.5) WITHIN GROUP (ORDER BY stay))::float8,
       extract(epoch FROM max(stay))::float8
  FROM areas LEFT JOIN long_visits USING (id) GROUP BY id ORDER BY id"""
    return sql, values
