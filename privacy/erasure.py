"""Erasing a person, and following the topic until nothing of them is on its way any more.

The deletion itself is persons' and the database's, whoever deletes: triggers take along the stored and the
rejected pings and write the receipt. What is still in the topic the writers drop when they come to it.
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
    """The receipt; of somebody who was erased before, the newest there is. None if there never was anybody.

    A topic need not be reachable for it: `follow` asks how far it reached, now or later.
    """
    with transaction.atomic():
        persons.delete(person_id)
        return ErasureReceipt.objects.filter(person_id=person_id).first()


def is_done(receipt: ErasureReceipt) -> bool:
    """Whether nothing is left, as far as this process knows: only a topic keeps anything for a while."""
    return receipt.passed_at is not None or not has_topic()


def has_topic() -> bool:
    return settings.PINGS_URL.startswith("kafka:")


def follow(*, within_s: float = math.inf) -> None:
    """Notes of all receipts how far the topic reached, and which of these ends the writers have passed.

    A receipt nobody has looked at yet gets the ends of now: they lie behind those at its deletion, so that
    what is said to be passed is. Raises NeighbourUnavailable.
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
        for receipt_id, noted in unfinished.filter(topic_ends__isnull=False).values_list("id", "topic_ends")
        if _passed(noted or {}, positions)
    ]
    ErasureReceipt.objects.filter(id__in=passed, passed_at=None).update(passed_at=timezone.now())


def _passed(ends: Mapping[str, int], positions: Positions) -> bool:
    """A topic that now ends before an end that was noted was made anew: nothing is left in it."""
    for partition, noted in ends.items():
        written, end = positions.get(int(partition), (0, 0))
        if written < noted <= end:
            return False
    return True
