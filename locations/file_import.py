"""From a file to the door: reads items, has the rule book judge them, and hands batches on."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from connect.files import Source
from locations.formats import Item, Unreadable, reader_for
from locations.pings import MAX_BATCH, Ping, parse_batch
from locations.prefetch import made_ahead
from locations.storage import Receipt

MAX_REASONS = 50
MAX_EXAMPLES = 5


@dataclass(slots=True)
class Reason:
    """Why pings were refused: how many, and where the first of them stand."""

    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Summary:
    """What became of the pings read; `stored` is None where the door only says that it took them."""

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

    def take(self, accepted: int, stored: int | None) -> None:
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
        self.take(other.accepted, other.stored)
        for text, theirs in other.reasons.items():
            mine = self.reasons.setdefault(text, Reason())
            mine.count += theirs.count


@dataclass(slots=True)
class _Batch:
    """Up to MAX_BATCH items as the rule book judged them; `places` are those of the good pings."""

    read: int
    pings: list[Ping]
    places: list[int]
    refused: list[tuple[int, str]]


Submit = Callable[[Sequence[Ping]], Receipt]


def import_file(path: Path, *, person_id: int | None, submit: Submit, summary: Summary) -> None:
    """Hands in what a file holds; `summary` is right after each batch.

    Raises Unreadable when the file ends before its time, after all that came before is handed in; OSError
    when it cannot be opened.
    """
    reader = reader_for(path)
    with (
        Source(path) as source,
        closing(made_ahead(_batches(reader.items(source, person_id=person_id)))) as batches,
    ):
        for batch in batches:
            _hand_in(batch, reader.UNIT, submit, summary)
            source.show_progress()
    if source.fault:
        raise Unreadable(source.fault)


def _batches(items: Iterator[Item]) -> Iterator[_Batch]:
    """Ends as the items do: with their Unreadable, but not before the last ones are given."""
    batch: list[Item] = []
    try:
        for item in items:
            batch.append(item)
            if len(batch) == MAX_BATCH:
                yield _judge(batch)
                batch = []
    except Unreadable:
        yield _judge(batch)
        raise
    yield _judge(batch)


def _judge(items: list[Item]) -> _Batch:
    readable = [item for item in items if not isinstance(item.fields, str)]
    pings, indexes, refusals = parse_batch([item.fields for item in readable])
    refused = [(item.place, item.fields) for item in items if isinstance(item.fields, str)]
    for refusal in refusals:
        faults = (f"{name}: {' '.join(texts)}" for name, texts in sorted(refusal.errors.items()))
        refused.append((readable[refusal.index].place, " ".join(faults)))
    return _Batch(len(items), pings, [readable[index].place for index in indexes], refused)


def _hand_in(batch: _Batch, unit: str, submit: Submit, summary: Summary) -> None:
    receipt = submit(batch.pings) if batch.pings else Receipt(stored=0)
    summary.read += batch.read
    summary.take(len(batch.pings) - len(receipt.refused), receipt.stored)
    for place, reason in batch.refused:
        summary.refuse(reason, f"{unit} {place}")
    for refusal in receipt.refused:
        person_id = batch.pings[refusal.index].person_id
        example = f"{unit} {batch.places[refusal.index]} (person {person_id})"
        summary.refuse("person_id: There is no such person.", example)
