"""Figures for the front page of the admin site: what each is made of, and how to come by it at any size."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

STATEMENT_TIMEOUT_S = 1.0  # that a statement may take
EXACT_COUNT_LIMIT = 10_000  # rows that are counted one by one

UNKNOWN = "–"


class Part(NamedTuple):
    """Of what a figure is made up."""

    name: str
    number: int
    url: str


class Counter(NamedTuple):
    """How many there were ever, at a time in seconds since 1970. The page makes a rate of it."""

    number: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Figure:
    """`key` is its name within the page. `is_alarm`: somebody should have a look."""

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
    """How many rows a table has, partitions included; `inserted`: how many ever, by the database's count."""

    rows: int
    is_exact: bool
    inserted: Counter

    def __str__(self) -> str:
        if self.is_exact:
            return f"{self.rows:,}"
        digits = len(str(self.rows)) - 3  # more than three would be no estimate's to give
        return f"about {round(self.rows, -digits):,}"

    @property
    def note(self) -> str:
        return "" if self.is_exact else "As the database estimates without counting."


@contextmanager
def bounded_cursor() -> Iterator[CursorWrapper]:
    """Statements that the database gives up after STATEMENT_TIMEOUT_S, with an OperationalError."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = %s", [int(STATEMENT_TIMEOUT_S * 1000)])
        yield cursor


# As the planner estimates: rows a page at the last vacuum or analyze, times the pages of now. What was never
# vacuumed has only the statistics' running count, which in turn a crash of the database sets to 0.
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
    """Asks the catalogue, never the rows, unless there are EXACT_COUNT_LIMIT."""
    cursor.execute(_SIZE, {"table": table})
    estimate, inserted, at_s = cursor.fetchone()
    counter = Counter(inserted, at_s)
    if estimate > EXACT_COUNT_LIMIT:
        return Size(estimate, is_exact=False, inserted=counter)
    # Whatever the estimate is worth, no more rows than these are read.
    cursor.execute(f"SELECT count(*) FROM (SELECT FROM {table} LIMIT {EXACT_COUNT_LIMIT + 1}) AS few")
    (rows,) = cursor.fetchone()
    return Size(rows, is_exact=rows <= EXACT_COUNT_LIMIT, inserted=counter)


def format_duration(seconds: float) -> str:
    """`4 s`, `3 min`, `5 h`, `12 days`: in the largest unit of which there are two."""
    for unit, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{int(seconds) // unit:,} {name}"
    return f"{int(seconds)} s"
