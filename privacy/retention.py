"""How long where people were is kept: RETENTION_DAYS. What is older goes, whole months at a time."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from access.models import Question
from consumers.models import RejectedPing
from locations import partitions

BLOCK = 10_000  # rejected pings in a transaction


def limit() -> datetime | None:
    """What lies wholly before it is too old; None if everything is kept."""
    days = settings.RETENTION_DAYS
    return timezone.now() - timedelta(days=days) if days else None


def months_before(moment: datetime) -> Iterator[tuple[str, int]]:
    """Each partition that is too old, with how many pings are in it."""
    return partitions.before(moment)


def drop_month(name: str) -> bool:
    """Its pings go first, which next to nobody notices, then the partition. False: that has to wait.

    Raises partitions.Busy where even the pings are still there.
    """
    partitions.empty(name)
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
