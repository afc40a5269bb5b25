"""Reads and writes stored encounters. Times are microseconds since 1970."""

import io
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import numpy as np
from django.db import IntegrityError, connection, transaction

from connect import binary_copy
from connect.partitions import is_missing, months_of
from connect.wire_format import from_microseconds
from encounters.partitions import PARTITIONS
from encounters.rows import ENCOUNTER, KEY, Rows, is_among, keys
from encounters.scope import EVERYTHING, Scope
from locations import person_rows

_LOCK = 0x656E636F756E74  # advisory lock: one process replaces encounters at a time

_COLUMNS = ", ".join(f'"{name}"' for name in binary_copy.names(ENCOUNTER))
_COPY = f"COPY encounters_encounter ({_COLUMNS}) FROM STDIN (FORMAT binary)"
_COPY_OUT = f"COPY (SELECT {_COLUMNS} FROM encounters_encounter WHERE {{}}) TO STDOUT (FORMAT binary)"
_TIMES = ("start", "end", "last_pair")
LONGEST_US = 7 * 24 * 60 * 60 * 1_000_000
_READ = 2**20  # bytes that the driver reads at a time

_KEYS = (
    "timestamptz 'epoch' + start_us * interval '1 microsecond', a, b "
    "FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS key (start_us, a, b)"
)
# The last condition is for the pruning of partitions.
_DELETE = f"""
DELETE FROM encounters_encounter USING (SELECT {_KEYS}) AS key (start_of_key, a, b)
 WHERE start = start_of_key AND person_a_id = a AND person_b_id = b AND start >= %s AND start <= %s
"""

# Called in the transaction, before its end, with the rows that it deletes and those that it inserts.
Tell = Callable[[Rows, Rows], None]


def replace(
    *,
    start: int,
    end: int,
    ended: Rows,
    kept: Rows,
    dropped: Rows,
    scope: Scope = EVERYTHING,
    tell: Tell | None = None,
) -> None:
    """Replaces the encounters of `scope` that start in [start, end), in one transaction; equal rows stay.

    `ended` (ENCOUNTER) are the new ones; some may start earlier. Stored rows with a key (KEY) in `kept` stay,
    and those with a key in `dropped` go, wherever they start. Encounters of deleted people are not stored.
    """

    def replaced() -> Rows:
        condition, people = _of_people(scope)
        between = [from_microseconds(start), from_microseconds(end)]
        stored = _read(f"start >= %s AND start < %s AND {condition}", [*between, *people])
        stored = stored[scope.covers(stored["person_a_id"], stored["person_b_id"])]
        earlier = _with_keys(np.concatenate([dropped, keys(ended[ended["start"] < start])]))
        stored = np.concatenate([stored, earlier])
        return stored[~is_among(keys(stored), kept)]

    _write(replaced, ended, tell)


def save(encounters: Rows, *, withdrawn: Rows, tell: Tell) -> None:
    """Stores new versions of encounters (ENCOUNTER) and deletes those with a key in `withdrawn` (KEY)."""
    _write(lambda: _with_keys(np.concatenate([keys(encounters), withdrawn])), encounters, tell)


def _write(replaced: Callable[[], Rows], wanted: Rows, tell: Tell | None) -> None:
    """`replaced` reads, in the transaction, the stored rows that `wanted` take the place of."""
    months = months_of(np.unique(wanted["start"].astype("M8[us]").astype("M8[M]")).tolist())
    PARTITIONS.ensure(months)
    try:
        _write_once(replaced, wanted, tell)
    except IntegrityError as fault:
        if not is_missing(fault):
            raise
        PARTITIONS.ensure(months)  # retention dropped one meanwhile
        _write_once(replaced, wanted, tell)


def _write_once(replaced: Callable[[], Rows], wanted: Rows, tell: Tell | None) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        stored = replaced()
        gone = stored[~is_among(stored, wanted)]
        new = wanted[~is_among(wanted, stored)]
        # First all people concerned, as a deletion does: it locks the person, then deletes the encounters.
        known = person_rows.lock_existing(
            {each for rows in (gone, new) for side in "ab" for each in rows[f"person_{side}_id"].tolist()}
        )
        existing = Scope(people=known, both=True)
        new = new[existing.covers(new["person_a_id"], new["person_b_id"])]
        if len(gone):
            cursor.execute(_DELETE, _key_values(keys(gone)))
        if len(new):
            with connection.wrap_database_errors:
                cursor.copy_expert(_COPY, io.BytesIO(binary_copy.pack(new, times=_TIMES)), _READ)
        if tell is not None and (len(gone) or len(new)):
            # Of deleted people the topic gets tombstones.
            tell(gone[existing.covers(gone["person_a_id"], gone["person_b_id"])], new)


def tell_forgotten(tell: Callable[[list[tuple[int, int]]], None]) -> None:
    """Calls `tell` with the pairs (a, b) of deleted people that were stored, if any, and forgets them."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM encounters_forgotten RETURNING person_a_id, person_b_id")
        if pairs := cursor.fetchall():
            tell(pairs)


def ongoing(scope: Scope, *, before: int | None = None) -> Rows:
    """The stored encounters (ENCOUNTER) of `scope` that may go on; only those with a last pair `before`."""
    if before is None:
        found = _read("ongoing", [])
    else:
        found = _read("ongoing AND last_pair < %s", [from_microseconds(before)])
    return found[scope.covers(found["person_a_id"], found["person_b_id"])]


def reaching(first: int, last: int, scope: Scope) -> Rows:
    """The stored encounters of `scope` that start by `last` and may have a pair from `first` on.

    Ended ones that started more than LONGEST_US before are left out: the search would read years.
    """
    condition, people = _of_people(scope)
    until = from_microseconds(last)
    ended = f"NOT ongoing AND last_pair >= %s AND start >= %s AND start <= %s AND {condition}"
    found = np.concatenate(
        [
            _read(f"ongoing AND start <= %s AND {condition}", [until, *people]),
            _read(ended, [from_microseconds(first), from_microseconds(first - LONGEST_US), until, *people]),
        ]
    )
    return found[scope.covers(found["person_a_id"], found["person_b_id"])]


def _of_people(scope: Scope) -> tuple[str, list[Any]]:
    """The SQL condition that one of the two is in `scope.people`, and its values."""
    if scope.people is None:
        return "true", []
    return "(person_a_id = ANY(%s) OR person_b_id = ANY(%s))", [list(scope.people)] * 2


def _with_keys(wanted: Rows) -> Rows:
    """The stored encounters (ENCOUNTER) with these keys (KEY)."""
    if not len(wanted):
        return np.empty(0, ENCOUNTER)
    return _read(
        f"({', '.join(KEY.names or ())}) IN (SELECT {_KEYS}) AND start >= %s AND start <= %s",
        _key_values(wanted),
    )


def _key_values(wanted: Rows) -> list[Any]:
    first, last = (from_microseconds(int(each(wanted["start"]))) for each in (np.min, np.max))
    return [*(wanted[name].tolist() for name in binary_copy.names(KEY)), first, last]


def _read(condition: str, values: list[Any]) -> Rows:
    """The stored encounters (ENCOUNTER) that meet an SQL condition."""
    found = io.BytesIO()
    with connection.cursor() as cursor, connection.wrap_database_errors:
        cursor.copy_expert(cursor.mogrify(_COPY_OUT.format(condition), values), found, _READ)
    return binary_copy.unpack(found.getbuffer(), ENCOUNTER, times=_TIMES)


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
