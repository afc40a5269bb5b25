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
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from django.conf import settings
from django.db import Error, connection

from connect.neighbours import NeighbourUnavailable
from consumers import topic
from consumers.lanes import Lanes
from consumers.models import RejectedPing
from consumers.standing import Observer, Standing
from consumers.state_file import StateFile
from consumers.storing import Tally, read

SIZE = 20_000  # messages in a batch, and at most twice as many in hand
LANES = 2  # as many cores as a small machine has
AGE_S = 0.25  # how long the first of a batch waits for the others
REPORT_S = 15.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0

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
    # How soon more is read ahead once there is room: with the usual second a writer mostly waits.
    "fetch.queue.backoff.ms": 20,
}

# The group went on without this writer: what it has not committed is delivered again, to whom it belongs now.
_MOVED_ON = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.FENCED_MEMBER_EPOCH,
    KafkaError.STALE_MEMBER_EPOCH,
    KafkaError._ASSIGNMENT_LOST,  # noqa: SLF001 - librdkafka's own codes begin so
}
_GONE_BY = {KafkaError._MAX_POLL_EXCEEDED, KafkaError._PARTITION_EOF}  # noqa: SLF001

logger = logging.getLogger(__name__)

Partition = int
Offset = int


class _InHand(NamedTuple):
    """A batch that is being stored, or next to be."""

    ends: dict[Partition, Offset]  # where to go on after it
    storing: list[Future[Tally]]
    is_full: bool


class Writer:
    """One of the group. Raises NeighbourUnavailable, OperationalError or InterfaceError in a broken world.

    Then nothing is lost, and nothing is to be done with it but to close it and to make another.
    """

    def __init__(self, *, size: int = SIZE, age_s: float = AGE_S) -> None:
        self._size = size
        self._age_s = age_s
        self._mine: set[Partition] = set()
        self._written: dict[Partition, Offset] = {}  # and not yet committed: where to go on
        self._broken: KafkaError | None = None
        self._lanes = Lanes(LANES)
        self._in_hand: deque[_InHand] = deque()
        self.total = Tally()
        config = topic.client_config(group_id=settings.KAFKA_GROUP) | CONFIG
        self._consumer = Consumer(config | {"error_cb": self._heard})
        self._consumer.subscribe(
            [settings.KAFKA_TOPIC], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
        )

    def step(self) -> Tally:
        """One batch: whatever came within AGE_S, stored, and committed after that.

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
        self._commit()
        self.total.add(tally)
        return tally

    def close(self) -> None:
        """Leaves the group, so that others need not wait until it is missed. Idempotent."""
        self._consumer.close()
        self._lanes.close()
        while self._in_hand:
            for each in self._in_hand.popleft().storing:
                if each.exception() is None:
                    self.total.add(each.result())

    def _take_in_hand(self, age_s: float) -> None:
        by_lane: dict[int, list[Message]] = {}
        ends: dict[Partition, Offset] = {}
        messages = self._take(age_s)
        for message in messages:
            partition = message.partition() or 0
            by_lane.setdefault(self._lanes.of(partition), []).append(message)
            ends[partition] = (message.offset() or 0) + 1
        if messages:
            storing = [self._lanes.store(lane, read(its)) for lane, its in by_lane.items()]
            self._in_hand.append(_InHand(ends, storing, is_full=len(messages) == self._size))

    def _take(self, age_s: float) -> list[Message]:
        found = self._consumer.consume(self._size, timeout=age_s)
        if self._broken is not None:
            raise topic.unavailable(self._broken)
        for message in found:
            error = message.error()
            if error is not None and error.code() not in _GONE_BY:
                raise topic.unavailable(error)
        # A rebalance may have come in the midst of it: what is another's now, that one gets. The next step
        # would ask too late: it may be ours again by then, and others may have gone on meanwhile.
        return [each for each in found if each.error() is None and each.partition() in self._mine]

    def _note_what_is_stored(self, batch: _InHand) -> None:
        for partition in batch.ends.keys() & self._mine:
            self._written[partition] = max(batch.ends[partition], self._written.get(partition, 0))

    def _commit(self) -> None:
        if not self._written:
            return
        offsets = [TopicPartition(settings.KAFKA_TOPIC, *each) for each in self._written.items()]
        try:
            answers = self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as fault:
            self._not_committed(fault.args[0])
            return
        for each in answers or ():
            if each.error is not None:
                self._not_committed(each.error)
            else:
                self._written.pop(each.partition, None)

    def _not_committed(self, error: KafkaError) -> None:
        """What is still this writer's is committed with the next step; all of it is stored anyway."""
        if error.code() not in _MOVED_ON:
            raise topic.unavailable(error)
        logger.info("Not committed, the group is being shared out anew: %s", error.str())

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
        self._share_out()
        logger.info("Writes the partitions %s.", sorted(self._mine))

    def _share_out(self) -> None:
        wait(storing for batch in self._in_hand for storing in batch.storing)
        self._lanes.share_out(self._mine)

    def _heard(self, error: KafkaError) -> None:
        if error.fatal() or error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self._broken = error


# --- running it ----------------------------------------------------------------------------------


def wait_for_world(asked_to_stop: threading.Event, state: StateFile) -> bool:
    """Until the database has its tables and the broker its topic; False when asked to stop meanwhile.

    A process that starts again after a fault so does not run into it again and again.
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
    try:
        RejectedPing.objects.exists()
        topic.partitions_of(topic.admin())
    except Error as fault:
        return f"database: {fault}".strip()
    except NeighbourUnavailable as fault:
        return f"broker: {fault}"
    finally:
        connection.close()  # the writer stores by another thread's
    return None


class Run:
    """Steps until it is asked to stop, or until all that was there is written; tells how far it is."""

    def __init__(self, writer: Writer, state: StateFile) -> None:
        self._writer = writer
        self._state = state
        self._observer = Observer()
        self._standing: Standing | None = None
        self._report_at = 0.0
        self._reported = -1

    def until_stopped(self, asked_to_stop: threading.Event) -> None:
        while not asked_to_stop.is_set():
            self._writer.step()
            if time.monotonic() >= self._report_at:
                self._report()
            self._say("writing")

    def until_empty(self, asked_to_stop: threading.Event) -> bool:
        """False when asked to stop before."""
        while not asked_to_stop.is_set():
            tally = self._writer.step()
            self._say("writing")
            if not tally.messages:
                self._report()
                if self._standing is not None and not self._standing.unwritten:
                    return True
        return False

    def close(self) -> None:
        self._say("stopped", at_once=True)
        self._observer.close()

    def _report(self) -> None:
        self._standing = self._observer.look()
        self._report_at = time.monotonic() + REPORT_S
        total = self._writer.total
        if self._standing.unwritten or total.messages != self._reported:
            logger.info("%s; %s", total, self._standing)
        self._reported = total.messages

    def _say(self, doing: str, *, at_once: bool = False) -> None:
        total = self._writer.total
        self._state.say(
            doing,
            at_once=at_once,
            stored=total.stored,
            rejected=total.rejected,
            dropped=total.dropped,
            unwritten=self._standing.unwritten if self._standing else None,
            oldest_s=self._standing.oldest_s if self._standing else None,
        )
