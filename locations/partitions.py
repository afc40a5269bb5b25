"""The months that the locations table is cut into. Made when first needed; their number is bounded.

Whatever times clients send, there are at most 240 months and the two partitions before and after them.
Months that are too old to be kept are dropped whole: docs/decisions/0004-retention.md says how and why so.
"""

import re
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, OperationalError, connection, transaction

TABLE = "locations_location"
FIRST_YEAR = 2020
END_YEAR = 2040  # exclusive

BEFORE_SQL = (
    f"CREATE TABLE {TABLE}_before PARTITION OF {TABLE} FOR VALUES FROM (MINVALUE) TO ('{FIRST_YEAR}-01-01Z')"
)
AFTER_SQL = (
    f"CREATE TABLE {TABLE}_after PARTITION OF {TABLE} FOR VALUES FROM ('{END_YEAR}-01-01Z') TO (MAXVALUE)"
)

_LOCK = 0x636F6E6E656374  # any number, the same in every process: one maker of partitions at a time

# One try to drop a month may keep others waiting for so long; then it lets them go on, and tries again.
PATIENCE_MS = 200
TRIES = 50
PAUSE_S = 0.2
_NOT_AVAILABLE, _CHECK_VIOLATION = "55P03", "23514"

Month = tuple[int, int]


def months_of(moments: Iterable[datetime]) -> set[Month]:
    """The (year, month) pairs, in UTC, that need a partition of their own for these moments."""
    months = {(moment.year, moment.month) for moment in moments}
    return {month for month in months if FIRST_YEAR <= month[0] < END_YEAR}


def ensure(months: Iterable[Month]) -> None:
    """Makes the partitions that are missing. Readers and writers go on meanwhile; idempotent."""
    wanted = {f"{TABLE}_{year}_{month:02}": (year, month) for year, month in months}
    if not wanted or not _missing(wanted):
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        for name in _missing(wanted):
            year, month = wanted[name]
            end_year, end_month = divmod(year * 12 + month, 12)
            # CREATE ... PARTITION OF would lock readers out of the whole table; ATTACH does not.
            cursor.execute(f"CREATE TABLE {name} (LIKE {TABLE} INCLUDING ALL)")
            cursor.execute(
                f"ALTER TABLE {TABLE} ATTACH PARTITION {name} "
                f"FOR VALUES FROM ('{year}-{month:02}-01Z') TO ('{end_year}-{end_month + 1:02}-01Z')"
            )


def _missing(names: Iterable[str]) -> list[str]:
    """Asked of pg_class and not of to_regclass, whose cache may not yet know what another just made."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM unnest(%s::text[]) AS name WHERE NOT EXISTS "
            "(SELECT FROM pg_class WHERE relname = name AND pg_table_is_visible(oid)) ORDER BY name",
            [list(names)],
        )
        return [name for (name,) in cursor.fetchall()]


# --- dropping what is too old --------------------------------------------------------------------


class Busy(Exception):
    """Others read or wrote all the time, so that it could not be done; what it was is as it was."""


def before(moment: datetime) -> Iterator[tuple[str, int]]:
    """Each partition that lies wholly before this moment, the oldest first, with how many rows are in it.

    What lies before all months is only ever emptied, so it is among them when anything is in it.
    """
    yield from _counted(name for name in _names() if (end := _end(name)) is not None and end <= moment)


def after(moment: datetime) -> Iterator[tuple[str, int]]:
    """Each partition that lies wholly after this moment and has rows, with how many."""
    later = [name for name in _names() if (begin := _begin(name)) is not None and begin > moment]
    yield from ((name, rows) for name, rows in _counted(later) if rows)


def drop_if_empty(name: str) -> bool:
    """Whether the month was empty and is gone now. One that is in use is left for another time."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = %s", [PATIENCE_MS])
            # In the order in which those who insert lock them. None of them stores a row after the look.
            cursor.execute(f"LOCK TABLE ONLY {TABLE}, {name} IN ACCESS EXCLUSIVE MODE")
            if _has_rows(name):
                return False
            cursor.execute(f"DROP TABLE {name}")
    except OperationalError as fault:
        if not waited_too_long(fault):
            raise
        return False
    return True


def empty_months(moment: datetime) -> list[str]:
    """The months without a row, but for that of this moment and the next one, which will soon have some."""
    year, month = divmod(moment.year * 12 + moment.month, 12)
    soon = {f"{TABLE}_{moment:%Y_%m}", f"{TABLE}_{year}_{month + 1:02}"}
    return [name for name in _names() if _is_month(name) and name not in soon and not _has_rows(name)]


def _names() -> list[str]:
    """Of all partitions, the one before all months first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
            "WHERE inhparent = %s::regclass ORDER BY relname = %s DESC, relname",
            [TABLE, f"{TABLE}_before"],
        )
        return [name for (name,) in cursor.fetchall()]


def _counted(names: Iterable[str]) -> Iterator[tuple[str, int]]:
    for name in names:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {name}")
            (rows,) = cursor.fetchone()
        if rows or _is_month(name):
            yield name, rows


def _has_rows(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT EXISTS (SELECT FROM {name})")
        return bool(cursor.fetchone()[0])


def empty(name: str) -> None:
    """All rows of a partition go at once; only who reads or writes this one waits. Raises Busy."""
    _briefly(f"TRUNCATE {name}")


def drop(name: str) -> bool:
    """The partition goes, unless it is the one before or after all months. Raises Busy.

    Everybody who asks for locations waits for that, but at most PATIENCE_MS a try.
    """
    if _is_month(name):
        _briefly(f"DROP TABLE {name}")
    return _is_month(name)


def is_missing(fault: IntegrityError) -> bool:
    """Whether a row found no partition. (The checks of the table have names.)"""
    cause: Any = fault.__cause__
    return cause.pgcode == _CHECK_VIOLATION and cause.diag.constraint_name is None


def waited_too_long(fault: OperationalError) -> bool:
    """Whether a lock was not there within the `lock_timeout`."""
    return getattr(fault.__cause__, "pgcode", None) == _NOT_AVAILABLE


def _end(name: str) -> datetime | None:
    """The first instant that is not in it; None for what has no end."""
    if name == f"{TABLE}_before":
        return datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
    if (found := _MONTH.fullmatch(name)) is None:
        return None
    years, month = divmod(int(found[1]) * 12 + int(found[2]), 12)
    return datetime(years, month + 1, 1, tzinfo=UTC)


def _begin(name: str) -> datetime | None:
    """The first instant that is in it; None for what has no beginning."""
    if name == f"{TABLE}_after":
        return datetime(END_YEAR, 1, 1, tzinfo=UTC)
    found = _MONTH.fullmatch(name)
    return datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC) if found else None


_MONTH = re.compile(rf"{TABLE}_(\d{{4}})_(\d{{2}})")


def _is_month(name: str) -> bool:
    return _MONTH.fullmatch(name) is not None


def _briefly(statement: str) -> None:
    """Tries it until it is done within PATIENCE_MS: behind who waits for a lock, everybody waits."""
    for _ in range(TRIES):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = %s", [PATIENCE_MS])
                cursor.execute(statement)
        except OperationalError as fault:
            if not waited_too_long(fault):
                raise
            time.sleep(PAUSE_S)
        else:
            return
    raise Busy(statement)
