"""What is delivered, in which order, and what happens when the receiver fails."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from persons import services as persons
from tests.gunicorn_server import until
from webhooks import limits, sender, storage
from webhooks.deliveries import THREADS, Deliveries, deliver, pause_after
from webhooks.models import Delivery, State, Webhook
from webhooks.tests.conftest import NOON, add, message
from webhooks.tests.receiver import Receiver

pytestmark = pytest.mark.usefixtures("people")


def states() -> list[tuple[str, int]]:
    return [(each.state, each.attempts) for each in Delivery.objects.all()]


def make_due() -> None:
    Webhook.objects.update(next_attempt=timezone.now())


def test_a_receiver_gets_a_signed_message_with_the_names_of_both(receiver: Receiver, webhook: Callable):
    hook = webhook(f"{receiver.url}/hook?key=1")
    found = message(1, 2)
    add(found)

    deliver(hook.id)

    [request] = receiver.requests
    assert request.path == "/hook?key=1"
    assert request.headers["content-type"] == "application/json"
    assert request.verified(hook.secret) == {
        "type": "encounter.ended",
        "timestamp": found.sent.isoformat().replace("+00:00", "Z"),
        "data": {
            "persons": [
                {"id": 1, "first_name": "A1", "last_name": "B", "company_name": "C1"},
                {"id": 2, "first_name": "A2", "last_name": "B", "company_name": "C2"},
            ],
            "start": "2026-05-11T12:00:00Z",
            "end": "2026-05-11T12:01:35Z",
            "duration_s": 95.0,
            "pings": 12,
            "min_distance_m": 1.25,
            "latitude": "52.1234567",
            "longitude": "13.1234567",
            "state": "ended",
        },
    }
    [delivery] = Delivery.objects.all()
    assert (delivery.state, delivery.attempts, delivery.last_status) == (State.DELIVERED, 1, 204)
    assert delivery.content is None


def test_a_repeated_or_corrected_message_is_told_once(receiver: Receiver, webhook: Callable):
    hook = webhook(receiver.url)
    add(message(), message(), message(state="ongoing"))
    deliver(hook.id)
    add(message(seconds=200), message(state="ongoing"))
    deliver(hook.id)

    assert [each.verified(hook.secret)["type"] for each in receiver.requests] == [
        "encounter.ended",
        "encounter.started",
    ]
    assert len(set(receiver.ids())) == 2


def test_a_correction_before_the_first_attempt_replaces_the_message(receiver: Receiver, webhook: Callable):
    hook = webhook(receiver.url)
    add(message())
    add(message(seconds=200))
    deliver(hook.id)

    [request] = receiver.requests
    assert request.verified(hook.secret)["data"]["duration_s"] == 200


def test_deliveries_of_a_webhook_wait_for_the_one_before(receiver: Receiver, webhook: Callable):
    hook = webhook(receiver.url)
    add(*(message(minute=n) for n in range(3)))
    receiver.answer = lambda _: 500

    deliver(hook.id)
    deliver(hook.id)

    assert len(receiver.requests) == 1
    assert states() == [("waiting", 1), ("waiting", 0), ("waiting", 0)]
    first = Delivery.objects.all()[0]
    assert (first.last_status, first.last_reason) == (500, "Answered 500: Oh no")
    hook.refresh_from_db()
    assert hook.failures == 1
    assert hook.next_attempt > timezone.now()

    receiver.answer = lambda _: 200
    make_due()
    deliver(hook.id)

    assert len(receiver.requests) == 4
    assert receiver.ids()[0] == receiver.ids()[1]
    starts = [each.verified(hook.secret)["data"]["start"][11:16] for each in receiver.requests]
    assert starts == ["12:00", "12:00", "12:01", "12:02"]
    hook.refresh_from_db()
    assert hook.failures == 0


def test_pauses_double_up_to_an_hour_and_vary():
    for failures, longest in enumerate((5, 10, 20, 40)):
        found = {pause_after(failures) for _ in range(100)}
        assert longest / 2 <= min(found) < max(found) <= longest
    assert 1800 <= pause_after(1000) <= 3600


def test_the_last_attempt_is_after_24_hours_then_a_delivery_is_given_up(
    receiver: Receiver, webhook: Callable
):
    hook = webhook(receiver.url)
    add(message(), message(minute=1))
    receiver.answer = lambda _: 503
    Webhook.objects.update(failures=20)
    end = timezone.now() + timedelta(minutes=1)
    Delivery.objects.filter(attempts=0).update(give_up_at=end)

    deliver(hook.id)
    hook.refresh_from_db()
    assert hook.next_attempt == end
    Delivery.objects.update(give_up_at=timezone.now())
    make_due()
    deliver(hook.id)

    assert states() == [("given up", 2), ("waiting", 0)]
    assert len(receiver.requests) == 2


def test_what_waited_for_more_than_24_hours_is_given_up(webhook: Callable):
    webhook("https://example.org/")
    add(message())
    [delivery] = Delivery.objects.all()
    assert abs(delivery.give_up_at - timezone.now() - timedelta(hours=24)) < timedelta(minutes=1)
    storage.tidy()
    assert states() == [("waiting", 0)]
    Delivery.objects.update(give_up_at=timezone.now() - timedelta(minutes=2))
    storage.tidy()

    [delivery] = Delivery.objects.all()
    assert (delivery.state, delivery.last_reason) == ("given up", "Not delivered within 24 hours.")


def test_a_410_deactivates_the_webhook_and_gives_everything_up(receiver: Receiver, webhook: Callable):
    hook, other = webhook(receiver.url), webhook(f"{receiver.url}/other")
    add(message(), message(minute=1))
    receiver.answer = lambda request: 410 if request.path == "/" else 204

    deliver(hook.id)
    deliver(other.id)
    add(message(minute=2))

    hook.refresh_from_db()
    assert not hook.active
    assert sorted(states()) == sorted(
        [("given up", 1), ("given up", 0), ("delivered", 1), ("delivered", 1), ("waiting", 0)]
    )


def test_resending_lets_given_up_deliveries_wait_again(receiver: Receiver, webhook: Callable):
    hook = webhook(receiver.url)
    add(message(), message(minute=1))
    receiver.answer = lambda _: 410
    deliver(hook.id)
    assert storage.resend(Delivery.objects.all()) == 0  # inactive
    Webhook.objects.update(active=True)
    receiver.answer = lambda _: 204

    assert storage.resend(Delivery.objects.all()) == 2
    deliver(hook.id)

    assert states() == [("delivered", 1), ("delivered", 1)]
    assert receiver.ids()[0] == receiver.ids()[1]


def test_the_backlog_of_a_dead_receiver_is_bounded(webhook: Callable, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "MAX_WAITING", 3)
    webhook("https://example.org/")
    add(*(message(minute=n) for n in range(2)))
    add(*(message(minute=n) for n in range(2, 5)))

    assert [state for state, _ in states()] == ["given up"] * 2 + ["waiting"] * 3
    assert Delivery.objects.all()[0].last_reason == "More than 3 deliveries waited."


def test_what_is_kept_is_bounded_in_time_and_number(webhook: Callable, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "MAX_DELIVERED", 2)
    monkeypatch.setattr(limits, "MAX_GIVEN_UP", 2)
    webhook("https://example.org/")
    add(*(message(minute=n) for n in range(10)))
    now = timezone.now()
    numbers = {}
    for number, delivery in enumerate(Delivery.objects.all()):
        delivery.state = State.DELIVERED if number < 5 else State.GIVEN_UP
        delivery.finished = now - timedelta(days=31) if number in (4, 9) else now
        delivery.save()
        numbers[delivery.id] = number

    storage.tidy()

    # The newest two of each state, without those that are too old.
    assert [numbers[each.id] for each in Delivery.objects.all()] == [3, 8]


# --- whom it is about ----------------------------------------------------------------------------


def test_a_person_who_hides_is_not_told_about_even_if_the_message_came_before(
    receiver: Receiver, webhook: Callable
):
    hook = webhook(receiver.url)
    add(message(1, 2), message(3, 4))
    persons.set_findable(2, findable=False)
    add(message(2, 5), message(5, 6))

    deliver(hook.id)

    told = [each.verified(hook.secret)["data"]["persons"] for each in receiver.requests]
    assert [[each["id"] for each in pair] for pair in told] == [[3, 4], [5, 6]]
    assert not Delivery.objects.filter(person_b_id=2).exists()


def test_a_deleted_person_takes_deliveries_and_webhooks_about_them_along(webhook: Callable):
    everything, about = webhook("https://example.org/"), webhook("https://example.org/1", person_id=1)
    add(message(1, 2), message(3, 4))
    assert Delivery.objects.count() == 3

    assert persons.delete(1)
    add(message(1, 5))

    assert [*Webhook.objects.all()] == [everything]
    assert not Webhook.objects.filter(id=about.id).exists()
    assert Delivery.objects.values_list("person_a_id", flat=True).get() == 3


def test_nothing_is_added_while_a_webhook_is_deleted(webhook: Callable):
    hook = webhook("https://example.org/")
    add(message())

    assert storage.delete(hook.id)

    assert not storage.delete(hook.id)
    assert add(message(minute=1)) == 0
    assert not Delivery.objects.exists()


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        ({}, [(1, 2), (3, 4)]),
        ({"person_id": 2}, [(1, 2)]),
        ({"company": "C3"}, [(3, 4)]),
        ({"company": "c3"}, []),
        ({"min_duration_s": 95.0}, [(1, 2), (3, 4)]),
        ({"min_duration_s": 96.0}, []),
        ({"events": ["encounter.started"]}, []),
        ({"person_id": 1, "company": "C2"}, [(1, 2)]),
        ({"person_id": 1, "company": "C3"}, []),
    ],
)
def test_filters(webhook: Callable, filters: dict[str, Any], told: list[tuple[int, int]]):
    webhook("https://example.org/", **filters)
    add(message(1, 2), message(3, 4))
    assert [*Delivery.objects.values_list("person_a_id", "person_b_id")] == told


def test_a_minimal_duration_does_not_apply_to_the_start(webhook: Callable):
    webhook("https://example.org/", min_duration_s=60.0)
    assert add(message(state="ongoing", seconds=0.0)) == 1


def test_a_webhook_is_not_told_what_is_older(webhook: Callable):
    hook = webhook("https://example.org/")
    assert add(message(sent=hook.created - timedelta(seconds=1))) == 0
    assert add(message(sent=NOON)) == 0
    assert add(message(sent=hook.created)) == 1


# --- side by side --------------------------------------------------------------------------------


@pytest.fixture
def deliveries() -> Any:
    running = Deliveries()
    yield running
    running.close()


def test_a_slow_receiver_holds_one_thread_and_a_dead_one_none(
    receiver: Receiver, webhook: Callable, deliveries: Deliveries, free_port: int
):
    slow = webhook(f"{receiver.url}/slow")
    webhook(f"http://127.0.0.1:{free_port}/dead")
    others = [webhook(f"{receiver.url}/{n}") for n in range(THREADS + 2)]
    go_on = threading.Event()
    receiver.answer = lambda request: (request.path != "/slow" or go_on.wait(15)) and 204
    add(*(message(minute=n) for n in range(3)))

    def others_have_all() -> bool:
        deliveries.step()
        done = Delivery.objects.filter(state=State.DELIVERED).exclude(webhook=slow)
        return done.count() == 3 * len(others)

    until(others_have_all)
    assert [each.path for each in receiver.requests].count("/slow") == 1
    go_on.set()
    until(
        lambda: deliveries.step() or Delivery.objects.filter(state=State.DELIVERED, webhook=slow).count() == 3
    )
    [dead] = Delivery.objects.filter(attempts__gt=0, state=State.WAITING)
    assert "refused" in dead.last_reason


def test_nothing_is_sent_while_persons_is_away(
    receiver: Receiver, webhook: Callable, deliveries: Deliveries, settings: Any, free_port: int, caplog: Any
):
    webhook(receiver.url)
    add(message())
    settings.PERSONS_URL = f"http://127.0.0.1:{free_port}"
    until(lambda: deliveries.step() or "Waiting 1.0 s" in caplog.text)
    assert receiver.requests == []
    settings.PERSONS_URL = "local:"
    until(lambda: deliveries.step() or states() == [("delivered", 1)])


def test_two_processes_do_not_deliver_to_one_webhook_at_a_time(receiver: Receiver, webhook: Callable):
    hook = webhook(receiver.url)
    add(message())
    go_on = threading.Event()
    receiver.answer = lambda _: go_on.wait(15) and 204

    def one() -> None:
        deliver(hook.id)
        connection.close()

    first = threading.Thread(target=one)
    first.start()
    until(lambda: receiver.requests)
    assert storage.due() == []
    deliver(hook.id)
    go_on.set()
    first.join(15)

    assert len(receiver.requests) == 1
    assert states() == [("delivered", 1)]


def test_an_attempt_that_is_killed_is_made_again(
    receiver: Receiver, webhook: Callable, monkeypatch: pytest.MonkeyPatch
):
    hook = webhook(receiver.url)
    add(message())
    send = sender.send

    def killed(*arguments: Any) -> Any:
        send(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(sender, "send", killed)
    with pytest.raises(KeyboardInterrupt):
        deliver(hook.id)
    monkeypatch.undo()
    deliver(hook.id)

    assert len(receiver.requests) == 2
    assert len(set(receiver.ids())) == 1
    assert states() == [("delivered", 1)]
