"""Settings, error handling and closing of the Kafka consumers."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumers import topic

READER = {
    "enable.auto.commit": False,  # a consumer commits what is in the database
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",  # a new group starts with the messages that were sent before it
    # A topic that is missing for longer counts as deleted, not as being created.
    "topic.metadata.propagation.max.ms": 5000,
}
MEMBER = READER | {
    # How long a killed member of a group keeps its partitions; brokers allow no less.
    "session.timeout.ms": 6000,
    "heartbeat.interval.ms": 2000,
    # How long a member that hangs in a step keeps them.
    "max.poll.interval.ms": 120_000,
}
# Prefetch limits: they bound the memory that a long backlog takes.
PREFETCH = {
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 16 * 1024,
    "fetch.max.bytes": 8 * 1024 * 1024,
    # When to prefetch again after the queue was full: with the default of 1 s a consumer mostly waits.
    "fetch.queue.backoff.ms": 20,
}
CLOSE_TIMEOUT_S = 10.0

logger = logging.getLogger(__name__)


class Errors:
    """The errors of a consumer. It logs transient ones and continues; a permanent one ends it.

    `log` is throttled, `name` is that of the consumer in its lines. A topic that is unknown while the
    consumer `has_partitions` was deleted. Recreated, it counts its offsets from 0, so the consumer must not
    continue at its old offsets: this error is permanent, too.
    """

    def __init__(
        self, log: logging.Logger, name: str, has_partitions: Callable[[], bool] = lambda: True
    ) -> None:
        self._log = log
        self._name = name
        self._has_partitions = has_partitions
        self._permanent: KafkaError | None = None

    def log_or_raise(self, error: KafkaError) -> None:
        """Raises NeighbourUnavailable for a permanent error."""
        if self._is_permanent(error):
            raise topic.unavailable(error)
        self._log.warning("%s: %s. The %s waits until this is over.", error.name(), error.str(), self._name)

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Does the same with the error of a request."""
        try:
            yield
        except KafkaException as error:
            self.log_or_raise(error.args[0])

    def good(self, messages: Sequence[Message]) -> list[Message]:
        """The messages that are none of an error. Raises also what a callback has kept."""
        self.raise_kept()
        for message in messages:
            if (error := message.error()) is not None:
                self.log_or_raise(error)
        return [message for message in messages if message.error() is None]

    def raise_kept(self) -> None:
        if self._permanent is not None:
            raise topic.unavailable(self._permanent)

    # --- callbacks of librdkafka, called within poll(), consume() and close(): they raise nothing ----

    def on_error(self, error: KafkaError, then: str = "") -> None:
        """Errors outside of messages. librdkafka reports a deleted topic either here or in a message."""
        if self._is_permanent(error):
            self._permanent = error
        else:
            self._log.warning("%s: %s%s", error.name(), error.str(), then)

    def on_commit(self, error: KafkaError | None, partitions: Sequence[TopicPartition]) -> None:
        for failure in filter(None, [error, *(each.error for each in partitions)]):
            self.on_error(failure, f". The {self._name} commits later.")

    def _is_permanent(self, error: KafkaError) -> bool:
        is_deleted = error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART and self._has_partitions()
        return topic.is_fatal(error) or is_deleted


def close(consumer: Consumer) -> None:
    """Leaves the group, so that other members take over without the session timeout. Idempotent.

    librdkafka waits without a limit for a commit that unavailable brokers do not answer. So a thread closes
    the consumer; after CLOSE_TIMEOUT_S it is abandoned and ends with the process.
    """
    closing = threading.Thread(target=consumer.close, name="close", daemon=True)
    closing.start()
    closing.join(CLOSE_TIMEOUT_S)
    if closing.is_alive():
        logger.warning("The brokers do not answer. They remove this consumer after its session timeout.")
