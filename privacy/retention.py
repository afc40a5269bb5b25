"""Drops data that is older than RETENTION_DAYS; pings are dropped by whole months.

Pings with a time more than a day ahead are dropped too, because they would not expire for years. Older
versions and doors with ACCESS=open accept such pings.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone

from access.models import Question
from consumers.models import RejectedPing
from locations import partitions
from locations.models import Location
from phones.models import RefusedPoints

BLOCK = 10_000  # rows per transaction
MAX_CLOCK_SKEW = timedelta(days=1)  # for example a wrong time zone


def cutoff() -> datetime | None:
    """Data before this time is too old; None if everything is kept."""
    days = settings.RETENTION_DAYS
    return timezone.now() - timedelta(days=days) if days else None


def future_cutoff() -> datetime:
    """Pings after this time are dropped: no clock is that wrong."""
    return timezone.now() + MAX_CLOCK_SKEW


def months_after(moment: datetime) -> Iterator[tuple[str, int]]:
    """The partitions that are wholly after `moment` and have pings, with their number of pings."""
    return partitions.after(moment)


def pings_after(moment: datetime) -> int:
    return Location.objects.filter(creation_time__gt=moment).count()


def drop_pings_after(moment: datetime) -> int:
    """Deletes pings in months that also have pings to keep. Returns their number."""
    dropped = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                "DELETE FROM locations_location WHERE creation_time > %s AND (person_id, creation_time) IN "
                "(SELECT person_id, creation_time FROM locations_location WHERE creation_time > %s LIMIT %s)",
                [moment, moment, BLOCK],
            )
            dropped += cursor.rowcount
            if cursor.rowcount < BLOCK:
                return dropped


def empty_months() -> list[str]:
    """Months without a ping, except current ones."""
    return partitions.empty_months(timezone.now())


def months_before(moment: datetime) -> Iterator[tuple[str, int]]:
    """The partitions that are wholly before `moment`, with their number of pings."""
    return partitions.before(moment)


def drop_month(name: str) -> bool:
    """Truncates a month, which blocks only its own readers and writers, and then drops the partition.

    False if the partition is in use and stays, empty. Raises partitions.Busy if even the pings stay.
    """
    partitions.truncate(name)
    try:
        partitions.drop(name)
    except partitions.Busy:
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
