"""Fixtures for tests of the topic: people with known ids, a message sender and writers."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer
from django.conf import settings
from django.db import connection

from consumers import producer, topic
from consumers.batch_store import Tally
from consumers.lag import Observer
from consumers.writer import Writer
from locations import storage
from locations.pings import Ping

NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)


def at(person_id: int, second: float, *, latitude: float = 1.0, longitude: float = 2.0) -> Ping:
    return Ping(person_id, NOON + timedelta(seconds=second), latitude, longitude)


def stored() -> list[Ping]:
    return sorted(storage.list_between(limit=100_000))


@pytest.fixture
def people(transactional_db: None) -> None:
    """People with the ids 1 to 9; the next id is 10."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO persons_person (id, first_name, last_name, company_name) "
            "SELECT id, 'A', 'B', 'C' FROM generate_series(1, 9) AS id;"
            "SELECT setval('persons_person_id_seq', 9)"
        )


@pytest.fixture(autouse=True)
def no_producers_to_other_brokers(settings: Any) -> Iterator[None]:
    """Closes producers to brokers of one test only, which would retry their messages."""
    yield
    if settings.PINGS_URL.startswith("kafka:") and os.environ["TEST_KAFKA_URL"] != settings.PINGS_URL:
        producer.close_all(flush=False)


@pytest.fixture
def send(kafka: str) -> Callable[..., None]:
    """Sends messages to the topic without the producer's checks: pings, or (key, value)."""
    return new_sender()


@pytest.fixture
def sender() -> Callable[[], Callable[..., None]]:
    """Makes a function like `send` for the brokers that the settings name at that time."""
    return new_sender


def new_sender() -> Callable[..., None]:
    like_producer = {name: producer.CONFIG[name] for name in ("partitioner", "message.max.bytes")}
    sender = Producer(topic.client_config() | like_producer)

    def put(*messages: Ping | tuple[bytes | None, bytes | None], **how: Any) -> None:
        errors: list[KafkaError | None] = []
        for message in messages:
            key, value = topic.encode(message) if isinstance(message, Ping) else message
            sender.produce(
                settings.KAFKA_TOPIC, value, key, on_delivery=lambda error, _: errors.append(error), **how
            )
        assert sender.flush(20) == 0
        assert errors == [None] * len(messages)

    return put


@pytest.fixture
def new_writer(kafka: str) -> Iterator[Callable[..., Writer]]:
    """Makes writers and closes them after the test, because an open consumer cannot be destroyed."""
    made: list[Writer] = []

    def make(**how: Any) -> Writer:
        made.append(Writer(age_s=0.1, **how))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def writer(new_writer: Callable[..., Writer]) -> Writer:
    return new_writer()


@pytest.fixture
def observer(kafka: str) -> Iterator[Observer]:
    observer = Observer()
    yield observer
    observer.close()


@pytest.fixture
def write_all(writer: Writer, observer: Observer) -> Callable[[], Tally]:
    """Steps a writer until there is no lag; returns the total."""

    def step() -> Tally:
        tally = Tally()
        for _ in range(200):
            tally.add(writer.step())
            if not observer.look().unwritten:
                return tally
        raise AssertionError(f"{observer.look()} after 200 steps")

    return step


@pytest.fixture
def toggle_database(people: None) -> Iterator[Callable[[], None]]:
    """A function that makes the database unavailable (wrong port), and available again when called again."""
    real = connection.settings_dict["PORT"]

    def switch() -> None:
        connection.close()
        connection.settings_dict["PORT"] = real if connection.settings_dict["PORT"] == 1 else 1

    yield switch
    if connection.settings_dict["PORT"] == 1:
        switch()
