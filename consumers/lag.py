"""Lag of the writers: the number of unwritten messages and the age of the oldest one."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition
from django.conf import settings

from connect.errors import NeighbourUnavailable
from consumers import topic

OLDEST_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Lag:
    """`oldest_s` is the age of the oldest unwritten ping; None if there is none or its age is unknown."""

    partitions: int
    unwritten: int
    oldest_s: float | None

    def __str__(self) -> str:
        age = "" if self.oldest_s is None else f", the oldest sent {self.oldest_s:.1f} s ago"
        return f"{self.unwritten:,} unwritten in {self.partitions} partitions{age}"


@dataclass(frozen=True, slots=True)
class Statistics:
    """A consumer's statistics from librdkafka. `ends` and `positions` map known partitions to offsets."""

    is_connected: bool
    ends: Mapping[int, int]
    positions: Mapping[int, int]

    @classmethod
    def parse(cls, text: str) -> "Statistics":
        """Raises ValueError, KeyError, TypeError or AttributeError for any other text."""
        found = json.loads(text)
        partitions = found["topics"].get(settings.KAFKA_TOPIC, {}).get("partitions", {}).values()
        return cls(
            # A negative node id is the bootstrap address or the group coordinator.
            any(each["state"] == "UP" for each in found["brokers"].values() if each["nodeid"] >= 0),
            {each["partition"]: each["hi_offset"] for each in partitions if each["hi_offset"] >= 0},
            {each["partition"]: each["app_offset"] for each in partitions if each["app_offset"] >= 0},
        )


class Observer:
    """Reads a group's lag from the brokers without joining the group. Raises NeighbourUnavailable.

    `name` is the topic that the group reads; by default these are the writers and the topic of pings.
    Each request has a timeout of KAFKA_TIMEOUT_S; all requests of one call together have `within_s`.
    """

    def __init__(self, name: str = "", group: str = "", *, within_s: float = math.inf) -> None:
        self._name = name or settings.KAFKA_TOPIC
        self._within_s = within_s
        self._deadline = math.inf
        small = {"queued_max_messages_kbytes": 1024, "fetch_message_max_bytes": 64 * 1024}
        group = group or settings.KAFKA_GROUP
        config = topic.client_config(group_id=group, enable_auto_commit=False, **small)
        self._consumer = Consumer(config)

    def positions(self) -> dict[int, tuple[int, int]]:
        """For each partition the next offset to write and the end offset. The end is read second."""
        self._deadline = time.monotonic() + self._within_s
        until = min(self._deadline, time.monotonic() + settings.KAFKA_TIMEOUT_S)
        while True:
            try:
                return self._offsets()
            except KafkaException as error:
                # librdkafka looks for a new leader or coordinator, but does not repeat the request.
                if topic.is_fatal(error.args[0]) or time.monotonic() > until:
                    raise topic.unavailable(error) from error
                self._consumer.poll(0.1)  # it is assigned nothing: this only waits

    def look(self) -> Lag:
        positions = self.positions()
        try:
            return Lag(
                len(positions),
                sum(end - next_ for next_, end in positions.values()),
                self._oldest_s(positions),
            )
        except KafkaException as error:
            raise topic.unavailable(error) from error

    def _offsets(self) -> dict[int, tuple[int, int]]:
        partitions = topic.partitions_of(self._consumer, self._name, timeout_s=self._left_s())
        requested = [TopicPartition(self._name, each) for each in partitions]
        committed = self._consumer.committed(requested, timeout=self._left_s())
        offsets = {}
        for each in committed:
            if each.error is not None:
                raise KafkaException(each.error)
            ends = self._consumer.get_watermark_offsets(each, timeout=self._left_s(), cached=False)
            if ends is None:
                raise NeighbourUnavailable(f"{topic.brokers()}: no answer in time.")
            first, end = ends
            # The offset is negative if nothing is committed, and below `first` after retention deleted
            # messages.
            offsets[each.partition] = (max(each.offset, first), end)
        return offsets

    def _oldest_s(self, positions: dict[int, tuple[int, int]]) -> float | None:
        """Compares the first unwritten message of each partition that has one."""
        waiting = {each: next_ for each, (next_, end) in positions.items() if next_ < end}
        if not waiting:
            return None
        self._consumer.assign([TopicPartition(self._name, *each) for each in waiting.items()])
        sent_ms: dict[int, int] = {}
        deadline = time.monotonic() + min(OLDEST_TIMEOUT_S, self._left_s())
        while len(sent_ms) < len(waiting) and time.monotonic() < deadline:
            for message in self._consumer.consume(len(waiting), timeout=0.1):
                if message.error() is None:
                    sent_ms.setdefault(message.partition() or 0, message.timestamp()[1])
        self._consumer.unassign()
        return max(0.0, time.time() - min(sent_ms.values()) / 1000) if sent_ms else None

    def _left_s(self) -> float:
        return max(0.0, min(settings.KAFKA_TIMEOUT_S, self._deadline - time.monotonic()))

    def close(self) -> None:
        self._consumer.close()
