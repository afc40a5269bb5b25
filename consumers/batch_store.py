"""One batch of messages into the database: the good ones recorded, the others set aside, all at once."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka import Message
from django.db import DataError, IntegrityError, OperationalError, connection, transaction
from django.utils import timezone

from consumers import topic
from consumers.models import RejectedPing
from locations import bulk_insert, partitions, person_rows
from locations.pings import Ping
from locations.storage import Prepared, prepare, record_prepared

# What a value can do to a statement. Anything else is the world's fault or ours, and rejects nothing.
DATA_FAULTS = (DataError, IntegrityError, ValueError, OverflowError)
UNKNOWN = "There is no such person."
MAX_REASON = 500
# Kept of a rejected message: the key whole if it can name a person, the value whole if it can be a ping. One
# byte more of a longer value, so that it is too long for a replay, too.
MAX_KEY = 64
MAX_KEPT = topic.MAX_VALUE + 1
MAX_ROWS = 1_000_000  # of rejected pings, about: two lanes look at the same time
# Once a writer is frozen, whoever has its partitions waits for what its transaction has stored. The database
# ends one that says nothing for so long between two statements, but not in the midst of a COPY: that one is
# ended by who has waited for a lock for so long.
FROZEN_S = 10

_BEGIN = """
SELECT CASE WHEN is_called THEN last_value ELSE 0 END,
       set_config('idle_in_transaction_session_timeout', %(frozen)s, true),
       set_config('lock_timeout', %(frozen)s, true)
  FROM persons_person_id_seq
"""
_END_FROZEN = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
 WHERE datname = current_database() AND state = 'active' AND wait_event = 'ClientRead'
   AND query = %s AND query_start < now() - make_interval(secs => %s)
"""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Tally:
    """What became of messages. A good one that is not `stored` was there already."""

    good: int = 0
    stored: int = 0
    rejected: int = 0
    dropped: int = 0  # of persons who were deleted
    not_kept: int = 0  # rejected while the table of rejected pings is full

    @property
    def messages(self) -> int:
        return self.good + self.rejected + self.dropped + self.not_kept

    def add(self, other: "Tally") -> None:
        self.good += other.good
        self.stored += other.stored
        self.rejected += other.rejected
        self.dropped += other.dropped
        self.not_kept += other.not_kept

    def __str__(self) -> str:
        repeats = self.good - self.stored
        others = f"{self.rejected:,} rejected, {self.dropped:,} dropped"
        not_kept = f", {self.not_kept:,} rejected and not kept" if self.not_kept else ""
        return f"{self.stored:,} stored, {repeats:,} repeats, {others}{not_kept}"


class Bad(NamedTuple):
    """A message that is not to be stored, whose it is as far as it says that, and why."""

    message: Message
    person_id: int | None
    reason: str


NONE = prepare([])


@dataclass(slots=True)
class Batch:
    """Messages with what they say: the good pings, each with its message, and the bad ones."""

    good: Prepared
    messages: list[Message]
    bad: list[Bad]

    @property
    def pings(self) -> Sequence[Ping]:
        return self.good.pings

    def halves(self) -> "tuple[Batch, Batch]":
        """First the bad ones from the good, then these in two."""
        if self.bad:
            return Batch(NONE, [], self.bad), Batch(self.good, self.messages, [])
        half = len(self.pings) // 2
        return (
            Batch(prepare(self.pings[:half]), self.messages[:half], []),
            Batch(prepare(self.pings[half:]), self.messages[half:], []),
        )


def read(messages: Sequence[Message]) -> Batch:
    """What they say, ready to be stored. It asks the database nothing."""
    pings, indexes = topic.read_good([message.value() for message in messages])
    if len(pings) == len(messages):
        return Batch(prepare(pings).with_rows(), list(messages), [])
    bad = []
    for index in sorted(set(range(len(messages))).difference(indexes)):
        found = topic.read(messages[index].key(), messages[index].value())
        bad.append(Bad(messages[index], found.person_id, found.reason))
    return Batch(prepare(pings).with_rows(), [messages[index] for index in indexes], bad)


def store(batch: Batch) -> Tally:
    """Stores, sets aside or drops every one of them, in one transaction. Idempotent.

    Where that fails for what is in them, they are halved until the culprit stands alone and is set aside; any
    other failure leaves things as they were, or some of the halves stored.
    """
    try:
        return _whole(batch)
    except DATA_FAULTS as fault:
        if len(batch.pings) + bool(batch.bad) > 1:
            tally = Tally()
            for half in batch.halves():
                tally.add(store(half))
            return tally
        if batch.bad:
            raise  # not even set aside: no fault of the message's any more
        logger.warning("The database takes a ping for none: %s", fault)
        culprit = Bad(batch.messages[0], batch.pings[0].person_id, _in_short(fault))
        return _whole(Batch(NONE, [], [culprit]))


