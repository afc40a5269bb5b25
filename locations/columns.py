"""Stored pings as columns, with those of people who are not findable: for work on the pings of everybody.

Times are microseconds since 1970.
"""

import io
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db import connection
from numpy.typing import NDArray

from connect import binary_copy
from connect.wire_format import from_microseconds, to_microseconds
from locations import distance_sql
from locations.proximity_sql import CELL_M, CELLS_UP_TO_M, IN_RANGE

PING = np.dtype([("person_id", "i8"), ("time", "i8"), ("latitude", "f8"), ("longitude", "f8")])

NEAR_MINUTES = 10
PERSON_TIME = np.dtype([("person_id", "i8"), ("time", "i8")])

_COPY = "COPY (SELECT {} FROM locations_location WHERE {}) TO STDOUT (FORMAT binary)"
_SELECTED = "person_id, creation_time, latitude, longitude"


def read(*, start: int, end: int, person_ids: Collection[int] | None = None) -> NDArray[Any]:
    """The pings (PING) in [start, end), of these people only if given, in no order."""
    conditions = ["creation_time >= %s AND creation_time < %s"]
    values: list[Any] = [from_microseconds(start), from_microseconds(end)]
    if person_ids is not None:
        conditions.append("person_id = ANY(%s)")
        values.append(list(person_ids))
    found = io.BytesIO()
    with connection.cursor() as cursor, connection.wrap_database_errors:
        sql = _COPY.format(_SELECTED, " AND ".join(conditions))
        cursor.copy_expert(cursor.mogrify(sql, values), found)
    return binary_copy.unpack(found.getbuffer(), PING, times=["time"])


def first_time(*, start: int) -> int | None:
    """The time of the first ping from `start` on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT creation_time FROM locations_location WHERE creation_time >= %s "
            "ORDER BY creation_time LIMIT 1",
            [from_microseconds(start)],
        )
        row: tuple[datetime] | None = cursor.fetchone()
        return to_microseconds(row[0]) if row else None


def people(*, start: int, end: int) -> list[int]:
    """The ids of the people who have pings in [start, end), ascending."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT person_id FROM locations_location "
            "WHERE creation_time >= %s AND creation_time < %s ORDER BY person_id",
            [from_microseconds(start), from_microseconds(end)],
        )
        return [person_id for (person_id,) in cursor.fetchall()]


def person_minutes(*, start: int) -> NDArray[Any]:
    """The people and the minutes of all pings from `start` on (PERSON_TIME), each once, in no order.

    `time` is the start of the minute.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT person_id, "
            "(extract(epoch FROM date_trunc('minute', creation_time)) * 1000000)::bigint "
            "FROM locations_location WHERE creation_time >= %s",
            [from_microseconds(start)],
        )
        return np.array(cursor.fetchall(), PERSON_TIME)


def near(
    person_ids: Collection[int], *, start: int, end: int, distance_m: float, within_s: float
) -> list[int]:
    """The ids of people who may have been near one of these people in [start, end); some were not.

    It compares cubes of the index locations_cell_time and times of NEAR_MINUTES, not pings: each cube is read
    once for each of these times, however many pings the people have in it.
    """
    if distance_m > CELLS_UP_TO_M:
        return people(start=start, end=end)
    outer_m = distance_sql.chords(distance_m)["outer_m"]
    sql = f"""
WITH own AS MATERIALIZED (
    SELECT creation_time, x, y, z FROM locations_location AS location
     WHERE person_id = ANY(%(person_ids)s) AND {IN_RANGE}
),
spots AS MATERIALIZED (
    SELECT DISTINCT near.cell, date_bin(%(minutes)s, creation_time, 'epoch') AS begins
      FROM own {distance_sql.cells("own", outer_m, CELL_M)}
)
SELECT DISTINCT other.person_id
  FROM spots CROSS JOIN LATERAL (
    SELECT DISTINCT person_id FROM locations_location AS location
     WHERE locations_cell(x, y, z, {CELL_M}) = spots.cell AND {IN_RANGE}
           AND location.creation_time >= begins - %(within_s)s * interval '1 second'
           AND location.creation_time <= begins + %(minutes)s + %(within_s)s * interval '1 second'
    OFFSET 0 -- one index lookup per spot, whatever the planner estimates
 ) AS other"""
    values: dict[str, Any] = {
        "person_ids": list(person_ids),
        "start": from_microseconds(start),
        "end": from_microseconds(end),
        "within_s": within_s,
        "minutes": timedelta(minutes=NEAR_MINUTES),
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [person_id for (person_id,) in cursor.fetchall()]
