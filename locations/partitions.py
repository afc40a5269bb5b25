"""The months that the locations table is cut into. Made when first needed; their number is bounded.

Whatever times clients send, there are at most 240 months and the two partitions before and after them.
"""

from collections.abc import Iterable
from datetime import datetime

from django.db import connection, transaction

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
