"""Stored pings as columns, with those of people who are not findable: for work on the pings of everybody.

Times are microseconds since 1970.
"""

import io
from collections.abc import Collection
from datetime import datetime
from typing import Any

import numpy as np
from django.db import connection
from numpy.typing import NDArray

from connect import binary_copy
from connect.wire_format import from_microseconds, to_microseconds

PING = np.dtype([("person_id", "i8"), ("time", "i8"), ("latitude", "f8"), ("longitude", "f8")])

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
