"""From the topic to the receiver: steps of the consumer, and whole processes that are stopped and killed."""

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from confluent_kafka import TopicPartition

from consumers import topic
from tests.gunicorn_server import database_url, until
from webhooks.consumer import Consumer
from webhooks.models import Delivery, State, Webhook
from webhooks.tests.conftest import value
from webhooks.tests.process import DeliveryProcess
from webhooks.tests.receiver import Receiver

pytestmark = pytest.mark.usefixtures("people")

URL = "https://example.org/"


@pytest.fixture
def new_consumer(encounters_topic: str) -> Iterator[Callable[[], Consumer]]:
    made: list[Consumer] = []

    def make() -> Consumer:
        made.append(Consumer())
        return made[-1]

    yield make
    for each in made:
        each.close()


def committed(consumer: Consumer, name: str) -> int:
    """The number of messages that the group has passed."""
    asked = [TopicPartition(name, each) for each in range(3)]
    return sum(max(each.offset, 0) for each in consumer._consumer.committed(asked, timeout=10))


def test_messages_become_deliveries(
    webhook: Callable, tell: Callable, new_consumer: Callable, encounters_topic: str
):
    webhook(URL, ["encounter.ended"])
    webhook(URL, person_id=1)
    tell(
        value(1, 2, state="ongoing"),
        value(1, 2),
        value(3, 4),
        value(1, 2, state="withdrawn"),
        None,
        key=b"1-2",
    )
    consumer = new_consumer()

    until(lambda: consumer.step() is not None and committed(consumer, encounters_topic) == 5)

    found = Delivery.objects.values_list("webhook", "event", "person_a_id")
    first, second = Webhook.objects.values_list("id", flat=True)
    assert sorted(found) == [
        (first, "encounter.ended", 1),
        (first, "encounter.ended", 3),
        (second, "encounter.ended", 1),
        (second, "encounter.started", 1),
    ]
    assert Counter(Delivery.objects.values_list("state", flat=True)) == {"waiting": 4}


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b"5",
        value(2, 1),
        value(0, 1),
        value().replace(b'"ended"', b'"other"'),
        value().replace(b'"ended"', b"[]"),
        value().replace(b'"pings":12', b'"pings":"x"'),
        value().replace(b'"52.1234567"', b"52"),
        value().replace(b"2026", b"0000"),
    ],
)
def test_a_message_that_is_no_encounter_is_passed_over(
    webhook: Callable, tell: Callable, new_consumer: Callable, encounters_topic: str, wrong: bytes
):
    webhook(URL)
    tell(wrong, value(3, 4))
    consumer = new_consumer()
    until(lambda: consumer.step() is not None and committed(consumer, encounters_topic) == 2)
    assert Delivery.objects.get().person_a_id == 3


def test_messages_that_are_read_again_add_nothing(
    webhook: Callable, tell: Callable, encounters_topic: str, settings: Any
):
    webhook(URL)
    tell(*(value(minute=n) for n in range(50)))
    for number in (1, 2):
        settings.KAFKA_WEBHOOKS_GROUP += "-again"
        consumer = Consumer()
        until(lambda: consumer.step() is not None and committed(consumer, encounters_topic) == 50)  # noqa: B023
        consumer.close()
        assert Delivery.objects.count() == 50, number
    starts = [each["start"] for each in Delivery.objects.values_list("content", flat=True)]
    assert starts == sorted(starts)


# --- processes -----------------------------------------------------------------------------------


def test_a_process_tells_and_stops_on_request(receiver: Receiver, webhook: Callable, tell: Callable):
    hook = webhook(receiver.url)
    with DeliveryProcess() as process:
        process.until_output("Delivering.")
        tell(value(state="ongoing"), value())
        until(lambda: len(receiver.requests) == 2)
        check = process.run_command("--alive")
        assert (check.returncode, check.stdout[:10]) == (0, "delivering")
        assert process.stop() == 0
        assert "Stopped." in process.output()
    events = [each.verified(hook.secret)["type"] for each in receiver.requests]
    assert events == ["encounter.started", "encounter.ended"]
    state = process.run_command("--alive")
    assert "There is no state file" in state.stderr


