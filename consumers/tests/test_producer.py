"""The producer: acknowledged pings are in the topic in order; without an acknowledgement it fails in time."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from django.conf import settings as django_settings

from connect import bulkhead, request_context
from connect.errors import NeighbourUnavailable
from consumers import producer, topic
from consumers.tests.conftest import at
from local import kafka as local_kafka
from locations.pings import Ping, unknown_person
from locations.storage import Receipt
from tests.gunicorn_server import ROOT, database_url, until

pytestmark = pytest.mark.usefixtures("people")


def in_topic() -> list[Ping]:
    """All pings of the topic, partition by partition."""
    consumer = Consumer(topic.client_config(group_id="test-reader"))
    parts = [TopicPartition(django_settings.KAFKA_TOPIC, part, 0) for part in topic.partitions_of(consumer)]
    ends = {part.partition: consumer.get_watermark_offsets(part, timeout=20, cached=False) for part in parts}
    consumer.assign(parts)
    found: dict[int, list[Ping]] = {part.partition: [] for part in parts}

    def take() -> bool:
        for message in consumer.consume(10_000, timeout=0.1):
            assert message.error() is None, message.error()
            ping = topic.decode(message.key(), message.value()).ping
            assert ping is not None
            found[message.partition() or 0].append(ping)
        return all(len(found[part]) == end for part, (_, end) in ends.items())

    until(take)
    consumer.close()
    return [ping for pings in found.values() for ping in pings]


def test_acknowledged_pings_are_in_the_topic_in_order_per_person(kafka: str):
    batch = [at(1 + n % 9, n) for n in range(2000)]

    assert producer.submit(batch) == Receipt(stored=None, refused=[])

    found = in_topic()
    assert sorted(found) == sorted(batch)
    for person_id in range(1, 10):
        mine = [ping for ping in found if ping.person_id == person_id]
        assert mine == sorted(mine)


def test_an_empty_batch_needs_no_broker(settings: Any, free_port: int):
    settings.PINGS_URL = f"kafka://127.0.0.1:{free_port}"

    assert producer.submit([]) == Receipt(stored=None)


def test_pings_of_unknown_persons_are_refused_and_the_others_accepted(kafka: str):
    unknown = [0, -5, 999, 2**63 - 1, 2**63, 10**30]

    receipt = producer.submit([at(1, 0), *(at(each, 0) for each in unknown), at(2, 0)])

    assert receipt == Receipt(None, [unknown_person(n, each) for n, each in enumerate(unknown, start=1)])
    assert sorted(in_topic()) == [at(1, 0), at(2, 0)]


def test_a_batch_with_an_uncached_person_fails_while_persons_is_unavailable(
    kafka: str, settings: Any, free_port: int
):
    producer.submit([at(1, 0)])
    settings.PERSONS_URL = f"http://127.0.0.1:{free_port}"

    assert producer.submit([at(1, 1)]) == Receipt(stored=None)
    with pytest.raises(NeighbourUnavailable):
        producer.submit([at(1, 2), at(2, 2)])

    assert in_topic() == [at(1, 0), at(1, 1)]


def test_threads_share_a_producer_and_new_partitions_lose_nothing(kafka: str, settings: Any):
    """The broker refuses the first requests to a new partition: see `max.in.flight` in the producer."""
    receipts: list[Receipt] = []

    def hand_in(person_id: int) -> None:
        receipts.extend(producer.submit([at(person_id, n), at(person_id, n + 0.5)]) for n in range(20))

    name, before = settings.KAFKA_TOPIC, polling_threads()
    producer.person_cache.existing(range(1, 9))  # threads would leave their database connections open
    for n in range(40):
        settings.KAFKA_TOPIC = f"{name}-{n}"
        topic.ensure(3)
        threads = [threading.Thread(target=hand_in, args=[person_id]) for person_id in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert receipts == [Receipt(stored=None)] * 160 * (n + 1)
        assert len(in_topic()) == 320

    assert polling_threads() <= before + 1


def polling_threads() -> int:
    return sum(thread.name == producer.POLLING_THREAD for thread in threading.enumerate())


# --- the broker is away --------------------------------------------------------------------------


def test_an_unavailable_broker_fails_within_the_timeout(settings: Any, free_port: int):
    settings.PINGS_URL, settings.KAFKA_TIMEOUT_S = f"kafka://127.0.0.1:{free_port}", 2.0
    begun = time.monotonic()

    with pytest.raises(NeighbourUnavailable):
        producer.submit([at(1, n) for n in range(1000)])

    assert time.monotonic() - begun < 3.0


def test_a_missing_topic_fails(kafka: str, settings: Any):
    settings.KAFKA_TOPIC, settings.KAFKA_TIMEOUT_S = "misspelt", 2.0

    with pytest.raises(NeighbourUnavailable):
        producer.submit([at(1, 0)])


def test_a_full_send_buffer_fails_within_the_timeout(
    settings: Any, free_port: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(producer.CONFIG, "queue.buffering.max.messages", 1000)
    settings.PINGS_URL, settings.KAFKA_TIMEOUT_S = f"kafka://127.0.0.1:{free_port}", 60.0
    producer.person_cache.existing([1])
    batch = [at(1, n) for n in range(1000)]
    # The producer keeps these messages for KAFKA_TIMEOUT_S, after the call's own deadline.
    with (
        request_context.call_context(None, 0.2),
        pytest.raises(NeighbourUnavailable, match="no acknowledgement"),
    ):
        producer.submit(batch)
    begun = time.monotonic()

    with (
        request_context.call_context(None, 0.2),
        pytest.raises(NeighbourUnavailable, match="buffer stays full"),
    ):
        producer.submit(batch)

    assert time.monotonic() - begun < 1.0


def test_a_call_does_not_wait_past_its_deadline(settings: Any, free_port: int):
    settings.PINGS_URL = f"kafka://127.0.0.1:{free_port}"
    producer.person_cache.existing([1])
    begun = time.monotonic()

    with request_context.call_context(None, 0.5), pytest.raises(NeighbourUnavailable):
        producer.submit([at(1, 0)])

    assert time.monotonic() - begun < 1.0


def test_the_bulkhead_limits_threads_that_wait_for_an_unavailable_broker(settings: Any, free_port: int):
    settings.PINGS_URL, settings.KAFKA_TIMEOUT_S = f"kafka://127.0.0.1:{free_port}", 6.0
    producer.person_cache.existing([1])
    waited: list[float] = []

    def hand_in() -> None:
        begun = time.monotonic()
        with pytest.raises(NeighbourUnavailable):
            producer.submit([at(1, 0)])
        waited.append(time.monotonic() - begun)

    threads = [threading.Thread(target=hand_in) for _ in range(settings.WEB_PLACES + 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert len(waited) == len(threads)
    given_up = producer.FAST_WAIT_S + bulkhead.ACQUIRE_TIMEOUT_S
    assert sum(seconds > given_up + 1 for seconds in waited) == settings.WEB_PLACES
    assert max(waited) < 8


@pytest.fixture
def own_broker() -> Iterator[local_kafka.Broker]:
    with local_kafka.throwaway_storage() as broker:
        yield broker


def test_pings_can_be_sent_again_after_a_broker_restart(
    own_broker: local_kafka.Broker, kafka: str, settings: Any
):
    settings.PINGS_URL = own_broker.url
    with local_kafka.running(own_broker):
        topic.ensure(3)
        producer.submit([at(1, 0)])
    settings.KAFKA_TIMEOUT_S = 1.0
    with pytest.raises(NeighbourUnavailable):
        producer.submit([at(1, 1)])
    settings.KAFKA_TIMEOUT_S = 20.0
    with local_kafka.running(own_broker):
        assert producer.submit([at(1, 1), at(1, 2)]) == Receipt(stored=None)
        found = in_topic()
    assert found[0] == at(1, 0)
    assert found[-2:] == [at(1, 1), at(1, 2)]  # the first try may be stored as well


def test_submit_waits_for_a_broker_that_returns_in_time(
    own_broker: local_kafka.Broker, kafka: str, settings: Any
):
    settings.PINGS_URL, settings.KAFKA_TIMEOUT_S = own_broker.url, 25.0
    with local_kafka.running(own_broker):
        topic.ensure(3)
        producer.submit([at(1, 0)])
    receipts: list[Receipt] = []
    waiting = threading.Thread(target=lambda: receipts.append(producer.submit([at(1, 1)])))
    waiting.start()
    with local_kafka.running(own_broker):
        waiting.join(30)
        assert receipts == [Receipt(stored=None)]
        assert in_topic() == [at(1, 0), at(1, 1)]


# --- processes -----------------------------------------------------------------------------------

SUBMITS = """
import django
django.setup()
from connect import neighbours
from consumers.tests.conftest import at
neighbours.pings().submit([at(1, 0)])
print("acknowledged", flush=True)
"""
FORKS = """
import os
if os.fork() == 0:
    neighbours.pings().submit([at(2, 0)])
    print("acknowledged in the child", flush=True)
else:
    os.wait()
"""


@pytest.fixture
def run(kafka: str, settings: Any) -> Callable[[str], "subprocess.CompletedProcess[str]"]:
    def in_a_process(code: str) -> "subprocess.CompletedProcess[str]":
        environ = {
            "ACCESS": "open",
            "DATABASE_URL": database_url(),
            "DJANGO_SETTINGS_MODULE": "connect.settings",
            "PINGS_URL": kafka,
            "KAFKA_TOPIC": settings.KAFKA_TOPIC,
        }
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return in_a_process


def test_a_process_exits_promptly_after_a_submit(run: Callable):
    begun = time.monotonic()
    done = run(SUBMITS)

    assert (done.returncode, done.stdout) == (0, "acknowledged\n"), done.stderr
    assert time.monotonic() - begun < 40
    assert in_topic() == [at(1, 0)]


def test_a_forked_process_has_its_own_producer(run: Callable):
    done = run(SUBMITS + FORKS)

    assert done.returncode == 0, done.stderr
    assert done.stdout == "acknowledged\nacknowledged in the child\n"
    assert sorted(in_topic()) == [at(1, 0), at(2, 0)]
