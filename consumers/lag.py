"""How far the writers are: what is in the topic and not yet written, and since when."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition
from django.conf import settings

from connect.errors import NeighbourUnavailable
from consumers import topic

PEEK_S = 2.0


@dataclass(frozen=True, slots=True)
class Standing:
    """`oldest_s`: how long ago the oldest unwritten ping was sent; None if there is none, or nobody knows."""

    partitions: int
    unwritten: int
    oldest_s: float | None

    def __str__(self) -> str:
        age = "" if self.oldest_s is None else f", the oldest since {self.oldest_s:.1f} s"
        return f"{self.unwritten:,} unwritten in {self.partitions} partitions{age}"


@dataclass(frozen=True, slots=True)
class Statistics:
    """What librdkafka's statistics say of a consumer: `ends` is the end of each partition that it knows."""

    is_connected: bool
    ends: Mapping[int, int]
    positions: Mapping[int, int]

    @classmethod
    def parse(cls, text: str) -> "Statistics":
        """Raises ValueError, KeyError, TypeError or AttributeError for anything else."""
        found = json.loads(text)
        partitions = found["topics"].get(settings.KAFKA_TOPIC, {}).get("partitions", {}).values()
        return cls(
            # The entries of negative number are the bootstrap address and the group coordinator.
            any(each["state"] == "UP" for each in found["brokers"].values() if each["nodeid"] >= 0),
            {each["partition"]: each["hi_offset"] for each in partitions if each["hi_offset"] >= 0},
            {each["partition"]: each["app_offset"] for each in partitions if each["app_offset"] >= 0},
        )


class Observer:
    """Asks the brokers about the group without being one of it. Raises NeighbourUnavailable.

    Each question may take KAFKA_TIMEOUT_S, and all those of a look together `within_s`.
    """

    def __init__(self, *, within_s: float = math.inf) -> None:
        self._within_s = within_s
        self._until = math.inf
        small = {"queued_max_messages_kbytes": 1024, "fetch_message_max_bytes": 64 * 1024}
        config = topic.client_config(group_id=settings.KAFKA_GROUP, enable_auto_commit=False, **small)
        self._consumer = Consumer(config)

    def positions(self) -> dict[int, tuple[int, int]]:
        """For each partition the next offset to be written and, asked after it, the end."""
        self._until = time.monotonic() + self._within_s
        try:
            return self._behind()
        except KafkaException as fault:
            raise topic.unavailable(fault) from fault

    def look(self) -> Standing:
        behind = self.positions()
        try:
            return Standing(
                len(behind), sum(end - next_ for next_, end in behind.values()), self._oldest_s(behind)
            )
        except KafkaException as fault:
            raise topic.unavailable(fault) from fault

    def _behind(self) -> dict[int, tuple[int, int]]:
        there = topic.partitions_of(self._consumer, timeout_s=self._left_s())
        asked = [TopicPartition(settings.KAFKA_TOPIC, each) for each in there]
        committed = self._consumer.committed(asked, timeout=self._left_s())
        behind = {}
        for each in committed:
            if each.error is not None:
                raise topic.unavailable(each.error)
            ends = self._consumer.get_watermark_offsets(each, timeout=self._left_s(), cached=False)
            if ends is None:
                raise NeighbourUnavailable(f"{topic.brokers()}: no answer in time.")
            first, end = ends
            # Nothing committed yet is a negative number; what grew too old is not there any more.
            behind[each.partition] = (max(each.offset, first), end)
        return behind

    def _oldest_s(self, behind: dict[int, tuple[int, int]]) -> float | None:
        """By the first unwritten message of each partition that has one."""
        waiting = {each: next_ for each, (next_, end) in behind.items() if next_ < end}
        if not waiting:
            return None
        self._consumer.assign([TopicPartition(settings.KAFKA_TOPIC, *each) for each in waiting.items()])
        sent_ms: dict[int, int] = {}
        give_up = time.monotonic() + min(PEEK_S, self._left_s())
        while len(sent_ms) < len(waiting) and time.monotonic() < give_up:
            for message in self._consumer.consume(len(waiting), timeout=0.1):
                if message.error() is None:
                    sent_ms.setdefault(message.partition() or 0, message.timestamp()[1])
        self._consumer.unassign()
        return max(0.0, time.time() - min(sent_ms.values()) / 1000) if sent_ms else None

    def _left_s(self) -> float:
        return max(0.0, min(settings.KAFKA_TIMEOUT_S, self._until - time.monotonic()))

    def close(self) -> None:
        self._consumer.close()
