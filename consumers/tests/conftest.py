"""What tests of the topic share: people with known ids, messages of any kind, and a writer to be stepped."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer
from django.conf import settings
from django.db import connection

from consumers import topic
from consumers.standing import Observer
from consumers.storing import Tally
from consumers.writer import Writer
from locations.pings import Ping

NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)


def at(person_id: int, second: float, *, latitude: float = 1.0, longitude: float = 2.0) -> Ping:
    return Ping(person_id, NOON + timedelta(seconds=second), latitude, longitude)


@pytest.fixture
def people(transactional_db: None) -> None:
    """Those with the ids 1 to 9; 10 is the next that will be given."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO persons_person (id, first_name, last_name, company_name) "
            "SELECT id, 'A', 'B', 'C' FROM generate_series(1, 9) AS id;"
            "SELECT setval('persons_person_id_seq', 9)"
        )


@pytest.fixture
def send(kafka: str) -> Callable[..., None]:
    """Puts messages into the topic past the producer's rules: pings, or (key, value)."""
    producer = Producer(topic.client_config() | {"partitioner": "murmur2_random"})

    def put(*messages: Ping | tuple[bytes | None, bytes | None], **how: Any) -> None:
        errors: list[KafkaError | None] = []
        for message in messages:
            key, value = topic.encode(message) if isinstance(message, Ping) else message
            producer.produce(
                settings.KAFKA_TOPIC, value, key, on_delivery=lambda error, _: errors.append(error), **how
            )
        assert producer.flush(20) == 0
        assert errors == [None] * len(messages)

    return put


@pytest.fixture
def writer(kafka: str) -> Iterator[Writer]:
    writer = Writer(age_s=0.1)
    yield writer
    writer.close()


@pytest.fixture
def observer(kafka: str) -> Iterator[Observer]:
    observer = Observer()
    yield observer
    observer.close()


@pytest.fixture
def write_all(writer: Writer, observer: Observer) -> Callable[[], Tally]:
    """Steps until nothing is left; gives what became of it all."""

    def step() -> Tally:
        tally = Tally()
        for _ in range(200):
            tally.add(writer.step())
            if not observer.look().unwritten:
                return tally
        raise AssertionError(f"{observer.look()} after 200 steps")

    return step
