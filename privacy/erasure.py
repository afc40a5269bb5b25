"""Erases a person, and tracks when the writers have passed the person's pings in the topic.

Triggers of the database delete the stored and rejected pings and write the receipt, however the person is
deleted. The writers drop the pings that are still in the topic.
"""

import math
from collections.abc import Mapping
from contextlib import closing

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from consumers.lag import Observer
from persons import services as persons
from privacy.models import ErasureReceipt

Positions = Mapping[int, tuple[int, int]]


def erase(person_id: int) -> ErasureReceipt | None:
    """Deletes a person and returns the newest receipt for the id; None if there never was such a person.

    It does not need the brokers: `update_receipts` asks for the topic's end offsets later.
    """
    with transaction.atomic():
        persons.delete(person_id)
        return ErasureReceipt.objects.filter(person_id=person_id).first()


def is_complete(receipt: ErasureReceipt) -> bool:
    """Whether no data of the person is left. True at once if this process knows of no topic."""
    return receipt.passed_at is not None or not has_topic()


def has_topic() -> bool:
    return settings.PINGS_URL.startswith("kafka:")


def update_receipts(*, within_s: float = math.inf) -> None:
    """Stores the topic's end offsets in new receipts; marks receipts whose offsets the writers have passed.

    A new receipt gets the current end offsets. They are not before those at the deletion, so a receipt is
    never marked too early. Raises NeighbourUnavailable.
    """
    unfinished = ErasureReceipt.objects.filter(passed_at=None)
    if not has_topic() or not unfinished.exists():
        return
    new = list(unfinished.filter(topic_ends__isnull=True).values_list("id", flat=True))
    with closing(Observer(within_s=within_s)) as observer:
        positions = observer.positions()
    ends = {str(partition): end for partition, (_, end) in positions.items()}
    ErasureReceipt.objects.filter(id__in=new, topic_ends__isnull=True).update(topic_ends=ends)
    passed = [
        receipt_id
        for receipt_id, topic_ends in unfinished.filter(topic_ends__isnull=False).values_list(
            "id", "topic_ends"
        )
        if _passed(topic_ends or {}, positions)
    ]
    ErasureReceipt.objects.filter(id__in=passed, passed_at=None).update(passed_at=timezone.now())


def _passed(ends: Mapping[str, int], positions: Positions) -> bool:
    """Whether the writers have passed these offsets. A topic that ends before them is a new topic."""
    for partition, stored_end in ends.items():
        written, end = positions.get(int(partition), (0, 0))
        if written < stored_end <= end:
            return False
    return True
