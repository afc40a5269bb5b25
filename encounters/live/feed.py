"""Reads the topics of pings and of encounters and makes the events. One thread per process, no group.

It begins with the messages of the last minutes, so that readers can resume here who were at another process
or at this one before it started.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from django.conf import settings

from connect.errors import NeighbourUnavailable
from connect.logs import throttled
from connect.wire_format import to_microseconds
from consumers import topic
from consumers.kafka_consumer import PREFETCH, READER, Errors
from encounters.live import people
from encounters.live.events import Event, Meeting, Position, Positions
from encounters.live.ring import KEEP_MS
from encounters.messages import ENDED, ONGOING
from locations.pings import Ping

BATCH_SIZE = 10_000  # messages
BATCH_S = 0.1  # events are handed over so often at most
TICK_S = 1.0  # between two events with positions
RETRY_S = 1.0
OLDEST_S, NEWEST_S = 120, 60  # a ping is live if it was sent so soon after its time, or so soon before it
MAX_KNOWN = 1_000_000  # people whose newest position is remembered

_CONFIG = READER | PREFETCH | {"enable.partition.eof": True}

logger = logging.getLogger(__name__)
transient = throttled(f"{__name__}.transient")

Partition = tuple[str, int]


class Feed(threading.Thread):
    """`publish` is called with the events of a moment, first with all of the last minutes."""

    def __init__(self, publish: Callable[[list[Event]], None]) -> None:
        super().__init__(name="live", daemon=True)
        self._publish = publish
        self._is_filled = False
        self._offsets: dict[Partition, int] = {}  # of the next messages
        self._seconds: dict[int, dict[int, Ping]] = {}  # the positions of each second, by person
        self._newest_ms = 0  # when the newest of them was sent
        self._told_us: dict[int, int] = {}  # the time of the newest position of each person
        self._tick_at = 0.0

    def run(self) -> None:
        while True:
            try:
                self._follow()
            except NeighbourUnavailable as error:
                transient.warning("%s", error)
            except KafkaException as error:
                transient.warning("%s", topic.unavailable(error))
            except Exception:
                logger.exception("The events cannot be read.")
            time.sleep(RETRY_S)

    def _follow(self) -> None:
        config = topic.client_config(group_id=topic.LIVE_GROUP) | _CONFIG
        errors = Errors(transient, "live feed")
        consumer = Consumer(config | {"error_cb": errors.on_error})
        try:
            to_fill = self._begin(consumer)
            meetings: list[Meeting] = []
            while True:
                messages = consumer.consume(BATCH_SIZE, timeout=BATCH_S)
                errors.raise_kept()
                to_fill -= self._ended(messages, errors)
                meetings += self._take([message for message in messages if message.error() is None])
                if to_fill:
                    continue
                if not self._is_filled:
                    self._fill(meetings)
                else:
                    self._hand_over([*meetings, *self._positions_of_tick()])
                meetings = []
        finally:
            consumer.close()

    def _begin(self, consumer: Consumer) -> set[Partition]:
        """Assigns all partitions, at first from KEEP_MS ago. Returns those to be read to their end."""
        timeout_s = settings.KAFKA_TIMEOUT_S
        found = [
            TopicPartition(name, partition, int(time.time() * 1000) - KEEP_MS)
            for name in (settings.KAFKA_TOPIC, settings.KAFKA_ENCOUNTERS_TOPIC)
            for partition in topic.partitions_of(consumer, name)
        ]
        ends = {_key(each): consumer.get_watermark_offsets(each, timeout=timeout_s)[1] for each in found}
        for each in consumer.offsets_for_times(found, timeout=timeout_s):
            if each.error is not None:
                raise topic.unavailable(each.error)
            self._offsets.setdefault(_key(each), each.offset if each.offset >= 0 else ends[_key(each)])
        consumer.assign([TopicPartition(*key, offset) for key, offset in self._offsets.items()])
        return set() if self._is_filled else set(self._offsets)

    def _ended(self, messages: Sequence[Message], errors: Errors) -> set[Partition]:
        """The partitions that have no more messages. Raises NeighbourUnavailable for a permanent error."""
        ended = set()
        for message in messages:
            error = message.error()
            if error is None:
                self._offsets[_key(message)] = (message.offset() or 0) + 1
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name
                ended.add(_key(message))
            else:
                errors.log_or_raise(error)
        return ended

    # --- events --------------------------------------------------------------------------------------

    def _take(self, messages: Sequence[Message]) -> list[Meeting]:
        """Keeps the positions; returns the events of encounters."""
        pings = [each for each in messages if each.topic() == settings.KAFKA_TOPIC]
        found, indexes = topic.decode_batch([each.value() for each in pings])
        for ping, index in zip(found, indexes, strict=True):
            self._take_ping(ping, pings[index].timestamp()[1])
        others = (each for each in messages if each.topic() != settings.KAFKA_TOPIC)
        return [meeting for each in others if (meeting := _meeting(each)) is not None]

    def _take_ping(self, ping: Ping, sent_ms: int) -> None:
        time_us = to_microseconds(ping.creation_time)
        if not -NEWEST_S <= sent_ms / 1000 - time_us / 1_000_000 <= OLDEST_S:
            return
        if time_us <= self._told_us.get(ping.person_id, time_us - 1):
            return
        self._told_us[ping.person_id] = time_us
        if len(self._told_us) > MAX_KNOWN:
            del self._told_us[next(iter(self._told_us))]
        self._seconds.setdefault(sent_ms // 1000, {})[ping.person_id] = ping
        self._newest_ms = max(self._newest_ms, sent_ms)

    def _fill(self, meetings: list[Meeting]) -> None:
        """Publishes the last minutes; readers who resume ask what they may see of them."""
        events: list[Event] = [*meetings]
        events += [_positions(second * 1000 + 999, each) for second, each in self._seconds.items()]
        self._seconds = {}
        self._publish(sorted(events, key=lambda event: event.time_ms))
        self._is_filled = True
        logger.info("Live events follow.")

    def _positions_of_tick(self) -> list[Event]:
        now = time.monotonic()
        if not self._seconds or now < self._tick_at:
            return []
        self._tick_at = max(self._tick_at + TICK_S, now)
        newest: dict[int, Ping] = {}
        for second in sorted(self._seconds):
            newest |= self._seconds[second]
        self._seconds = {}
        return [_positions(self._newest_ms, newest)]

    def _hand_over(self, events: list[Event]) -> None:
        """Decides what staff may see, for all readers at once. If that fails, the readers wait for it."""
        if not events:
            return
        if not people.source_is_away():
            now = time.monotonic()
            try:
                found = people.findable(people.ids_of(events))
            except NeighbourUnavailable as error:
                transient.warning("%s", error)
            else:
                for event in events:
                    event.decide(found, now)
        self._publish(events)


def _positions(time_ms: int, pings: dict[int, Ping]) -> Positions:
    positions = {
        each.person_id: Position(each.person_id, each.latitude, each.longitude, orjson.dumps(each.to_wire()))
        for each in pings.values()
    }
    return Positions(str(time_ms), time_ms, positions)


def _meeting(message: Message) -> Meeting | None:
    """None for a message that is not of the finder."""
    time_ms = message.timestamp()[1]
    event_id = f"{time_ms}-{message.partition()}-{message.offset()}"
    key, value = message.key(), message.value()
    try:
        a, b = map(int, bytes(key or b"").split(b"-"))
        row: dict[str, Any] = orjson.loads(value) if value else {}
    except ValueError:
        transient.warning("Not an encounter: partition %s, offset %s.", message.partition(), message.offset())
        return None
    state = row.get("state")
    return Meeting(event_id, time_ms, a, b, state if state in (ONGOING, ENDED) else None, row)


def _key(each: Any) -> Partition:
    """The topic and partition of a message or a TopicPartition."""
    if isinstance(each, TopicPartition):
        return each.topic, each.partition
    return each.topic(), each.partition()
