"""How long where people were is kept: RETENTION_DAYS. What is older goes, whole months at a time.

A ping whose time is more than a day ahead would not become too old for years, so it goes, too. Older
versions, and doors with ACCESS=open, let such pings in.
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

BLOCK = 10_000  # rows in a transaction
AHEAD = timedelta(days=1)  # that a clock may be wrong, by its time zone for example


def limit() -> datetime | None:
    """What lies wholly before it is too old; None if everything is kept."""
    days = settings.RETENTION_DAYS
    return timezone.now() - timedelta(days=days) if days else None


def latest() -> datetime:
    """What claims to be after it is in the future, beyond any mistake of a clock."""
    return timezone.now() + AHEAD


def months_after(moment: datetime) -> Iterator[tuple[str, int]]:
    """Each partition that lies wholly in the future and has pings, with how many."""
    return partitions.after(moment)


def pings_after(moment: datetime) -> int:
    return Location.objects.filter(creation_time__gt=moment).count()


def drop_pings_after(moment: datetime) -> int:
    """Those that share a month with pings to be kept; how many went."""
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
    """Months made for pings that are gone, or that never came."""
    return partitions.empty_months(timezone.now())


def months_before(moment: datetime) -> Iterator[tuple[str, int]]:
    """Each partition that is too old, with how many pings are in it."""
    return partitions.before(moment)


def drop_month(name: str) -> bool:
    """Its pings go first, which next to nobody notices, then the partition. False: that has to wait.

    Raises partitions.Busy where even the pings are still there.
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
    """How many lines of the audit log went."""
    return Question.objects.filter(at__lt=moment).delete()[0]


def rejected_before(moment: datetime) -> int:
    return RejectedPing.objects.filter(rejected_at__lt=moment).count()


def drop_rejected(moment: datetime) -> int:
    """How many went."""
    dropped = 0
    old = RejectedPing.objects.filter(rejected_at__lt=moment).order_by("id")
    while ids := list(old.values_list("id", flat=True)[:BLOCK]):
        dropped += RejectedPing.objects.filter(id__in=ids).delete()[0]
    return dropped
