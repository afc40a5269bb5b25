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
_TIMES = ("start", "end", "last_pair")
_READ = 2**20  # bytes that the driver reads at a time

# A key: start, person_a_id, person_b_id.
KEY = np.dtype([("start", "i8"), ("person_a_id", "i8"), ("person_b_id", "i8")])
_KEYS = "unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS key (start_us, a, b)"
_SAME = """
start = timestamptz 'epoch' + key.start_us * interval '1 microsecond'
AND person_a_id = key.a AND person_b_id = key.b
"""


def replace(*, start: int, end: int, ended: Rows, kept: Rows, dropped: Rows) -> int:
    """Replaces the encounters that start in [start, end), in one transaction. Returns the number stored.

    `ended` (ENCOUNTER) are the new ones; some may start earlier. Stored rows with a key (KEY) in `kept` stay,
    and those with a key in `dropped` go, wherever they start. Encounters of deleted people are not stored.
    """
    months = months_of(from_microseconds(each) for each in np.unique(ended["start"]).tolist())
    PARTITIONS.ensure(months)
    try:
        return _replace(start, end, ended, kept, dropped)
    except IntegrityError as fault:
        if not is_missing(fault):
            raise
        PARTITIONS.ensure(months)  # retention dropped one meanwhile
        return _replace(start, end, ended, kept, dropped)


def _replace(start: int, end: int, ended: Rows, kept: Rows, dropped: Rows) -> int:
    between = [from_microseconds(start), from_microseconds(end)]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        # First all people concerned, as a deletion does: it locks the person, then deletes the encounters.
        cursor.execute(
            "SELECT person_a_id FROM encounters_encounter WHERE start >= %s AND start < %s "
            "UNION SELECT person_b_id FROM encounters_encounter WHERE start >= %s AND start < %s",
            between * 2,
        )
        stored = {person_id for (person_id,) in cursor.fetchall()}
        people = np.unique([ended["person_a_id"], ended["person_b_id"]]).tolist()
        stored.update(dropped["person_a_id"].tolist(), dropped["person_b_id"].tolist())
        known = person_rows.lock_existing(stored.union(people))
        cursor.execute(
            "DELETE FROM encounters_encounter WHERE start >= %s AND start < %s "
            f"AND NOT EXISTS (SELECT FROM {_KEYS} WHERE {_SAME})",
            [*between, *_columns(kept)],
        )
        if len(dropped):
            first, last = (from_microseconds(int(each(dropped["start"]))) for each in (np.min, np.max))
            cursor.execute(
                f"DELETE FROM encounters_encounter USING {_KEYS} "
                f"WHERE {_SAME} AND start >= %s AND start <= %s",  # for the pruning of partitions
                [*_columns(dropped), first, last],
            )
        if not known.issuperset(people):
            ids = np.array(sorted(known), np.int64)
            ended = ended[np.isin(ended["person_a_id"], ids) & np.isin(ended["person_b_id"], ids)]
        with connection.wrap_database_errors:
            cursor.copy_expert(_COPY, io.BytesIO(binary_copy.pack(ended, times=_TIMES)), _READ)
    return len(ended)


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


def _columns(keys: NDArray[Any]) -> list[list[int]]:
    return [keys[name].tolist() for name in binary_copy.names(KEY)]
