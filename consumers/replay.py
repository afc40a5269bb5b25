"""Rejected pings, recorded again: by `manage.py replay_rejected`, and by an action of the admin site."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet

from consumers import topic
from consumers.batch_store import DATA_FAULTS
from consumers.models import RejectedPing
from locations import partitions, person_rows
from locations.storage import prepare, record_prepared

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


def _in_one_transaction(ids: Sequence[int]) -> tuple[int, int, int]:
    """The people are locked before the rows, as whoever deletes a person does, so that neither deadlocks."""
    rejected = RejectedPing.objects.filter(id__in=ids).order_by("id")
    pings = {
        row.id: ping for row in rejected if (ping := topic.read(_bytes(row.key), _bytes(row.value)).ping)
    }
    batch = prepare(list(pings.values()))
    partitions.ensure(batch.months)
    with transaction.atomic():
        person_rows.lock_existing(batch.person_ids)
        # Rows that another replay has are left to it; those of a person who was deleted are gone.
        held = list(rejected.select_for_update(skip_locked=True).values_list("id", flat=True))
        good = [row_id for row_id in held if row_id in pings]
        receipt = record_prepared(prepare([pings[row_id] for row_id in good]))
        refused = {each.index for each in receipt.refused}
        recorded = [row_id for index, row_id in enumerate(good) if index not in refused]
        RejectedPing.objects.filter(id__in=recorded).delete()
    return len(held), len(recorded), receipt.stored or 0


def _bytes(column: bytes | memoryview | None) -> bytes | None:
    """The driver gives them as a view."""
    return None if column is None else bytes(column)
