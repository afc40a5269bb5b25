"""Stores one batch of messages in one transaction: records the good pings, sets the bad ones aside."""

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

# Errors that one bad row can cause; the batch is bisected. Any other error propagates and rejects nothing.
DATA_ERRORS = (DataError, IntegrityError, ValueError, OverflowError)
UNKNOWN = "There is no such person."
MAX_REASON = 500
# A rejected message keeps any key that can be a person id, and any value that can be a ping. A longer value
# keeps one byte more than allowed, so a replay rejects it too.
MAX_KEY = 64
MAX_VALUE_KEPT = topic.MAX_VALUE + 1
# Rejected pings, approximately: workers check the limit concurrently.
MAX_ROWS = 1_000_000
# Timeout for a frozen writer, whose open transaction blocks the writer that takes over its partitions.
# idle_in_transaction_session_timeout ends it between two statements, but not within a COPY: the blocked
# writer terminates that session after lock_timeout.
FROZEN_S = 10

_BEGIN = """
SELECT CASE WHEN is_called THEN last_value ELSE 0 END,
       set_config('idle_in_transaction_session_timeout', %(frozen)s, true),
       set_config('lock_timeout', %(frozen)s, true)
  FROM persons_person_id_seq
"""
_TERMINATE_FROZEN = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
 WHERE datname = current_database() AND state = 'active' AND wait_event = 'ClientRead'
   AND starts_with(query, %s) AND query_start < now() - make_interval(secs => %s)
"""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Tally:
    """Counts of processed messages. `good` includes repeats, which `stored` does not."""

    good: int = 0
    stored: int = 0
    rejected: int = 0
    dropped: int = 0  # pings of deleted persons
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


class BadMessage(NamedTuple):
    """A message that cannot be stored. `person_id` is None if the message has no readable id."""

    message: Message
    person_id: int | None
    reason: str


EMPTY = prepare([])


@dataclass(slots=True)
class Batch:
    """Parsed messages: the good pings, the message of each, and the bad messages."""

    good: Prepared
    messages: list[Message]
    bad: list[BadMessage]

    @property
    def pings(self) -> Sequence[Ping]:
        return self.good.pings

    def halves(self) -> "tuple[Batch, Batch]":
        """Separates bad messages from good pings first, then splits the good pings."""
        if self.bad:
            return Batch(EMPTY, [], self.bad), Batch(self.good, self.messages, [])
        half = len(self.pings) // 2
        return (
            Batch(prepare(self.pings[:half]), self.messages[:half], []),
            Batch(prepare(self.pings[half:]), self.messages[half:], []),
        )


def parse(messages: Sequence[Message]) -> Batch:
    """Prepares messages for storing, without a database query."""
    pings, indexes = topic.decode_batch([message.value() for message in messages])
    if len(pings) == len(messages):
        return Batch(prepare(pings).with_rows(), list(messages), [])
    bad = []
    for index in sorted(set(range(len(messages))).difference(indexes)):
        decoded = topic.decode(messages[index].key(), messages[index].value())
        bad.append(BadMessage(messages[index], decoded.person_id, decoded.reason))
    return Batch(prepare(pings).with_rows(), [messages[index] for index in indexes], bad)


def store(batch: Batch) -> Tally:
    """Stores, sets aside or drops each message, in one transaction. Idempotent.

    If a row causes an error, the batch is bisected until that row is alone, and the row is set aside. Any
    other error leaves the database unchanged, or leaves some halves stored.
    """
    try:
        return _retry_lock_timeouts(batch)
    except DATA_ERRORS as error:
        if len(batch.pings) + bool(batch.bad) > 1:
            tally = Tally()
            for half in batch.halves():
                tally.add(store(half))
            return tally
        if batch.bad:
            raise  # the message could not even be set aside, so the cause is not in the message
        logger.warning("The database refuses a ping: %s", error)
        culprit = BadMessage(batch.messages[0], batch.pings[0].person_id, _short_reason(error))
        return _retry_lock_timeouts(Batch(EMPTY, [], [culprit]))


def _retry_lock_timeouts(batch: Batch) -> Tally:
    while True:
        try:
            return _in_one_transaction(batch)
        except OperationalError as error:
            if not partitions.is_lock_timeout(error):
                raise
        _terminate_frozen_copies()


def _terminate_frozen_copies() -> None:
    """Terminates sessions whose COPY has waited for its client for FROZEN_S; their inserts are rolled back.

    This can hit a writer that is only slow. That writer loses nothing and retries.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TERMINATE_FROZEN, [bulk_insert.COPY_HEAD, FROZEN_S])
        (count,) = cursor.fetchone()
    if count:
        logger.warning("Terminated %d sessions: their COPY waited %g s for its client.", count, FROZEN_S)


