"""Records rejected pings again, for `manage.py replay_rejected` and for an action of the admin site."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet

from consumers import topic
from consumers.batch_store import DATA_ERRORS
from consumers.models import RejectedPing
from locations import partitions, person_rows
from locations.storage import prepare, record_prepared

BATCH = 1000


@dataclass(slots=True)
class Summary:
    """`recorded` pings are no longer rejected. It includes repeats, which `stored` does not."""

    read: int = 0
    recorded: int = 0
    stored: int = 0

    def __str__(self) -> str:
        repeats = self.recorded - self.stored
        kept = self.read - self.recorded
        return f"{self.read:,} read, {self.stored:,} stored, {repeats:,} repeats, {kept:,} still rejected"


def replay(rejected: QuerySet[RejectedPing]) -> Iterator[Summary]:
    """Replays batch by batch, each in its own transaction; yields the running summary after each."""
    summary = Summary()
    after = 0
    while ids := list(rejected.filter(id__gt=after).order_by("id").values_list("id", flat=True)[:BATCH]):
        _replay_bisecting(ids, summary)
        after = ids[-1]
        yield summary


def _replay_bisecting(ids: Sequence[int], summary: Summary) -> None:
    """Bisects a batch that the database refuses, so that one bad ping does not block the others."""
    try:
        read, recorded, stored = _in_one_transaction(ids)
    except DATA_ERRORS:
        if len(ids) == 1:
            summary.read += 1
            return
        half = len(ids) // 2
        _replay_bisecting(ids[:half], summary)
        _replay_bisecting(ids[half:], summary)
        return
    summary.read += read
    summary.recorded += recorded
    summary.stored += stored


def _in_one_transaction(ids: Sequence[int]) -> tuple[int, int, int]:
    """Locks the persons before the rejected pings, in the order in which a deletion locks: no deadlock."""
    rejected = RejectedPing.objects.filter(id__in=ids).order_by("id")
    pings = {
        row.id: ping for row in rejected if (ping := topic.decode(_bytes(row.key), _bytes(row.value)).ping)
    }
    batch = prepare(list(pings.values()))
    partitions.ensure(batch.months)
    with transaction.atomic():
        person_rows.lock_existing(batch.person_ids)
        # Skips rows that another replay has locked; rows of deleted persons are gone.
        locked = list(rejected.select_for_update(skip_locked=True).values_list("id", flat=True))
        good = [row_id for row_id in locked if row_id in pings]
        receipt = record_prepared(prepare([pings[row_id] for row_id in good]))
        refused = {each.index for each in receipt.refused}
        recorded = [row_id for index, row_id in enumerate(good) if index not in refused]
        RejectedPing.objects.filter(id__in=recorded).delete()
    return len(locked), len(recorded), receipt.stored or 0


def _bytes(column: bytes | memoryview | None) -> bytes | None:
    """The database driver returns a memoryview."""
    return None if column is None else bytes(column)
