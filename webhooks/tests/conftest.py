"""Fixtures for tests of webhooks: a receiver, a webhook that leads to it, people and messages."""

import os
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer
from django.db import connection
from django.utils import timezone

from consumers import topic
from webhooks import messages, storage
from webhooks.messages import Message
from webhooks.models import Webhook
from webhooks.tests.receiver import Receiver

NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)


def value(a: int = 1, b: int = 2, *, state: str = "ended", minute: int = 0, seconds: float = 95.0) -> bytes:
    """A message of the topic, as the finder writes it."""
    start = NOON + timedelta(minutes=minute)
    return orjson.dumps(
        {
            "person_ids": [a, b],
            "start": start,
            "end": start + timedelta(seconds=seconds),
            "duration_s": seconds,
            "pings": 12,
            "min_distance_m": 1.25,
            "latitude": "52.1234567",
            "longitude": "13.1234567",
            "state": state,
        },
        option=orjson.OPT_UTC_Z,
    )


def message(*who: int, sent: datetime | None = None, **what: Any) -> Message:
    found = messages.parse(value(*who, **what), sent or timezone.now())
    assert found is not None
    return found


def add(*found: Message) -> int:
    """Adds deliveries with the names of `people`."""
    return storage.add(found, lambda ids: {each: {"company_name": f"C{each}"} for each in ids})


@pytest.fixture
def people(transactional_db: None) -> None:
    """Findable people with the ids 1 to 9, each of a company of its own: C1 to C9."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO persons_person (id, first_name, last_name, company_name, findable) "
            "SELECT id, 'A' || id, 'B', 'C' || id, true FROM generate_series(1, 9) AS id;"
            "SELECT setval('persons_person_id_seq', 9)"
        )


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.WEBHOOKS_ALLOW_PRIVATE = True
    with Receiver().listening() as receiver:
        yield receiver


@pytest.fixture
def webhook(people: None) -> Callable[..., Webhook]:
    """Makes webhooks: `webhook(receiver.url, person_id=5)`."""

    def make(url: str, events: list[str] | None = None, **filters: Any) -> Webhook:
        return storage.create(url=url, events=events or ["encounter.started", "encounter.ended"], **filters)

    return make


@pytest.fixture
def encounters_topic(settings: Any) -> str:
    """A topic of encounters with three partitions on a real broker; topic and group are the test's own."""
    settings.PINGS_URL = os.environ["TEST_KAFKA_URL"]
    settings.KAFKA_ENCOUNTERS_TOPIC = name = f"encounters-{secrets.token_hex(4)}"
    settings.KAFKA_WEBHOOKS_GROUP = f"webhooks-of-{name}"
    topic.ensure_encounters(3)
    return name


@pytest.fixture
def tell(encounters_topic: str) -> Callable[..., None]:
    """Sends values to the topic of encounters, as the finder does: the key is made of the two ids."""
    producer = Producer(topic.client_config())

    def send(*values: bytes | None, key: bytes = b"1-2") -> None:
        errors: list[Any] = []
        for each in values:
            ids = orjson.loads(each)["person_ids"] if each and each.startswith(b'{"person_ids"') else None
            own_key = b"%d-%d" % tuple(ids) if ids else key
            producer.produce(
                encounters_topic, each, own_key, on_delivery=lambda error, _: errors.append(error)
            )
        assert producer.flush(20) == 0
        assert errors == [None] * len(values)

    return send