def _whole(batch: Batch) -> Tally:
    while True:
        try:
            return _in_one_transaction(batch)
        except OperationalError as fault:
            if not partitions.is_lock_timeout(fault):
                raise
        _end_frozen()


def _end_frozen() -> None:
    """Ends those whose COPY has lasted so long and waits for its client. What they had stored is undone.

    One that is only slow goes with them: it loses nothing, and tries again.
    """
    with connection.cursor() as cursor:
        cursor.execute(_END_FROZEN, [bulk_insert.COPY, FROZEN_S])
        (count,) = cursor.fetchone()
    if count:
        logger.warning("Ended %d in the midst of a COPY, for saying nothing for %g s.", count, FROZEN_S)


def _in_one_transaction(batch: Batch) -> Tally:
    # Here and not within the transaction, whose end others would have to wait for.
    partitions.ensure(batch.good.months)
    with transaction.atomic():
        given = _begin()
        receipt = record_prepared(batch.good)
        nobodys = [
            Bad(batch.messages[each.index], batch.pings[each.index].person_id, UNKNOWN)
            for each in receipt.refused
        ]
        bad = batch.bad + nobodys
        rejected = _not_of_the_deleted(bad, given) if bad else []
        kept = rejected[: _room()] if rejected else []
        _set_aside(kept)
    if not_kept := rejected[len(kept) :]:
        _log(not_kept)
    return Tally(
        good=len(batch.pings) - len(receipt.refused),
        stored=receipt.stored or 0,
        rejected=len(kept),
        dropped=len(bad) - len(rejected),
        not_kept=len(not_kept),
    )


def _begin() -> int:
    """Gives the newest id that any person was given.

    Asked before the persons are: so an id that is given in between is nobody's, and not a deleted one's.
    Here, too, what persons own is touched in SQL; the other places are in locations.person_rows.
    """
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN, {"frozen": f"{FROZEN_S}s"})
        newest, *_ = cursor.fetchone()
    return int(newest)


def _not_of_the_deleted(bad: Sequence[Bad], given: int) -> list[Bad]:
    """Of a person who was deleted nothing is kept, so those are left out.

    Ids are never given twice and imports move the sequence, so an id that was given and is nobody's was
    deleted, or else was skipped and nobody's ever: in doubt nothing is kept, for no door lets in a ping of
    nobody. An id still to be given is nobody's yet: its ping is kept, and can be replayed once it is not.
    """
    held = person_rows.lock_existing(each.person_id for each in bad if each.person_id is not None)
    return [
        each
        for each in bad
        if each.person_id is None or each.person_id in held or not 0 < each.person_id <= given
    ]


def _room() -> int:
    """How many rejected pings the table may still take. It counts the rows only if the ids leave a doubt."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id) - min(id) + 1, 0) FROM rejected_pings")
        (at_most,) = cursor.fetchone()
        if at_most >= MAX_ROWS:
            cursor.execute("SELECT count(*) FROM rejected_pings")
            (at_most,) = cursor.fetchone()
    return max(0, MAX_ROWS - int(at_most))


def _log(not_kept: Sequence[Bad]) -> None:
    """The topic has them for its retention time: by partition and offset they can be read again."""
    reasons = Counter(each.reason for each in not_kept)
    where: dict[int, list[int]] = {}
    for each in not_kept:
        where.setdefault(each.message.partition() or 0, []).append(each.message.offset() or 0)
    ranges = {partition: f"{min(offsets)}-{max(offsets)}" for partition, offsets in where.items()}
    logger.error(
        "The table of rejected pings has its %d rows. Rejected and not kept are %d: %s, at the offsets %s.",
        MAX_ROWS,
        len(not_kept),
        dict(reasons.most_common(5)),
        ranges,
    )


def _set_aside(bad: Sequence[Bad]) -> None:
    now = timezone.now()
    RejectedPing.objects.bulk_create(
        (
            RejectedPing(
                reason=each.reason,
                person_id=each.person_id,
                key=_cut(each.message.key(), MAX_KEY),
                value=_cut(each.message.value(), MAX_KEPT),
                partition=each.message.partition() or 0,
                offset=each.message.offset() or 0,
                sent_ms=each.message.timestamp()[1],
                rejected_at=now,
            )
            for each in bad
        ),
        batch_size=1000,
        ignore_conflicts=True,
    )


def _cut(data: bytes | None, most: int) -> bytes | None:
    return None if data is None else data[:most]


def _in_short(fault: Exception) -> str:
    """The first line, and nothing that a text column cannot hold."""
    lines = str(fault).replace("\0", "").splitlines() or [type(fault).__name__]
    return lines[0][:MAX_REASON]
