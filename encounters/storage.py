"""Reads and writes stored encounters. Times are microseconds since 1970."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from encounters.scope import EVERYTHING, Scope
from locations import person_rows

_LOCK = 0x656E636F756E74  # advisory lock: one process replaces encounters at a time

_COLUMNS = ", ".join(f'"{name}"' for name in binary_copy.names(ENCOUNTER))
_COPY = f"COPY encounters_encounter ({_COLUMNS}) FROM STDIN (FORMAT binary)"
_COPY_OUT = f"COPY (SELECT {_COLUMNS} FROM encounters_encounter WHERE {{}}) TO STDOUT (FORMAT binary)"
_TIMES = ("start", "end", "last_pair")
LONGEST_US = 7 * 24 * 60 * 60 * 1_000_000
_ODD, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)
_READ = 2**20  # bytes that the driver reads at a time

# A key: start, person_a_id, person_b_id.
KEY = np.dtype([("start", "i8"), ("person_a_id", "i8"), ("person_b_id", "i8")])
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
    kept: Rows | None = None,
    dropped: Rows | None = None,
    scope: Scope = EVERYTHING,
    tell: Tell | None = None,
) -> None:
    """Replaces the encounters of `scope` that start in [start, end), in one transaction; equal rows stay.

    `ended` (ENCOUNTER) are the new ones; some may start earlier. Stored rows with a key (KEY) in `kept` stay,
    and those with a key in `dropped` go, wherever they start. Encounters of deleted people are not stored.
    """
    kept = np.empty(0, KEY) if kept is None else kept
    dropped = np.empty(0, KEY) if dropped is None else dropped

    def changed() -> _Change:
        condition, people = _of_people(scope)
        between = [from_microseconds(start), from_microseconds(end)]
        stored = _read(f"start >= %s AND start < %s AND {condition}", [*between, *people])
        stored = stored[scope.covers(stored["person_a_id"], stored["person_b_id"])]
        earlier = _with_keys(np.concatenate([dropped, keys(ended[ended["start"] < start])]))
        stored = np.concatenate([stored, earlier])
        return _Change(stored[~is_among(keys(stored), kept)], ended)

    _write(changed, ended, tell)


def save(encounters: Rows, *, withdrawn: Rows, tell: Tell) -> None:
    """Stores new versions of encounters (ENCOUNTER) and deletes those with a key in `withdrawn` (KEY)."""
    _write(
        lambda: _Change(_with_keys(np.concatenate([keys(encounters), withdrawn])), encounters),
        encounters,
        tell,
    )


@dataclass(slots=True)
class _Change:
    """Stored rows (ENCOUNTER), and the rows that replace them."""

    stored: Rows
    wanted: Rows


def _write(changed: Callable[[], _Change], rows: Rows, tell: Tell | None) -> None:
    months = months_of(np.unique(rows["start"].astype("M8[us]").astype("M8[M]")).tolist())
    PARTITIONS.ensure(months)
    try:
        _write_once(changed, tell)
    except IntegrityError as fault:
        if not is_missing(fault):
            raise
        PARTITIONS.ensure(months)  # retention dropped one meanwhile
        _write_once(changed, tell)


def _write_once(changed: Callable[[], _Change], tell: Tell | None) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        change = changed()
        gone = change.stored[~is_among(change.stored, change.wanted)]
        new = change.wanted[~is_among(change.wanted, change.stored)]
        # First all people concerned, as a deletion does: it locks the person, then deletes the encounters.
        people = np.unique([new["person_a_id"], new["person_b_id"]]).tolist()
        known = person_rows.lock_existing(
            {*people, *gone["person_a_id"].tolist(), *gone["person_b_id"].tolist()}
        )
        if not known.issuperset(people):
            ids = np.array(sorted(known), np.int64)
            new = new[np.isin(new["person_a_id"], ids) & np.isin(new["person_b_id"], ids)]
        if len(gone):
            cursor.execute(_DELETE, _key_values(keys(gone)))
        if len(new):
            with connection.wrap_database_errors:
                cursor.copy_expert(_COPY, io.BytesIO(binary_copy.pack(new, times=_TIMES)), _READ)
        if tell is not None and (len(gone) or len(new)):
            ids = np.array(sorted(known), np.int64)  # the others get tombstones
            tell(gone[np.isin(gone["person_a_id"], ids) & np.isin(gone["person_b_id"], ids)], new)


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


def is_among(rows: Rows, others: Rows) -> NDArray[np.bool_]:
    """Whether each row is equal to one of the others, which have the same fields of numbers.

    It looks rows up by a hash, then compares them. Two different others with one hash could hide each other:
    with a million of them, in one of many million calls. Callers then write an equal row again.
    """
    if not len(rows) or not len(others):
        return np.zeros(len(rows), bool)
    hashes = _hashes(others)
    order = np.argsort(hashes)
    at = np.searchsorted(hashes, _hashes(rows), sorter=order)
    found: NDArray[np.bool_] = rows == others[order[np.minimum(at, len(others) - 1)]]
    return found


def _hashes(rows: Rows) -> NDArray[np.uint64]:
    found = np.zeros(len(rows), np.uint64)
    for name in rows.dtype.names or ():
        column = rows[name]
        bits = column.view(np.uint64) if column.dtype.itemsize == 8 else column.astype(np.uint64)
        found = (found ^ bits) * _ODD
        found ^= found >> _HALF
    return found


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
