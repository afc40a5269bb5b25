"""The Kafka side of the finder: reads the topic of pings, shares the work with other finders, checkpoints.

Every finder reads all partitions, because near people can be in different ones. The consumer group only
divides the work: partition p of n stands for the pairs whose smaller id is p modulo n. A checkpoint is the
metadata of a committed offset: the watermark, and the next offset of every partition. All pings before these
offsets are then in the engine, after it or stored, and all encounters that ended are stored.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from django.conf import settings

from connect.errors import NeighbourUnavailable
from connect.logs import throttled
from connect.wire_format import to_microseconds
from consumers import topic
from consumers.kafka_consumer import MEMBER, PREFETCH, READER, Errors, close
from consumers.topic import BrokerRefused
from encounters import storage
from encounters.backfill import Progress
from encounters.finder import STEP_S, Finder
from encounters.messages import Publisher
from encounters.rows import PING, Rows
from encounters.scope import Scope

BATCH_SIZE = 20_000  # messages
REPAIR_S = 5.0
WRITER_TIMEOUT_S = 2.0  # how long repairs wait for the writers to store what was read
POLL_S = 0.05
FIRST_US = 24 * 60 * 60 * 1_000_000  # the time before its first start for which the finder finds encounters
MAX_SKEW_US = 30 * 1_000_000  # a partition that is further ahead of the others is paused

_MEMBER = MEMBER | {"max.poll.interval.ms": 300_000}

logger = logging.getLogger(__name__)
transient = throttled(f"{__name__}.transient")

Partition = int
Offset = int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The watermark in microseconds, and the next offset of each partition.

    The first one also says that the encounters of the day before are to be found.
    """

    watermark: int
    offsets: Mapping[Partition, Offset]
    is_first: bool = False

    def __str__(self) -> str:
        offsets = ",".join(str(self.offsets[each]) for each in sorted(self.offsets))
        return f"{self.watermark};{offsets}{';first' if self.is_first else ''}"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        watermark, offsets, *first = text.split(";")
        return cls(int(watermark), dict(enumerate(map(int, offsets.split(",")))), bool(first))

    @classmethod
    def earliest(cls, checkpoints: Sequence["Checkpoint"]) -> "Checkpoint":
        """Of each partition. One that a checkpoint lacks was added later and is read from its beginning."""
        partitions = {partition for each in checkpoints for partition in each.offsets}
        return cls(
            min(each.watermark for each in checkpoints),
            {
                partition: min(each.offsets.get(partition, 0) for each in checkpoints)
                for partition in partitions
            },
            any(each.is_first for each in checkpoints),
        )


