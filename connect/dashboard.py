"""Figures on the front page of the admin site, computed in bounded time at any table size."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

STATEMENT_TIMEOUT_S = 1.0
EXACT_COUNT_LIMIT = 10_000  # rows; larger tables are estimated

UNKNOWN = "–"


class Part(NamedTuple):
    """One part of a figure, with a link."""

    name: str
    number: int
    url: str


class Counter(NamedTuple):
    """A growing total at a Unix time. The page computes a rate from two of them."""

    number: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. `key` is its id within the page; `is_alarm` highlights it."""

    key: str
    label: str
    value: str = UNKNOWN
    note: str = ""
    url: str = ""
    parts: Sequence[Part] = ()
    counter: Counter | None = None
    is_alarm: bool = False


@dataclass(frozen=True, slots=True)
class Size:
    """Rows of a table with its partitions. `inserted` counts all inserts, from the database statistics."""

    rows: int
    is_exact: bool
    inserted: Counter

    def __str__(self) -> str:
        if self.is_exact:
            return f"{self.rows:,}"
        digits = len(str(self.rows)) - 3  # an estimate has three significant digits
        return f"about {round(self.rows, -digits):,}"

    @property
    def note(self) -> str:
        return "" if self.is_exact else "The database estimates this number."


@contextmanager
def bounded_cursor() -> Iterator[CursorWrapper]:
    """A cursor whose statements fail with OperationalError after STATEMENT_TIMEOUT_S."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = %s", [int(STATEMENT_TIMEOUT_S * 1000)])
        yield cursor


# The planner's estimate: rows per page at the last vacuum or analyze, times the current pages. A table that
# was never vacuumed has only the running count of the statistics, which a database crash resets to 0.
_SIZE = """
SELECT coalesce(sum(greatest(
           CASE WHEN relpages > 0
                THEN reltuples / relpages * (pg_relation_size(oid) / current_setting('block_size')::int)
           END, pg_stat_get_live_tuples(oid), 0)), 0)::bigint,
       coalesce(sum(pg_stat_get_tuples_inserted(oid)), 0)::bigint,
       extract(epoch FROM clock_timestamp())::float8
  FROM pg_class
 WHERE relkind = 'r'
   AND oid IN (SELECT relid FROM pg_partition_tree(%(table)s::regclass) UNION SELECT %(table)s::regclass)
"""


def size(cursor: CursorWrapper, table: str) -> Size:
    """Estimates from the catalogue; counts rows only if the estimate is at most EXACT_COUNT_LIMIT."""
    cursor.execute(_SIZE, {"table": table})
    estimate, inserted, at_s = cursor.fetchone()
    counter = Counter(inserted, at_s)
    if estimate > EXACT_COUNT_LIMIT:
        return Size(estimate, is_exact=False, inserted=counter)
    # The estimate may be wrong, so the count is limited, too.
    cursor.execute(f"SELECT count(*) FROM (SELECT FROM {table} LIMIT {EXACT_COUNT_LIMIT + 1}) AS limited")
    (rows,) = cursor.fetchone()
    return Size(rows, is_exact=rows <= EXACT_COUNT_LIMIT, inserted=counter)


def format_duration(seconds: float) -> str:
    """`4 s`, `3 min`, `5 h`, `12 days`: in the largest unit that gives at least 2."""
    for unit, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{int(seconds) // unit:,} {name}"
    return f"{int(seconds)} s"
