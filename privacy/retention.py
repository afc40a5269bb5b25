"""Drops data that is older than RETENTION_DAYS; pings and encounters are dropped by whole months.

Those with a time more than a day ahead are dropped too, because they would not expire for years. Older
versions and doors with ACCESS=open accept such pings.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone

from access.models import Question
from connect.partitions import Busy, MonthlyPartitions
from consumers.models import RejectedPing
from encounters.partitions import PARTITIONS as ENCOUNTERS
from locations.partitions import PARTITIONS as PINGS
from phones.models import RefusedPoints
from webhooks.models import Delivery

TIMES = {PINGS: "creation_time", ENCOUNTERS: "start"}  # the tables and the columns that they are divided by
WORDS = {PINGS: "pings", ENCOUNTERS: "encounters"}
BLOCK = 10_000  # rows per transaction
MAX_CLOCK_SKEW = timedelta(days=1)  # for example a wrong time zone


def cutoff() -> datetime | None:
    """Data before this time is too old; None if everything is kept."""
    days = settings.RETENTION_DAYS
    return timezone.now() - timedelta(days=days) if days else None


def future_cutoff() -> datetime:
    """Pings after this time are dropped: no clock is that wrong."""
    return timezone.now() + MAX_CLOCK_SKEW


def rows_after(table: MonthlyPartitions, moment: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table.table} WHERE {TIMES[table]} > %s", [moment])
        return int(cursor.fetchone()[0])


def drop_rows_after(table: MonthlyPartitions, moment: datetime) -> int:
    """Deletes rows in months that also have rows to keep. Returns their number."""
    dropped, time = 0, TIMES[table]
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                f"DELETE FROM {table.table} WHERE {time} > %s AND (tableoid, ctid) IN "
                f"(SELECT tableoid, ctid FROM {table.table} WHERE {time} > %s LIMIT %s)",
                [moment, moment, BLOCK],
            )
            dropped += cursor.rowcount
            if cursor.rowcount < BLOCK:
                return dropped


def drop_month(table: MonthlyPartitions, name: str) -> bool:
    """Truncates a month, which blocks only its own readers and writers, and then drops the partition.

    False if the partition is in use and stays, empty. Raises Busy if even the rows stay.
    """
    table.truncate(name)
    try:
        table.drop(name)
    except Busy:
        return False
    return True


def questions_before(moment: datetime) -> int:
    return Question.objects.filter(at__lt=moment).count()


def drop_questions(moment: datetime) -> int:
    """Deletes rows of the audit log. Returns their number."""
    return Question.objects.filter(at__lt=moment).delete()[0]


def rejected_before(moment: datetime) -> int:
    return RejectedPing.objects.filter(rejected_at__lt=moment).count()


def drop_rejected(moment: datetime) -> int:
    """Deletes rejected pings. Returns their number."""
    dropped = 0
    old = RejectedPing.objects.filter(rejected_at__lt=moment).order_by("id")
    while ids := list(old.values_list("id", flat=True)[:BLOCK]):
        dropped += RejectedPing.objects.filter(id__in=ids).delete()[0]
    return dropped


def refused_points_before(moment: datetime) -> int:
    return RefusedPoints.objects.filter(last_at__lt=moment).count()


def drop_refused_points(moment: datetime) -> int:
    """Deletes counts of refused points. Returns the number of rows."""
    return RefusedPoints.objects.filter(last_at__lt=moment).delete()[0]


def deliveries_before(moment: datetime) -> int:
    return Delivery.objects.filter(occurred__lt=moment).count()


def drop_deliveries(moment: datetime) -> int:
    """Deletes deliveries of webhooks, also of those that nobody delivers. Returns their number."""
    return Delivery.objects.filter(occurred__lt=moment).delete()[0]
