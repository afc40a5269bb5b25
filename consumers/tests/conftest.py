"""What tests of the topic share: people with known ids, messages of any kind, and a writer to be stepped."""

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
    """Those with the ids 1 to 9; 10 is the next that will be given."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO persons_person (id, first_name, last_name, company_name) "
            "SELECT id, 'A', 'B', 'C' FROM generate_series(1, 9) AS id;"
            "SELECT setval('persons_person_id_seq', 9)"
        )


@pytest.fixture(autouse=True)
def only_links_to_brokers() -> Iterator[None]:
    """Those that a test made to nowhere would go on trying."""
    yield
    for key, link in list(producer._links.items()):
        if f"kafka://{key[1]}" != os.environ["TEST_KAFKA_URL"]:
            link._producer.purge()
            link.close()
            del producer._links[key]


@pytest.fixture
def send(kafka: str) -> Callable[..., None]:
    """Puts messages into the topic past the producer's rules: pings, or (key, value)."""
    return a_sender()


@pytest.fixture
def sender() -> Callable[[], Callable[..., None]]:
    """Makes one like `send` for the brokers that are in the settings by then."""
    return a_sender


def a_sender() -> Callable[..., None]:
    as_doors = {name: producer.CONFIG[name] for name in ("partitioner", "message.max.bytes")}
    sender = Producer(topic.client_config() | as_doors)

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
    """Makes writers, and closes them however the test ends: one that was not cannot be destroyed."""
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
    """Steps until nothing is left; gives what became of it all."""

    def step() -> Tally:
        tally = Tally()
        for _ in range(200):
            tally.add(writer.step())
            if not observer.look().unwritten:
                return tally
        raise AssertionError(f"{observer.look()} after 200 steps")

    return step


@pytest.fixture
def database(people: None) -> Iterator[Callable[[], None]]:
    """Call it, and the database is away: nobody listens at the port. It is back when called again."""
    real = connection.settings_dict["PORT"]

    def switch() -> None:
        connection.close()
        connection.settings_dict["PORT"] = real if connection.settings_dict["PORT"] == 1 else 1

    yield switch
    if connection.settings_dict["PORT"] == 1:
        switch()
