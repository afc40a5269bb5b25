"""The import of a file: reads items, validates them by locations.pings, and submits them in batches."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from connect.files import Source
from locations.formats import Item, Unreadable, reader_for
from locations.pings import MAX_BATCH, Ping, parse_batch
from locations.prefetch import prefetched
from locations.storage import Receipt

MAX_REASONS = 50
MAX_EXAMPLES = 5


@dataclass(slots=True)
class Reason:
    """A reason for refusal: the number of refused pings, and the places of the first ones in the file."""

    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Summary:
    """The result of an import. `stored` is None if the transport only confirms acceptance (Kafka)."""

    read: int = 0
    accepted: int = 0
    stored: int | None = 0
    reasons: dict[str, Reason] = field(default_factory=dict)

    @property
    def repeats(self) -> int | None:
        return None if self.stored is None else self.accepted - self.stored

    @property
    def refused(self) -> int:
        return sum(reason.count for reason in self.reasons.values())

    def count(self, accepted: int, stored: int | None) -> None:
        self.accepted += accepted
        self.stored = None if stored is None or self.stored is None else self.stored + stored

    def refuse(self, reason: str, example: str) -> None:
        if reason not in self.reasons and len(self.reasons) >= MAX_REASONS:
            reason = "Other reasons."
        entry = self.reasons.setdefault(reason, Reason())
        entry.count += 1
        if len(entry.examples) < MAX_EXAMPLES:
            entry.examples.append(example)

    def add(self, other: "Summary") -> None:
        self.read += other.read
        self.count(other.accepted, other.stored)
        for text, theirs in other.reasons.items():
            mine = self.reasons.setdefault(text, Reason())
            mine.count += theirs.count


@dataclass(slots=True)
class _Batch:
    """Up to MAX_BATCH items after validation; `places` are the places of the good pings in the file."""

    read: int
    pings: list[Ping]
    places: list[int]
    refused: list[tuple[int, str]]


Submit = Callable[[Sequence[Ping]], Receipt]


def import_file(path: Path, *, person_id: int | None, submit: Submit, summary: Summary) -> None:
    """Submits the pings of a file; `summary` is up to date after each batch.

    Raises Unreadable if the file cannot be read to its end, after the pings before that place are submitted;
    OSError if it cannot be opened.
    """
    reader = reader_for(path)
    with (
        Source(path) as source,
        closing(prefetched(_batches(reader.items(source, person_id=person_id)))) as batches,
    ):
        for batch in batches:
            _submit(batch, reader.UNIT, submit, summary)
            source.show_progress()
    if source.fault:
        raise Unreadable(source.fault)


def _batches(items: Iterator[Item]) -> Iterator[_Batch]:
    """Validated batches. If the items end in Unreadable, it is raised after the last batch is yielded."""
    batch: list[Item] = []
    try:
        for item in items:
            batch.append(item)
            if len(batch) == MAX_BATCH:
                yield _validated(batch)
                batch = []
    except Unreadable:
        yield _validated(batch)
        raise
    yield _validated(batch)


def _validated(items: list[Item]) -> _Batch:
    readable = [item for item in items if not isinstance(item.fields, str)]
    pings, indexes, refusals = parse_batch([item.fields for item in readable])
    refused = [(item.place, item.fields) for item in items if isinstance(item.fields, str)]
    for refusal in refusals:
        faults = (f"{name}: {' '.join(texts)}" for name, texts in sorted(refusal.errors.items()))
        refused.append((readable[refusal.index].place, " ".join(faults)))
    return _Batch(len(items), pings, [readable[index].place for index in indexes], refused)


def _submit(batch: _Batch, unit: str, submit: Submit, summary: Summary) -> None:
    receipt = submit(batch.pings) if batch.pings else Receipt(stored=0)
    summary.read += batch.read
    summary.count(len(batch.pings) - len(receipt.refused), receipt.stored)
    for place, reason in batch.refused:
        summary.refuse(reason, f"{unit} {place}")
    for refusal in receipt.refused:
        person_id = batch.pings[refusal.index].person_id
        example = f"{unit} {batch.places[refusal.index]} (person {person_id})"
        summary.refuse("person_id: There is no such person.", example)