def test_a_signal_stops_a_process_after_the_running_attempt(
    receiver: Receiver, webhook: Callable, tell: Callable
):
    webhook(receiver.url)
    go_on = threading.Event()
    receiver.answer = lambda _: go_on.wait(15) and 204
    with DeliveryProcess() as process:
        process.until_output("Delivering.")
        tell(value(), value(minute=1))
        until(lambda: receiver.requests)
        process.process.send_signal(signal.SIGTERM)
        until(lambda: (state := process.state()) and state.doing == "stopped")
        go_on.set()
        assert process.wait_for_exit() == 0, process.output()
    states = Delivery.objects.values_list("state", flat=True)
    assert [*states] == ["delivered", "waiting"]


def test_killed_processes_lose_nothing_and_tell_nothing_under_another_id(
    receiver: Receiver, webhook: Callable, tell: Callable
):
    """Killed between the request and its record, between the topic and the database, and anywhere else."""
    hooks = [webhook(f"{receiver.url}/{n}") for n in range(3)]
    count = 40
    tell(*(value(minute=n) for n in range(count)))
    lock = threading.Lock()
    answered = 0
    killable: list[DeliveryProcess] = []

    def answer(_: Any) -> int:
        """Every 15th request kills the process that waits for the answer."""
        nonlocal answered
        with lock:
            answered += 1
            if answered % 15 == 0 and killable:
                process = killable.pop()
                process.process.kill()
                process.process.wait()
        return 204

    receiver.answer = answer
    for _ in range(4):
        with DeliveryProcess() as process:
            killable.append(process)
            until(lambda: process.process.poll() is not None, at_most_s=60)
            assert process.process.returncode == -signal.SIGKILL, process.output()
    with DeliveryProcess() as process:
        delivered = Delivery.objects.filter(state=State.DELIVERED)
        until(lambda: delivered.count() == count * len(hooks), at_most_s=60)
        assert process.stop() == 0

    assert Delivery.objects.count() == count * len(hooks)
    for number, hook in enumerate(hooks):
        requests = [each for each in receiver.requests if each.path == f"/{number}"]
        ids_by_start: dict[str, set[str]] = {}
        for each in requests:
            start = each.verified(hook.secret)["data"]["start"]
            ids_by_start.setdefault(start, set()).add(each.id)
        assert len(ids_by_start) == count
        assert all(len(ids) == 1 for ids in ids_by_start.values())
        # In order, though a request may be repeated.
        starts = [each.verified(hook.secret)["data"]["start"] for each in requests]
        assert starts == sorted(starts)
    assert count * len(hooks) < len(receiver.requests) <= count * len(hooks) + 4 * len(hooks)


def test_two_processes_share_the_work(receiver: Receiver, webhook: Callable, tell: Callable):
    hooks = [webhook(f"{receiver.url}/{n}") for n in range(4)]
    with DeliveryProcess() as one, DeliveryProcess() as other:
        one.until_output("Reads the partitions [")
        other.until_output("Reads the partitions [")
        tell(*(value(minute=n) for n in range(50)))
        delivered = Delivery.objects.filter(state=State.DELIVERED)
        until(lambda: delivered.count() == 50 * len(hooks), at_most_s=60)
        assert one.stop() == 0
        assert other.stop() == 0
    assert len(set(receiver.ids())) == len(receiver.requests) == 50 * len(hooks)


def test_a_process_waits_for_its_database(encounters_topic: str, free_port: int):
    unavailable = urlsplit(database_url())._replace(netloc=f"connect:x@127.0.0.1:{free_port}").geturl()
    with DeliveryProcess(DATABASE_URL=unavailable) as process:
        process.until_output("Waiting 1.0 s: database: ")
        assert process.run_command("--alive").returncode == 0
        assert process.stop() == 0


def test_a_process_waits_for_its_topic(encounters_topic: str, settings: Any):
    settings.KAFKA_ENCOUNTERS_TOPIC += "-later"
    with DeliveryProcess() as process:
        process.until_output("Waiting 0.5 s: broker: ")
        topic.ensure_encounters(3)
        process.until_output("Delivering.")
        assert process.stop() == 0


def test_a_process_needs_a_broker(encounters_topic: str):
    with DeliveryProcess(PINGS_URL="local:") as process:
        assert process.wait_for_exit() != 0
    assert "PINGS_URL" in process.output()
