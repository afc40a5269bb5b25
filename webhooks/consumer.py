"""Reads the topic of encounters and stores a delivery for each webhook that a message passes.

A batch is one transaction of the database; its offsets are committed after it. So a message may be read
again, and its deliveries have the same ids again.
"""

import logging
from datetime import UTC, datetime

from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import KafkaError, TopicPartition
from confluent_kafka import Message as KafkaMessage
from django.conf import settings

from connect.logs import throttled
from connect.people_cache import PeopleCache
from consumers import kafka_consumer, topic
from webhooks import messages, storage
from webhooks.messages import Message

BATCH_SIZE = 1000  # messages
BATCH_AGE_S = 0.25  # how long a batch waits for more messages

# A new group begins with what the topic has; a webhook is not told what is older than itself.
_CONFIG = kafka_consumer.MEMBER | {
    "partition.assignment.strategy": "cooperative-sticky",
    "queued.max.messages.kbytes": 4 * 1024,
}

logger = logging.getLogger(__name__)
transient = throttled(f"{__name__}.transient")


class Consumer:
    """One member of the group. It logs transient Kafka errors and continues after them.

    `step` raises NeighbourUnavailable for a permanent Kafka error or if persons is away, and OperationalError
    or InterfaceError if the database is. Nothing is lost then, but the consumer can only be closed.
    """

    def __init__(self) -> None:
        self._errors = kafka_consumer.Errors(transient, "consumer")
        self.added = 0
        self._uncommitted: dict[int, int] = {}  # partition: the next offset
        self._is_committing = False
        config = topic.client_config(group_id=settings.KAFKA_WEBHOOKS_GROUP) | _CONFIG
        callbacks = {"error_cb": self._errors.on_error, "on_commit": self._on_commit}
        self._consumer = KafkaConsumer(config | callbacks)
        self._consumer.subscribe(
            [settings.KAFKA_ENCOUNTERS_TOPIC],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )

    def step(self) -> int:
        """Stores the deliveries of the messages of up to BATCH_AGE_S and commits. Returns their number."""
        good = self._errors.good(self._consumer.consume(BATCH_SIZE, timeout=BATCH_AGE_S))
        added = storage.add(list(filter(None, map(_parse, good))), PeopleCache().load_ids) if good else 0
        for message in good:
            self._uncommitted[message.partition() or 0] = (message.offset() or 0) + 1
        self.added += added
        self._commit()
        return added

    def close(self) -> None:
        """Leaves the group, so that other members take over at once. Idempotent."""
        kafka_consumer.close(self._consumer)

    def _commit(self) -> None:
        """Commits the offsets of stored messages. A later step repeats a failed commit."""
        if not self._uncommitted or self._is_committing:
            return
        offsets = [
            TopicPartition(settings.KAFKA_ENCOUNTERS_TOPIC, *each) for each in self._uncommitted.items()
        ]
        with self._errors.handled():
            # Asynchronous: librdkafka waits without a limit for brokers that do not answer.
            self._consumer.commit(offsets=offsets, asynchronous=True)
            self._is_committing = True

    # --- callbacks of librdkafka, called within consume() and close() ----------------------------

    def _on_assign(self, _consumer: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        logger.info("Reads the partitions %s.", sorted(each.partition for each in partitions))

    def _on_revoke(self, _consumer: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            self._uncommitted.pop(each.partition, None)

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        self._is_committing = False
        self._errors.on_commit(error, partitions)
        for each in partitions:
            is_committed = error is None and each.error is None
            if is_committed and self._uncommitted.get(each.partition) == each.offset:
                del self._uncommitted[each.partition]


def _parse(message: KafkaMessage) -> Message | None:
    """None also for a value that is no encounter: it is logged and passed over."""
    try:
        sent = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
        return messages.parse(message.value(), sent)
    except (ValueError, OverflowError, OSError) as fault:  # the latter two: a time out of range
        transient.warning("Message %s of partition %s: %s", message.offset(), message.partition(), fault)
        return None
