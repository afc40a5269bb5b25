"""The writer: stores the topic's messages in the database, batch by batch. See `manage.py consume_locations`.

StoreWorkers only use the database. The Kafka client and all its callbacks run in the thread that calls
`step`, which fetches and parses the next batch meanwhile.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, wait
from contextlib import closing
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from django.conf import settings

from connect.errors import NeighbourUnavailable
from connect.logs import throttled
from consumers import dependencies, kafka_consumer, topic
from consumers.batch_store import Tally, parse
from consumers.lag import Lag, Observer, Statistics
from consumers.models import RejectedPing
from consumers.state_file import StateFile
from consumers.store_workers import StoreWorkers

BATCH_SIZE = 20_000  # messages; at most two batches are in flight
WORKERS = 2  # as many as a small machine has cores
BATCH_AGE_S = 0.25  # how long a batch waits for more messages
REPORT_S = 15.0

CONFIG = {
    **kafka_consumer.MEMBER,
    **kafka_consumer.PREFETCH,
    "partition.assignment.strategy": "cooperative-sticky",
    # The writer computes its lag from these statistics, without a request to the brokers.
    "statistics.interval.ms": 5000,
}

logger = logging.getLogger(__name__)
transient = throttled(f"{__name__}.transient")

Partition = int
Offset = int


class _InFlight(NamedTuple):
    """A batch that was handed to the workers."""

    ends: dict[Partition, Offset]  # the offsets after its last messages
    storing: list[Future[Tally]]
    is_full: bool
    oldest_ms: int  # send time of its oldest message


class Writer:
    """One consumer of the group. It logs transient Kafka errors and continues after them.

    `step` raises NeighbourUnavailable for a permanent Kafka error (BrokerRefused, or the topic was deleted),
    and OperationalError or InterfaceError if the database is unavailable. Nothing is lost then, but the
    writer can only be closed.
    """

    def __init__(self, *, size: int = BATCH_SIZE, age_s: float = BATCH_AGE_S) -> None:
        self._size = size
        self._age_s = age_s
        self._partitions: set[Partition] = set()
        self._uncommitted: dict[Partition, Offset] = {}  # next offsets that are stored but not committed
        self._next_offsets: dict[Partition, Offset] = {}  # the first offsets that are not stored
        self._statistics: Statistics | None = None
        self._pending_commits = 0  # commit requests without an answer
        self._errors = kafka_consumer.Errors(transient, "writer", lambda: bool(self._partitions))
        self._workers = StoreWorkers(WORKERS)
        self._in_flight: deque[_InFlight] = deque()
        self.total = Tally()
        config = topic.client_config(group_id=settings.KAFKA_GROUP) | CONFIG
        callbacks = {
            "error_cb": self._errors.on_error,
            "stats_cb": self._on_statistics,
            "on_commit": self._on_commit,
        }
        self._consumer = Consumer(config | callbacks)
        self._consumer.subscribe(
            [settings.KAFKA_TOPIC],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def step(self) -> Tally:
        """Stores one batch, the messages of up to BATCH_AGE_S, then requests the commit of its offsets.

        After an exception do not call it again: another writer gets the batches in flight.
        """
        if not self._in_flight:
            self._start_batch(self._age_s)
        if self._in_flight and self._in_flight[0].is_full:  # more messages wait: prepare the next batch
            self._start_batch(0)
        tally = Tally()
        if self._in_flight:
            for each in self._in_flight[0].storing:
                tally.add(each.result())
            self._mark_stored(self._in_flight.popleft())
        if not self._pending_commits:
            self._commit()
        self.total.add(tally)
        return tally

    def lag(self) -> Lag | None:
        """The lag of this writer's partitions, from the last statistics; None before the first.

        It makes no request. `oldest_s` is known only while a batch is in flight.
        """
        if self._statistics is None:
            return None
        ends, positions = self._statistics.ends, self._statistics.positions
        unwritten = 0
        for partition in self._partitions & ends.keys():
            next_ = self._next_offsets.get(partition, positions.get(partition, ends[partition]))
            unwritten += max(0, ends[partition] - next_)
        oldest_ms = min((batch.oldest_ms for batch in self._in_flight), default=None)
        oldest_s = None if oldest_ms is None else max(0.0, time.time() - oldest_ms / 1000)
        return Lag(len(self._partitions), unwritten, oldest_s)

    @property
    def partitions(self) -> frozenset[Partition]:
        """The partitions that are assigned to this writer."""
        return frozenset(self._partitions)

    @property
    def is_connected(self) -> bool:
        """Whether a broker was connected at the time of the last statistics."""
        return self._statistics is None or self._statistics.is_connected

    def close(self) -> None:
        """Leaves the group, so that other writers take over without the session timeout. Idempotent."""
        wait(storing for batch in self._in_flight for storing in batch.storing)
        kafka_consumer.close(self._consumer)
        self._workers.close()
        while self._in_flight:
            for each in self._in_flight.popleft().storing:
                if each.exception() is None:
                    self.total.add(each.result())

    def _start_batch(self, age_s: float) -> None:
        by_worker: dict[int, list[Message]] = {}
        ends: dict[Partition, Offset] = {}
        first_ms: list[int] = []
        messages = self._consume(age_s)
        for message in messages:
            partition, offset = message.partition() or 0, message.offset() or 0
            by_worker.setdefault(self._workers.worker_of(partition), []).append(message)
            if partition not in ends:
                first_ms.append(message.timestamp()[1])
                self._next_offsets.setdefault(partition, offset)
            ends[partition] = offset + 1
        if messages:
            storing = [self._workers.store(worker, parse(part)) for worker, part in by_worker.items()]
            is_full = len(messages) == self._size
            self._in_flight.append(_InFlight(ends, storing, is_full, min(first_ms)))

    def _consume(self, age_s: float) -> list[Message]:
        found = self._errors.good(self._consumer.consume(self._size, timeout=age_s))
        # A rebalance within consume() may have revoked a partition: its new writer gets these messages.
        # Checked now, because the next step may find the partition assigned again, after another writer has
        # advanced.
        return [each for each in found if each.partition() in self._partitions]

    def _mark_stored(self, batch: _InFlight) -> None:
        for partition in batch.ends.keys() & self._partitions:
            self._uncommitted[partition] = max(batch.ends[partition], self._uncommitted.get(partition, 0))
            self._next_offsets[partition] = self._uncommitted[partition]

    def _commit(self) -> None:
        """Does not wait for the answer: librdkafka repeats the request until the brokers are back.

        After a transient error a later step commits again. After a rebalance the messages are delivered again
        and count as repeats.
        """
        if not self._uncommitted:
            return
        offsets = [TopicPartition(settings.KAFKA_TOPIC, *each) for each in self._uncommitted.items()]
        with self._errors.handled():
            self._consumer.commit(offsets=offsets, asynchronous=True)
            self._pending_commits += 1

    # --- callbacks of librdkafka, called within consume() and close() ----------------------------

    def _on_assign(self, _consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._partitions |= {each.partition for each in partitions}
        self._assign_workers()
        logger.info("Writes the partitions %s.", sorted(self._partitions))

    def _on_revoke(self, _consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        for batch in self._in_flight:
            if any(each.exception() for each in batch.storing):
                break
            self._mark_stored(batch)
        try:
            self._commit()
        except NeighbourUnavailable as error:
            logger.info("Not committed, so other writers will store it again: %s", error)
        self._on_lost(_consumer, partitions)

    def _on_lost(self, _consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        for each in partitions:
            self._partitions.discard(each.partition)
            self._uncommitted.pop(each.partition, None)
            self._next_offsets.pop(each.partition, None)
            for batch in self._in_flight:  # another writer commits for this partition now
                batch.ends.pop(each.partition, None)
        self._assign_workers()
        logger.info("Writes the partitions %s.", sorted(self._partitions))

    def _assign_workers(self) -> None:
        wait(storing for batch in self._in_flight for storing in batch.storing)
        self._workers.assign(self._partitions)

    def _on_commit(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        self._pending_commits -= 1
        self._errors.on_commit(error, partitions)
        for each in partitions:
            is_committed = error is None and each.error is None
            if is_committed and self._uncommitted.get(each.partition) == each.offset:
                del self._uncommitted[each.partition]

    def _on_statistics(self, text: str) -> None:
        """Logs a parse error, because consume() would raise it and end the writer."""
        try:
            self._statistics = Statistics.parse(text)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            transient.warning("statistics: not read: %r", error)


# --- running it ----------------------------------------------------------------------------------


def missing_dependency() -> str | None:
    """The missing dependency of a writer with the error; None if all are available. Raises BrokerRefused."""
    return dependencies.missing(RejectedPing, settings.KAFKA_TOPIC)


class WriterLoop:
    """Steps a writer until a stop is requested or the topic is empty, and reports its progress."""

    def __init__(self, writer: Writer, state: StateFile) -> None:
        self._writer = writer
        self._state = state
        self._report_at = 0.0
        self._reported_messages = -1

    def until_stopped(self, stop_requested: threading.Event) -> None:
        while not stop_requested.is_set():
            self._writer.step()
            self._report()

    def until_empty(self, stop_requested: threading.Event) -> bool:
        """Runs until the whole group has no lag; False if a stop is requested before.

        Only this asks the brokers for the lag of the group; it raises NeighbourUnavailable.
        """
        with closing(Observer()) as observer:
            while not stop_requested.is_set():
                tally = self._writer.step()
                self._report()
                if not tally.messages and not observer.look().unwritten:
                    return True
        return False

    def close(self) -> None:
        self._update_state("stopped", force=True)

    def _report(self) -> None:
        """Called after every step, so it is cheap and makes no request."""
        self._update_state("writing" if self._writer.is_connected else "waiting")
        now = time.monotonic()
        lag = self._writer.lag()
        if lag is None or now < self._report_at:
            return
        self._report_at = now + REPORT_S
        total = self._writer.total
        if lag.unwritten or total.messages != self._reported_messages:
            logger.info("%s; %s", total, lag)
        self._reported_messages = total.messages

    def _update_state(self, doing: str, *, force: bool = False) -> None:
        total, lag = self._writer.total, self._writer.lag()
        self._state.update(
            doing,
            force=force,
            stored=total.stored,
            rejected=total.rejected,
            dropped=total.dropped,
            unwritten=lag.unwritten if lag else None,
            oldest_s=lag.oldest_s if lag else None,
        )
