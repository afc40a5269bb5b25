"""Monthly partitions of a table. They are made when first needed; their number is bounded.

There are at most 240 monthly partitions, one partition before them and one after them, for any times sent.
Months past the retention time are dropped whole: docs/decisions/0004-retention.md.
"""

import re
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from typing import Any

from django.db import IntegrityError, OperationalError, connection, transaction

FIRST_YEAR = 2020
END_YEAR = 2040  # exclusive

_LOCK = 0x636F6E6E656374  # advisory lock, the same in every process: one process makes partitions at a time

# While a DROP waits for its lock, all other statements wait behind it: hence a short timeout and retries.
LOCK_TIMEOUT_MS = 200
TRIES = 50
PAUSE_S = 0.2
_LOCK_NOT_AVAILABLE, _CHECK_VIOLATION = "55P03", "23514"

Month = tuple[int, int]


def months_of(moments: Iterable[date]) -> set[Month]:
    """The (year, month) pairs in UTC whose partitions these moments need."""
    months = {(moment.year, moment.month) for moment in moments}
    return {month for month in months if FIRST_YEAR <= month[0] < END_YEAR}


class Busy(Exception):
    """A partition was in use at every try. It is unchanged."""


class MonthlyPartitions:
    """The partitions of one table, by a column of the type timestamptz."""

    def __init__(self, table: str) -> None:
        self.table = table
        self._month = re.compile(rf"{table}_(\d{{4}})_(\d{{2}})")

    @property
    def open_ended_sql(self) -> list[str]:
        """The statements that create the partitions before and after all months."""
        of = f"PARTITION OF {self.table} FOR VALUES FROM"
        return [
            f"CREATE TABLE {self.table}_before {of} (MINVALUE) TO ('{FIRST_YEAR}-01-01Z')",
            f"CREATE TABLE {self.table}_after {of} ('{END_YEAR}-01-01Z') TO (MAXVALUE)",
        ]

    def ensure(self, months: Iterable[Month]) -> None:
        """Makes the missing partitions, without blocking readers and writers. Idempotent."""
        wanted = {f"{self.table}_{year}_{month:02}": (year, month) for year, month in months}
        if not wanted or not self._missing(wanted):
            return
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            for name in self._missing(wanted):
                year, month = wanted[name]
                end_year, end_month = divmod(year * 12 + month, 12)
                # CREATE ... PARTITION OF would block readers of the whole table; ATTACH does not.
                cursor.execute(f"CREATE TABLE {name} (LIKE {self.table} INCLUDING ALL)")
                cursor.execute(
                    f"ALTER TABLE {self.table} ATTACH PARTITION {name} "
                    f"FOR VALUES FROM ('{year}-{month:02}-01Z') TO ('{end_year}-{end_month + 1:02}-01Z')"
                )

    def _missing(self, names: Iterable[str]) -> list[str]:
        """The names without a table, from pg_class: the cache of to_regclass may miss a new table."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT name FROM unnest(%s::text[]) AS name WHERE NOT EXISTS "
                "(SELECT FROM pg_class WHERE relname = name AND pg_table_is_visible(oid)) ORDER BY name",
                [list(names)],
            )
            return [name for (name,) in cursor.fetchall()]

    def before(self, moment: datetime) -> Iterator[tuple[str, int]]:
        """Each partition wholly before this moment with its number of rows, the oldest first.

        The partition before all months is never dropped, so it is listed only if it has rows.
        """
        yield from self._counted(
            name for name in self._names() if (end := self._end(name)) is not None and end <= moment
        )

    def after(self, moment: datetime) -> Iterator[tuple[str, int]]:
        """Each partition wholly after this moment that has rows, with their number."""
        later = [
            name for name in self._names() if (begin := self._begin(name)) is not None and begin > moment
        ]
        yield from ((name, rows) for name, rows in self._counted(later) if rows)

    def drop_if_empty(self, name: str) -> bool:
        """Drops a month if it is empty. Returns False if it has rows or is in use."""
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = %s", [LOCK_TIMEOUT_MS])
                # The same lock order as an INSERT. Nobody can insert between the check and the DROP.
                cursor.execute(f"LOCK TABLE ONLY {self.table}, {name} IN ACCESS EXCLUSIVE MODE")
                if self._has_rows(name):
                    return False
                cursor.execute(f"DROP TABLE {name}")
        except OperationalError as fault:
            if not is_lock_timeout(fault):
                raise
            return False
        return True

    def empty_months(self, moment: datetime) -> list[str]:
        """The months without rows, except the month of this moment and the next one: they are needed soon."""
        year, month = divmod(moment.year * 12 + moment.month, 12)
        kept = {f"{self.table}_{moment:%Y_%m}", f"{self.table}_{year}_{month + 1:02}"}
        return [
            name
            for name in self._names()
            if self._is_month(name) and name not in kept and not self._has_rows(name)
        ]

    def _names(self) -> list[str]:
        """The names of all partitions; the one before all months is first."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
                "WHERE inhparent = %s::regclass ORDER BY relname = %s DESC, relname",
                [self.table, f"{self.table}_before"],
            )
            return [name for (name,) in cursor.fetchall()]

    def _counted(self, names: Iterable[str]) -> Iterator[tuple[str, int]]:
        for name in names:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT count(*) FROM {name}")
                (rows,) = cursor.fetchone()
            if rows or self._is_month(name):
                yield name, rows

    def _has_rows(self, name: str) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT EXISTS (SELECT FROM {name})")
            return bool(cursor.fetchone()[0])

    def truncate(self, name: str) -> None:
        """Deletes all rows of a partition. Blocks readers and writers of this partition only. Raises Busy."""
        execute_with_retries(f"TRUNCATE {name}")

    def drop(self, name: str) -> bool:
        """Drops a month; the partitions before and after all months stay. Raises Busy.

        Blocks all readers of the table, at most LOCK_TIMEOUT_MS per try.
        """
        if self._is_month(name):
            execute_with_retries(f"DROP TABLE {name}")
        return self._is_month(name)

    def _end(self, name: str) -> datetime | None:
        """The end of a partition's range, exclusive; None if it has no end."""
        if name == f"{self.table}_before":
            return datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
        if (found := self._month.fullmatch(name)) is None:
            return None
        years, month = divmod(int(found[1]) * 12 + int(found[2]), 12)
        return datetime(years, month + 1, 1, tzinfo=UTC)

    def _begin(self, name: str) -> datetime | None:
        """The start of a partition's range; None if it has no start."""
        if name == f"{self.table}_after":
            return datetime(END_YEAR, 1, 1, tzinfo=UTC)
        found = self._month.fullmatch(name)
        return datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC) if found else None

    def _is_month(self, name: str) -> bool:
        return self._month.fullmatch(name) is not None


def is_missing(fault: IntegrityError) -> bool:
    """Whether there is no partition for a row. (The CHECK constraints of the table have names.)"""
    cause: Any = fault.__cause__
    return cause.pgcode == _CHECK_VIOLATION and cause.diag.constraint_name is None


def is_lock_timeout(fault: OperationalError) -> bool:
    """Whether a statement did not get its lock within `lock_timeout`."""
    return getattr(fault.__cause__, "pgcode", None) == _LOCK_NOT_AVAILABLE


def execute_with_retries(statement: str, *, tries: int = TRIES) -> None:
    """Executes a statement that needs an exclusive lock; each try waits at most LOCK_TIMEOUT_MS for it."""
    for _ in range(tries):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = %s", [LOCK_TIMEOUT_MS])
                cursor.execute(statement)
        except OperationalError as fault:
            if not is_lock_timeout(fault):
                raise
            time.sleep(PAUSE_S)
        else:
            return
    raise Busy(statement)
