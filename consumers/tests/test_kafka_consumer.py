"""A consumer handles the errors that librdkafka reports."""

import logging

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from connect.errors import NeighbourUnavailable
from consumers.kafka_consumer import Errors
from consumers.topic import BrokerRefused

LOST = KafkaError(KafkaError._TRANSPORT, "no broker")
UNKNOWN = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "no topic")
DENIED = KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED, "no right")


@pytest.fixture
def partitions() -> set[int]:
    return {0}


@pytest.fixture
def errors(partitions: set[int], settings: object) -> Errors:
    settings.PINGS_URL = "kafka://127.0.0.1:9"
    return Errors(logging.getLogger(__name__), "writer", lambda: bool(partitions))


def test_a_transient_error_is_logged(errors: Errors, caplog: pytest.LogCaptureFixture):
    errors.on_error(LOST)
    errors.on_commit(LOST, [])
    with errors.handled():
        raise KafkaException(LOST)
    assert errors.good([]) == []
    assert caplog.messages == [
        "_TRANSPORT: no broker",
        "_TRANSPORT: no broker. The writer commits later.",
        "_TRANSPORT: no broker. The writer waits until this is over.",
    ]


def test_a_permanent_error_is_raised_and_one_of_a_callback_by_the_next_step(errors: Errors):
    with pytest.raises(BrokerRefused, match="no right"), errors.handled():
        raise KafkaException(DENIED)
    errors.raise_kept()
    errors.on_commit(DENIED, [TopicPartition("locations", 0)])
    with pytest.raises(BrokerRefused, match="no right"):
        errors.good([])


def test_an_unknown_topic_was_deleted_if_partitions_are_assigned(errors: Errors, partitions: set[int]):
    with pytest.raises(NeighbourUnavailable, match="no topic"):
        errors.log_or_raise(UNKNOWN)
    partitions.clear()
    errors.log_or_raise(UNKNOWN)
    errors.on_error(UNKNOWN)
    errors.raise_kept()