def _in_one_transaction(batch: Batch) -> Tally:
    # Outside the transaction: otherwise others would wait for its end.
    partitions.ensure(batch.good.months)
    with transaction.atomic():
        last_id = _begin()
        receipt = record_prepared(batch.good)
        unknown = [
            BadMessage(batch.messages[each.index], batch.pings[each.index].person_id, UNKNOWN)
            for each in receipt.refused
        ]
        bad = batch.bad + unknown
        rejected = _without_deleted_persons(bad, last_id) if bad else []
        kept = rejected[: _free_rows()] if rejected else []
        _insert_rejected(kept)
    if not_kept := rejected[len(kept) :]:
        _log_not_kept(not_kept)
    return Tally(
        good=len(batch.pings) - len(receipt.refused),
        stored=receipt.stored or 0,
        rejected=len(kept),
        dropped=len(bad) - len(rejected),
        not_kept=len(not_kept),
    )


def _begin() -> int:
    """Sets the transaction's timeouts; returns the highest person id that was ever assigned.

    It runs before the persons are read: an id that is assigned in between then counts as unknown, not as
    deleted. This SQL touches a table of persons, like locations.person_rows.
    """
    with connection.cursor() as cursor:
        cursor.execute(_BEGIN, {"frozen": f"{FROZEN_S}s"})
        last_id, *_ = cursor.fetchone()
    return int(last_id)


def _without_deleted_persons(bad: Sequence[BadMessage], last_id: int) -> list[BadMessage]:
    """Leaves out messages of deleted persons, because nothing of a deleted person is kept.

    Ids are assigned once only, and imports move the sequence. So an id up to `last_id` without a person was
    deleted, or the sequence skipped it. Both are dropped: no door accepts a ping of an unknown person. A ping
    with a higher id is kept and can be replayed once that person exists.
    """
    existing = person_rows.lock_existing(each.person_id for each in bad if each.person_id is not None)
    return [
        each
        for each in bad
        if each.person_id is None or each.person_id in existing or not 0 < each.person_id <= last_id
    ]


def _free_rows() -> int:
    """The free rows of the table. It counts the rows only if the range of ids is larger than the limit."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id) - min(id) + 1, 0) FROM rejected_pings")
        (rows,) = cursor.fetchone()
        if rows >= MAX_ROWS:
            cursor.execute("SELECT count(*) FROM rejected_pings")
            (rows,) = cursor.fetchone()
    return max(0, MAX_ROWS - int(rows))


def _log_not_kept(not_kept: Sequence[BadMessage]) -> None:
    """Logs partitions and offsets: during its retention time the topic still has these messages."""
    reasons = Counter(each.reason for each in not_kept)
    offsets: dict[int, list[int]] = {}
    for each in not_kept:
        offsets.setdefault(each.message.partition() or 0, []).append(each.message.offset() or 0)
    ranges = {partition: f"{min(found)}-{max(found)}" for partition, found in offsets.items()}
    logger.error(
        "The table of rejected pings is full (%d rows). %d rejected pings are not kept: %s, offsets %s.",
        MAX_ROWS,
        len(not_kept),
        dict(reasons.most_common(5)),
        ranges,
    )


def _insert_rejected(bad: Sequence[BadMessage]) -> None:
    now = timezone.now()
    RejectedPing.objects.bulk_create(
        (
            RejectedPing(
                reason=each.reason,
                person_id=each.person_id,
                key=_truncated(each.message.key(), MAX_KEY),
                value=_truncated(each.message.value(), MAX_VALUE_KEPT),
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


def _truncated(data: bytes | None, size: int) -> bytes | None:
    return None if data is None else data[:size]


def _short_reason(error: Exception) -> str:
    """The first line, without NUL characters, which a text column cannot hold."""
    lines = str(error).replace("\0", "").splitlines() or [type(error).__name__]
    return lines[0][:MAX_REASON]