class Stream:
    """One finder of the group. `step` raises as Writer.step does; nothing is lost then."""

    def __init__(self, alive: Callable[[str], None]) -> None:
        """`alive` is called often, with what it does: `waiting` or `finding`."""
        self._alive = alive
        self._errors = Errors(transient, "finder", lambda: bool(self._shards))
        self._finder: Finder | None = None
        self._repairing: Iterator[Progress] | None = None
        self._noted = Checkpoint(0, {})
        self._shards: frozenset[Partition] = frozenset()
        self._offsets: dict[Partition, Offset] = {}
        self._sent_us: dict[Partition, int] = {}  # when the last message was sent
        self._paused: set[Partition] = set()
        self._step_at = self._repair_at = 0.0
        self._publisher = Publisher()
        self._writers = Consumer(topic.client_config(group_id=settings.KAFKA_GROUP) | READER)
        group = topic.client_config(group_id=settings.KAFKA_FINDER_GROUP)
        group |= {"error_cb": self._errors.on_error}
        self._reader = Consumer(group | READER | PREFETCH)
        self._member = Consumer(group | _MEMBER | {"on_commit": self._errors.on_commit})
        self._member.subscribe(
            [settings.KAFKA_TOPIC],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )

    def step(self) -> int:
        """Takes the messages of a moment, and stores what they change. Returns the number of messages."""
        self._keep_membership()
        if not self._shards:
            self._alive("waiting")
            self._member.poll(POLL_S)
            return 0
        if self._finder is None and not self._can_begin():
            self._alive("waiting")
            time.sleep(POLL_S)
            return 0
        self._alive("finding")
        assert self._finder is not None  # noqa: S101 - begun
        due = min(self._step_at, self._repair_at)  # a repair in parts is due at once
        messages = self._consume(max(0.0, due - time.monotonic()))
        if messages:
            self._finder.take(_columns(messages))
        now = time.monotonic()
        if now >= self._step_at:
            self._finder.advance(max(self._finder.watermark, self._watermark()))
            self._step_at = now + STEP_S
        if now >= self._repair_at:
            storage.tell_forgotten(self._publisher.forget)
            self._repair_at = time.monotonic() + REPAIR_S
            self._checkpoint()
        return len(messages)

    def close(self) -> None:
        for each in (self._member, self._reader, self._writers):
            close(each)

    # --- the beginning -------------------------------------------------------------------------------

    def _can_begin(self) -> bool:
        try:
            return self._begin()
        except KafkaException as error:
            if topic.is_fatal(error.args[0]):
                raise topic.unavailable(error) from error
            transient.warning("%s", error)
        except BrokerRefused:
            raise
        except NeighbourUnavailable as error:
            transient.warning("%s", error)
        return False

    def _begin(self) -> bool:
        """Starts at the earliest checkpoint of its shards; False if the writers have not got that far."""
        partitions = topic.partitions_of(self._reader)
        written = self._written(partitions)
        committed = self._member.committed(_of_topic(self._shards), timeout=settings.KAFKA_TIMEOUT_S)
        new = {each.partition for each in committed if not each.metadata}
        first = Checkpoint(_now_us() - _lateness_us(), written, is_first=True)
        if new:
            # Before anything is found: what is stored from now on is also told, whenever this process dies.
            self._member.commit(offsets=_commits(first, new), asynchronous=False)
        checkpoint = Checkpoint.earliest(
            [Checkpoint.parse(each.metadata) if each.metadata else first for each in committed]
        )
        if any(written[each] < checkpoint.offsets.get(each, 0) for each in partitions):
            transient.warning("Waits until the writers have stored what was found.")
            return False
        self._offsets = {
            each: max(checkpoint.offsets.get(each, 0), self._first_offset(each)) for each in partitions
        }
        self._sent_us, self._paused = {}, set()
        self._reader.assign(_of_topic(self._offsets))
        scope = Scope(self._shards, len(partitions))
        self._finder = Finder(
            scope,
            watermark=checkpoint.watermark,
            tell=self._publisher.tell,
            find_from=checkpoint.watermark - FIRST_US if checkpoint.is_first else None,
        )
        logger.info("Finds the encounters of the shares %s of %d.", sorted(self._shards), len(partitions))
        return True

    def _first_offset(self, partition: Partition) -> Offset:
        each = TopicPartition(settings.KAFKA_TOPIC, partition)
        first, _ = self._reader.get_watermark_offsets(each, timeout=settings.KAFKA_TIMEOUT_S)
        return int(first)

    def _written(self, partitions: Sequence[Partition]) -> dict[Partition, Offset]:
        """The offsets up to which the writers have stored the pings; 0 if they have stored none."""
        found = self._writers.committed(_of_topic(partitions), timeout=settings.KAFKA_TIMEOUT_S)
        return {each.partition: max(0, each.offset) for each in found}

    # --- messages ------------------------------------------------------------------------------------

    def _consume(self, timeout_s: float) -> list[Message]:
        found = self._errors.good(self._reader.consume(BATCH_SIZE, timeout=timeout_s))
        for message in found:
            partition = message.partition() or 0
            self._offsets[partition] = (message.offset() or 0) + 1
            # A producer's clock may be ahead.
            self._sent_us[partition] = min(message.timestamp()[1] * 1000, _now_us())
        self._pause()
        return found

    def _pause(self) -> None:
        """Lets no partition run far ahead of the others, because its pings would be kept in memory."""
        times = self._times()
        limit = min(times.values()) + MAX_SKEW_US
        ahead = {each for each, sent in times.items() if sent > limit and not self._is_drained(each)}
        if ahead != self._paused:
            self._reader.resume(_of_topic(self._paused - ahead))
            self._reader.pause(_of_topic(ahead - self._paused))
            self._paused = ahead

    def _times(self) -> dict[Partition, int]:
        """For each partition the time up to which its messages were read: now, if there are no more."""
        now = _now_us()
        return {each: now if self._is_drained(each) else self._sent_us.get(each, 0) for each in self._offsets}

    def _is_drained(self, partition: Partition) -> bool:
        each = TopicPartition(settings.KAFKA_TOPIC, partition)
        _, end = self._reader.get_watermark_offsets(each, cached=True)
        return 0 <= end <= self._offsets[partition]

    def _watermark(self) -> int:
        return min(self._times().values()) - _lateness_us()

    # --- repairs and checkpoints -----------------------------------------------------------------------

    def _checkpoint(self) -> None:
        """Repairs a part of what late pings changed. After the last part, commits the state before the first.

        So new pings are taken between two parts.
        """
        finder = self._finder
        assert finder is not None  # noqa: S101 - begun
        if self._repairing is None:
            finder.find_overdue()
            self._noted = Checkpoint(finder.watermark, dict(self._offsets), finder.is_first)
            if finder.has_repairs:
                self._repairing = finder.repair(beat=lambda: self._alive("finding"))
        if self._repairing is not None:
            if not self._wait_for_writers():
                return
            for _ in self._repairing:
                self._repair_at = time.monotonic()  # go on in the next step
                return
            self._repairing = None
        self._commit(self._noted)

    def _commit(self, checkpoint: Checkpoint) -> None:
        with self._errors.handled():
            self._member.commit(offsets=_commits(checkpoint, self._shards), asynchronous=True)

    def _wait_for_writers(self) -> bool:
        """Whether the writers have stored what was read; waits up to WRITER_TIMEOUT_S."""
        deadline = time.monotonic() + WRITER_TIMEOUT_S
        while not self._is_written(sorted(self._offsets)):
            if time.monotonic() > deadline:
                transient.warning("Late pings wait for the writers.")
                return False
            time.sleep(POLL_S)
        return True

    def _is_written(self, partitions: Sequence[Partition]) -> bool:
        try:
            written = self._written(partitions)
        except KafkaException as error:
            transient.warning("%s", error)
            return False
        return all(written[each] >= self._offsets[each] for each in partitions)

    # --- the group -----------------------------------------------------------------------------------

    def _keep_membership(self) -> None:
        message = self._member.poll(0)
        self._errors.good([] if message is None else [message])

    def _on_assign(self, member: Consumer, partitions: Sequence[TopicPartition]) -> None:
        member.assign(list(partitions))
        member.pause(list(partitions))  # the reader reads
        self._restart(frozenset(each.partition for each in partitions))

    def _on_revoke(self, member: Consumer, _partitions: Sequence[TopicPartition]) -> None:
        member.unassign()
        self._restart(frozenset())

    def _restart(self, shards: frozenset[Partition]) -> None:
        self._shards = shards
        self._finder = None
        self._repairing = None  # the next owner repairs


def _of_topic(partitions: Any) -> list[TopicPartition]:
    """Takes partitions, or a mapping of partitions to offsets."""
    if isinstance(partitions, Mapping):
        return [TopicPartition(settings.KAFKA_TOPIC, *each) for each in partitions.items()]
    return [TopicPartition(settings.KAFKA_TOPIC, each) for each in sorted(partitions)]


def _commits(checkpoint: Checkpoint, shards: Collection[Partition]) -> list[TopicPartition]:
    return [
        TopicPartition(settings.KAFKA_TOPIC, each, checkpoint.offsets[each], metadata=str(checkpoint))
        for each in shards
    ]


def _columns(messages: Sequence[Message]) -> Rows:
    """The valid pings of messages (PING), in their order; the writers set the others aside."""
    pings, _ = topic.decode_batch([message.value() for message in messages])
    rows = [
        (each.person_id, to_microseconds(each.creation_time), each.latitude, each.longitude) for each in pings
    ]
    return np.array(rows, PING)


def _now_us() -> int:
    return time.time_ns() // 1000


def _lateness_us() -> int:
    return round(settings.ENCOUNTERS_LATENESS_S * 1_000_000)
