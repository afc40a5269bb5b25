"""The writer: from the topic into the database, a batch at a time. `manage.py consume_locations` runs it.

Lanes store, so that the next batch is taken and read meanwhile; they know nothing but the database. All that
is the group's, callbacks included, happens in the thread that steps.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, wait
from contextlib import closing
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from django.conf import settings
from django.db import Error, connection

from connect.errors import NeighbourUnavailable
from consumers import topic
from consumers.batch_store import Tally, read
from consumers.lag import Observer, Standing, Statistics
from consumers.models import RejectedPing
from consumers.state_file import StateFile
from consumers.store_workers import Lanes

SIZE = 20_000  # messages in a batch, and at most twice as many in hand
LANES = 2  # as many cores as a small machine has
AGE_S = 0.25  # how long the first of a batch waits for the others
REPORT_S = 15.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0
CLOSE_S = 10.0  # for the brokers to answer what is still asked of them

CONFIG = {
    "enable.auto.commit": False,  # only what is in the database is committed
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",  # a group that begins, begins with what was sent before
    "partition.assignment.strategy": "cooperative-sticky",
    # A writer that was killed holds its partitions for so long; brokers allow no less.
    "session.timeout.ms": 6000,
    "heartbeat.interval.ms": 2000,
    # One that hangs in a step gives them up after so long.
    "max.poll.interval.ms": 120_000,
    # What is read ahead of the batches, and so the memory that a long queue of messages takes.
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 16 * 1024,
    "fetch.max.bytes": 8 * 1024 * 1024,
    # A topic that is not found is taken for one that is still being made for so long; then it was deleted.
    "topic.metadata.propagation.max.ms": 5000,
    # How soon more is read ahead once there is room: with the usual second a writer mostly waits.
    "fetch.queue.backoff.ms": 20,
    # What the lag report is made of: without a request to the brokers.
    "statistics.interval.ms": 5000,
}

logger = logging.getLogger(__name__)
passing = logging.getLogger(f"{__name__}.passing")  # errors that repeat until they are over
passing.addFilter(topic.NowAndThen())

Partition = int
Offset = int


class _InHand(NamedTuple):
    """A batch that is being stored, or next to be."""

    ends: dict[Partition, Offset]  # where to go on after it
    storing: list[Future[Tally]]
    is_full: bool
    oldest_ms: int  # when the first of its messages was sent


class Writer:
    """One consumer of the group. It logs Kafka errors that pass, and goes on when they are over.

    `step` raises NeighbourUnavailable for a Kafka error that does not pass (BrokerRefused, or a topic that
    was deleted), and OperationalError or InterfaceError when the database is away. Nothing is lost then; the
    writer can only be closed.
    """

    def __init__(self, *, size: int = SIZE, age_s: float = AGE_S) -> None:
        self._size = size
        self._age_s = age_s
        self._mine: set[Partition] = set()
        self._written: dict[Partition, Offset] = {}  # and not yet committed: where to go on
        self._next: dict[Partition, Offset] = {}  # the first offset that is not yet stored
        self._statistics: Statistics | None = None
        self._committing = 0  # requests whose answer has not come
        self._broken: KafkaError | None = None
        self._lanes = Lanes(LANES)
        self._in_hand: deque[_InHand] = deque()
        self.total = Tally()
        config = topic.client_config(group_id=settings.KAFKA_GROUP) | CONFIG
        callbacks = {"error_cb": self._heard, "stats_cb": self._measured, "on_commit": self._committed}
        self._consumer = Consumer(config | callbacks)
        self._consumer.subscribe(
            [settings.KAFKA_TOPIC], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
        )

    def step(self) -> Tally:
        """One batch: whatever came within AGE_S, stored. After that the brokers are asked to commit it.

        One that raised was the last: what it had in hand is delivered again, but to another writer.
        """
        if not self._in_hand:
            self._take_in_hand(self._age_s)
        if self._in_hand and self._in_hand[0].is_full:  # there is more: for when the lanes are done with this
            self._take_in_hand(0)
        tally = Tally()
        if self._in_hand:
            for each in self._in_hand[0].storing:
                tally.add(each.result())
            self._note_what_is_stored(self._in_hand.popleft())
        if not self._committing:
            self._commit()
        self.total.add(tally)
        return tally

    def standing(self) -> Standing | None:
        """The lag of this writer's partitions, as of the last statistics; None before the first.

        It asks nobody. `oldest_s` is known while a batch is in hand.
        """
        if self._statistics is None:
            return None
        ends, positions = self._statistics.ends, self._statistics.positions
        unwritten = 0
        for partition in self._mine & ends.keys():
            next_ = self._next.get(partition, positions.get(partition, ends[partition]))
            unwritten += max(0, ends[partition] - next_)
        oldest_ms = min((batch.oldest_ms for batch in self._in_hand), default=None)
        oldest_s = None if oldest_ms is None else max(0.0, time.time() - oldest_ms / 1000)
        return Standing(len(self._mine), unwritten, oldest_s)

    @property
    def is_connected(self) -> bool:
        """Whether a broker was reachable at the time of the last statistics."""
        return self._statistics is None or self._statistics.is_connected

    def close(self) -> None:
        """Leaves the group, so that others need not wait until it is missed. Idempotent.

        librdkafka waits without an end for a commit that brokers that are away do not answer. So it closes in
        a thread of its own; after CLOSE_S that thread is left behind, for the process to end.
        """
        wait(storing for batch in self._in_hand for storing in batch.storing)
        closing = threading.Thread(target=self._consumer.close, name="close", daemon=True)
        closing.start()
        closing.join(CLOSE_S)
        if closing.is_alive():
            logger.warning("The brokers do not answer. They miss this writer after its session timeout.")
        self._lanes.close()
        while self._in_hand:
            for each in self._in_hand.popleft().storing:
                if each.exception() is None:
                    self.total.add(each.result())

    def _take_in_hand(self, age_s: float) -> None:
        by_lane: dict[int, list[Message]] = {}
        ends: dict[Partition, Offset] = {}
        first_ms: list[int] = []
        messages = self._take(age_s)
        for message in messages:
            partition, offset = message.partition() or 0, message.offset() or 0
            by_lane.setdefault(self._lanes.of(partition), []).append(message)
            if partition not in ends:
                first_ms.append(message.timestamp()[1])
                self._next.setdefault(partition, offset)
            ends[partition] = offset + 1
        if messages:
            storing = [self._lanes.store(lane, read(its)) for lane, its in by_lane.items()]
            is_full = len(messages) == self._size
            self._in_hand.append(_InHand(ends, storing, is_full, min(first_ms)))

    def _take(self, age_s: float) -> list[Message]:
        found = self._consumer.consume(self._size, timeout=age_s)
        if self._broken is not None:
            raise topic.unavailable(self._broken)
        for message in found:
            error = message.error()
            if error is not None:
                self._pass_or_raise(error)
        # A rebalance may have come in the midst of it: what is another's now, that one gets. The next step
        # would ask too late: it may be ours again by then, and others may have gone on meanwhile.
        return [each for each in found if each.error() is None and each.partition() in self._mine]

    def _note_what_is_stored(self, batch: _InHand) -> None:
        for partition in batch.ends.keys() & self._mine:
            self._written[partition] = max(batch.ends[partition], self._written.get(partition, 0))
            self._next[partition] = self._written[partition]

    def _commit(self) -> None:
        """Does not wait for the answer: a request to brokers that go away is repeated until they are back."""
        if not self._written:
            return
        offsets = [TopicPartition(settings.KAFKA_TOPIC, *each) for each in self._written.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as fault:
            self._pass_or_raise(fault.args[0])
        else:
            self._committing += 1

    def _pass_or_raise(self, error: KafkaError) -> None:
        """Logs an error that passes; raises NeighbourUnavailable for one that does not.

        What is stored and not committed is committed by a later step, or, after a rebalance, delivered again
        and found stored. A topic that this writer reads and that is gone was deleted: made anew it counts its
        offsets from 0, so the writer must not go on from where it was.
        """
        if self._ends_the_writer(error):
            raise topic.unavailable(error)
        passing.warning("%s: %s. The writer waits until this is over.", error.name(), error.str())

    def _ends_the_writer(self, error: KafkaError) -> bool:
        is_deleted = error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART and bool(self._mine)
        return topic.is_fatal(error) or is_deleted

    # --- called by librdkafka, within consume and close ------------------------------------------

    def _assigned(self, _consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._mine |= {each.partition for each in partitions}
        self._share_out()
        logger.info("Writes the partitions %s.", sorted(self._mine))

    def _revoked(self, _consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        for batch in self._in_hand:
            if any(each.exception() for each in batch.storing):
                break
            self._note_what_is_stored(batch)
        try:
            self._commit()
        except NeighbourUnavailable as fault:
            logger.info("Not committed, so others will write it again: %s", fault)
        self._lost(_consumer, partitions)

    def _lost(self, _consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        for each in partitions:
            self._mine.discard(each.partition)
            self._written.pop(each.partition, None)
            self._next.pop(each.partition, None)
            for batch in self._in_hand:  # another writer commits for this partition now
                batch.ends.pop(each.partition, None)
        self._share_out()
        logger.info("Writes the partitions %s.", sorted(self._mine))

    def _share_out(self) -> None:
        wait(storing for batch in self._in_hand for storing in batch.storing)
        self._lanes.share_out(self._mine)

    def _committed(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        self._committing -= 1
        for each in partitions:
            fault = error or each.error
            if fault is None:
                if self._written.get(each.partition) == each.offset:
                    del self._written[each.partition]
            elif self._ends_the_writer(fault):
                self._broken = fault
            else:
                passing.warning("%s: %s. It is committed later.", fault.name(), fault.str())

    def _heard(self, error: KafkaError) -> None:
        """Errors outside of messages. librdkafka reports a deleted topic either here or in a message."""
        if self._ends_the_writer(error):
            self._broken = error
        else:
            passing.warning("%s: %s", error.name(), error.str())

    def _measured(self, text: str) -> None:
        """An exception in a callback would come out of `consume` and end the writer."""
        try:
            self._statistics = Statistics.parse(text)
        except (ValueError, KeyError, TypeError, AttributeError) as fault:
            passing.warning("statistics: not read: %r", fault)


# --- running it ----------------------------------------------------------------------------------


def wait_for_world(asked_to_stop: threading.Event, state: StateFile) -> bool:
    """Until the database has its tables and the broker its topic; False when asked to stop meanwhile.

    A process that starts again after a fault so does not run into it again and again. Raises BrokerRefused
    for wrong credentials. Rights may still be on their way: the job that makes the topic grants them.
    """
    pause_s = FIRST_PAUSE_S
    while not asked_to_stop.is_set():
        state.say("waiting")
        missing = what_is_missing()
        if missing is None:
            return True
        logger.warning("Waiting %.1f s: %s", pause_s, missing)
        asked_to_stop.wait(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    return False


def what_is_missing() -> str | None:
    heard: list[KafkaError] = []
    try:
        RejectedPing.objects.exists()
        client = topic.admin(error_cb=heard.append)
        topic.partitions_of(client)
    except Error as fault:
        return f"database: {fault}".strip()
    except NeighbourUnavailable as fault:
        client.poll(0)  # a request that times out does not say why; the callback does
        if refusal := next(filter(topic.is_fatal, heard), None):
            raise topic.unavailable(refusal) from fault
        return f"broker: {fault}"
    finally:
        connection.close()  # the writer stores by another thread's
    return None


class Run:
    """Steps until it is asked to stop, or until all that was there is written; reports its progress."""

    def __init__(self, writer: Writer, state: StateFile) -> None:
        self._writer = writer
        self._state = state
        self._report_at = 0.0
        self._reported = -1

    def until_stopped(self, asked_to_stop: threading.Event) -> None:
        while not asked_to_stop.is_set():
            self._writer.step()
            self._report()

    def until_empty(self, asked_to_stop: threading.Event) -> bool:
        """Until no writer of the group has anything to store; False when asked to stop before.

        Only this asks the brokers for the lag of the whole group: it raises NeighbourUnavailable.
        """
        with closing(Observer()) as observer:
            while not asked_to_stop.is_set():
                tally = self._writer.step()
                self._report()
                if not tally.messages and not observer.look().unwritten:
                    return True
        return False

    def close(self) -> None:
        self._say("stopped", at_once=True)

    def _report(self) -> None:
        """Cheap, and without a request: it is made after every step."""
        self._say("writing" if self._writer.is_connected else "waiting")
        now = time.monotonic()
        standing = self._writer.standing()
        if standing is None or now < self._report_at:
            return
        self._report_at = now + REPORT_S
        total = self._writer.total
        if standing.unwritten or total.messages != self._reported:
            logger.info("%s; %s", total, standing)
        self._reported = total.messages

    def _say(self, doing: str, *, at_once: bool = False) -> None:
        total, standing = self._writer.total, self._writer.standing()
        self._state.say(
            doing,
            at_once=at_once,
            stored=total.stored,
            rejected=total.rejected,
            dropped=total.dropped,
            unwritten=standing.unwritten if standing else None,
            oldest_s=standing.oldest_s if standing else None,
        )
