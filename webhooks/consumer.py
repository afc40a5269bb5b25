"""Reads the topic of encounters and stores a delivery for each webhook that a message passes.

A batch is one transaction of the database; its offsets are committed after it. So a message may be read
again, and its deliveries have the same ids again.
"""

import logging
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage
from django.conf import settings

from connect import neighbours
from connect.people_cache import PERSONS_BATCH
from consumers import topic
from webhooks import messages, storage
from webhooks.messages import Message

BATCH_SIZE = 1000  # messages
BATCH_AGE_S = 0.25  # how long a batch waits for more messages

_CONFIG = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # A new group begins with what the topic has; a webhook is not told what is older than itself.
    "auto.offset.reset": "earliest",
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 6000,
    "heartbeat.interval.ms": 2000,
    "max.poll.interval.ms": 120_000,
    "queued.max.messages.kbytes": 4 * 1024,
    # A topic that is missing for longer counts as deleted, not as being created.
    "topic.metadata.propagation.max.ms": 5000,
}

logger = logging.getLogger(__name__)
transient = logging.getLogger(f"{__name__}.transient")  # errors that repeat until they are over
transient.addFilter(topic.LogThrottle())


class Consumer:
    """One member of the group. It logs transient Kafka errors and continues after them.

    `step` raises NeighbourUnavailable for a permanent Kafka error or if persons is away, and OperationalError
    or InterfaceError if the database is. Nothing is lost then, but the consumer can only be closed.
    """

    def __init__(self) -> None:
        self._permanent_error: KafkaError | None = None
        self.added = 0
        config = topic.client_config(group_id=settings.KAFKA_WEBHOOKS_GROUP) | _CONFIG
        self._consumer = KafkaConsumer(config | {"error_cb": self._on_error, "on_commit": self._on_commit})
        self._consumer.subscribe([settings.KAFKA_ENCOUNTERS_TOPIC], on_assign=self._on_assign)

    def step(self) -> int:
        """Stores the deliveries of the messages of up to BATCH_AGE_S and commits. Returns their number."""
        found = self._consumer.consume(BATCH_SIZE, timeout=BATCH_AGE_S)
        if self._permanent_error is not None:
            raise topic.unavailable(self._permanent_error)
        good = []
        for message in found:
            if (error := message.error()) is None:
                good.append(message)
            else:
                self._log_or_raise(error)
        if not good:
            return 0
        added = storage.add([each for each in map(_parse, good) if each is not None], _people)
        self.added += added
        self._commit(good)
        return added

    def close(self) -> None:
        """Leaves the group, so that other members take over at once. Idempotent."""
        topic.close(self._consumer)

    def _commit(self, stored: list[KafkaMessage]) -> None:
        ends: dict[int, int] = {}
        for message in stored:
            ends[message.partition() or 0] = (message.offset() or 0) + 1
        name = settings.KAFKA_ENCOUNTERS_TOPIC
        try:
            # Asynchronous: librdkafka waits without a limit for brokers that do not answer.
            self._consumer.commit(
                offsets=[TopicPartition(name, *each) for each in ends.items()], asynchronous=True
            )
        except KafkaException as error:
            self._log_or_raise(error.args[0])

    def _log_or_raise(self, error: KafkaError) -> None:
        if topic.is_fatal(error) or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise topic.unavailable(error)
        transient.warning("%s: %s. The consumer waits until this is over.", error.name(), error.str())

    # --- callbacks of librdkafka, called within consume() and close() ----------------------------

    def _on_assign(self, _consumer: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        logger.info("Reads the partitions %s.", sorted(each.partition for each in partitions))

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """What is not committed is read again; its deliveries have the same ids."""
        for failure in filter(None, [error, *(each.error for each in partitions)]):
            self._on_error(failure)

    def _on_error(self, error: KafkaError) -> None:
        if topic.is_fatal(error):
            self._permanent_error = error
        else:
            transient.warning("%s: %s", error.name(), error.str())


def _parse(message: KafkaMessage) -> Message | None:
    """None also for a value that is no encounter: it is logged and passed over."""
    try:
        sent = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
        return messages.parse(message.value(), sent)
    except (ValueError, OverflowError, OSError) as fault:  # the latter two: a time out of range
        transient.warning("Message %s of partition %s: %s", message.offset(), message.partition(), fault)
        return None


def _people(ids: set[int]) -> dict[int, dict[str, Any]]:
    people: dict[int, dict[str, Any]] = {}
    ordered = sorted(ids)
    for first in range(0, len(ordered), PERSONS_BATCH):
        found = neighbours.persons().get_many(ordered[first : first + PERSONS_BATCH])
        people |= {each.id: each.to_wire() for each in found.values()}
    return people
