"""Reads and writes stored encounters. Times are microseconds since 1970."""

import io
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
from django.db import IntegrityError, connection, transaction
from numpy.typing import NDArray

from connect import binary_copy
from connect.partitions import is_missing, months_of
from connect.wire_format import from_microseconds
from encounters.engine import ENCOUNTER, Rows
from encounters.partitions import PARTITIONS
from locations import person_rows

_LOCK = 0x656E636F756E74  # advisory lock: one process replaces encounters at a time

_COLUMNS = ", ".join(f'"{name}"' for name in binary_copy.names(ENCOUNTER))
_COPY = f"COPY encounters_encounter ({_COLUMNS}) FROM STDIN (FORMAT binary)"
_COPY_OUT = (
    f"COPY (SELECT {_COLUMNS} FROM encounters_encounter WHERE start >= %s AND start < %s) "
    "TO STDOUT (FORMAT binary)"
)
_TIMES = ("start", "end", "last_pair")
_READ = 2**20  # bytes that the driver reads at a time

# A key: start, person_a_id, person_b_id.
KEY = np.dtype([("start", "i8"), ("person_a_id", "i8"), ("person_b_id", "i8")])
# The last condition is for the pruning of partitions.
_DELETE = """
DELETE FROM encounters_encounter
 USING unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS key (start_us, a, b)
 WHERE start = timestamptz 'epoch' + key.start_us * interval '1 microsecond'
   AND person_a_id = key.a AND person_b_id = key.b AND start >= %s AND start <= %s
"""


def replace(*, start: int, end: int, ended: Rows, kept: Rows, dropped: Rows) -> None:
    """Replaces the encounters that start in [start, end), in one transaction; rows that are equal stay.

    `ended` (ENCOUNTER) are the new ones; some may start earlier. Stored rows with a key (KEY) in `kept` stay,
    and those with a key in `dropped` go, wherever they start. Encounters of deleted people are not stored.
    """
    months = months_of(np.unique(ended["start"].astype("M8[us]").astype("M8[M]")).tolist())
    PARTITIONS.ensure(months)
    try:
        _replace(start, end, ended, kept, dropped)
    except IntegrityError as fault:
        if not is_missing(fault):
            raise
        PARTITIONS.ensure(months)  # retention dropped one meanwhile
        _replace(start, end, ended, kept, dropped)


def _replace(start: int, end: int, ended: Rows, kept: Rows, dropped: Rows) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        stored = _read(start, end)
        gone = stored[~(_is_among(stored, ended) | _is_among(keys(stored), kept))]
        gone_keys = np.concatenate([keys(gone), dropped])
        new = ended[~_is_among(ended, stored)]
        # First all people concerned, as a deletion does: it locks the person, then deletes the encounters.
        people = np.unique([new["person_a_id"], new["person_b_id"]]).tolist()
        known = person_rows.lock_existing(
            {*people, *gone_keys["person_a_id"].tolist(), *gone_keys["person_b_id"].tolist()}
        )
        if not known.issuperset(people):
            ids = np.array(sorted(known), np.int64)
            new = new[np.isin(new["person_a_id"], ids) & np.isin(new["person_b_id"], ids)]
        if len(gone_keys):
            first, last = (from_microseconds(int(each(gone_keys["start"]))) for each in (np.min, np.max))
            columns = [gone_keys[name].tolist() for name in binary_copy.names(KEY)]
            cursor.execute(_DELETE, [*columns, first, last])
        if len(new):
            with connection.wrap_database_errors:
                cursor.copy_expert(_COPY, io.BytesIO(binary_copy.pack(new, times=_TIMES)), _READ)


def _read(start: int, end: int) -> Rows:
    """The stored encounters (ENCOUNTER) that start in [start, end)."""
    found = io.BytesIO()
    with connection.cursor() as cursor, connection.wrap_database_errors:
        between = [from_microseconds(start), from_microseconds(end)]
        cursor.copy_expert(cursor.mogrify(_COPY_OUT, between), found)
    return binary_copy.unpack(found.getbuffer(), ENCOUNTER, times=_TIMES)


def _is_among(rows: Rows, others: Rows) -> NDArray[np.bool_]:
    """Whether each row is equal to one of the others, which have the same fields."""
    if not len(rows) or not len(others):
        return np.zeros(len(rows), bool)
    size = f"V{rows.dtype.itemsize}"
    known = set(others.view(size).tolist())
    return np.fromiter((row in known for row in rows.view(size).tolist()), bool, len(rows))


def keys(encounters: Rows) -> NDArray[Any]:
    """The keys (KEY) of encounters (ENCOUNTER)."""
    found = np.empty(len(encounters), KEY)
    for name in binary_copy.names(KEY):
        found[name] = encounters[name]
    return found


def seen_by(person_id: int, *, start: datetime, end: datetime) -> Iterator[tuple[Any, ...]]:
    """A person's stored encounters with findable people that start in [start, end), ordered by start, person.

    Each is (person_id of the other, start, end, pings, min_distance_m, latitude, longitude).
    """
    sides = (
        f'SELECT person_{other}_id AS person_id, start, "end", pings_{other} AS pings, min_distance_m, '
        f"latitude_{own} AS latitude, longitude_{own} AS longitude FROM encounters_encounter "
        f"WHERE person_{own}_id = %(person_id)s AND start >= %(start)s AND start < %(end)s "
        f"AND {person_rows.is_findable(f'person_{other}_id')}"
        for own, other in ("ab", "ba")
    )
    with connection.cursor() as cursor:
        values: dict[str, Any] = {"person_id": person_id, "start": start, "end": end}
        cursor.execute(f"{' UNION ALL '.join(sides)} ORDER BY start, person_id", values)
        yield from cursor.fetchall()


def people(*, start: datetime, end: datetime) -> set[int]:
    """The ids of the people with stored encounters that start in [start, end)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT person_id FROM encounters_encounter, "
            "LATERAL (VALUES (person_a_id), (person_b_id)) AS each (person_id) "
            "WHERE start >= %s AND start < %s",
            [start, end],
        )
        return {person_id for (person_id,) in cursor.fetchall()}
