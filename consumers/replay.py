"""Rejected pings, recorded again: by `manage.py replay_rejected`, and by an action of the admin site."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet

from consumers import topic
from consumers.models import RejectedPing
from consumers.storing import DATA_FAULTS
from locations.services import record

BLOCK = 1000


@dataclass(slots=True)
class Summary:
    """Those recorded are rejected no more, whether they were `stored` or there already."""

    read: int = 0
    recorded: int = 0
    stored: int = 0

    def __str__(self) -> str:
        repeats = self.recorded - self.stored
        kept = self.read - self.recorded
        return f"{self.read:,} read, {self.stored:,} stored, {repeats:,} repeats, {kept:,} still rejected"


def replay(rejected: QuerySet[RejectedPing]) -> Iterator[Summary]:
    """Block by block, each in a transaction of its own; gives how far it is after each."""
    summary = Summary()
    after = 0
    while ids := list(rejected.filter(id__gt=after).order_by("id").values_list("id", flat=True)[:BLOCK]):
        _halving(ids, summary)
        after = ids[-1]
        yield summary


def _halving(ids: Sequence[int], summary: Summary) -> None:
    """One that the database refuses stays, and does not keep the others back."""
    try:
        read, recorded, stored = _in_one_transaction(ids)
    except DATA_FAULTS:
        if len(ids) == 1:
            summary.read += 1
            return
        half = len(ids) // 2
        _halving(ids[:half], summary)
        _halving(ids[half:], summary)
        return
    summary.read += read
    summary.recorded += recorded
    summary.stored += stored


@transaction.atomic
def _in_one_transaction(ids: Sequence[int]) -> tuple[int, int, int]:
    # Held by this one: two who replay at once share the work.
    rows = RejectedPing.objects.filter(id__in=ids).order_by("id").select_for_update(skip_locked=True)
    read = [(row.id, topic.read(_bytes(row.key), _bytes(row.value)).ping) for row in rows]
    good = [(row_id, ping) for row_id, ping in read if ping is not None]
    receipt = record([ping for _, ping in good])
    refused = {each.index for each in receipt.refused}
    recorded = [row_id for index, (row_id, _) in enumerate(good) if index not in refused]
    RejectedPing.objects.filter(id__in=recorded).delete()
    return len(read), len(recorded), receipt.stored or 0


def _bytes(column: bytes | memoryview | None) -> bytes | None:
    """The driver gives them as a view."""
    return None if column is None else bytes(column)
