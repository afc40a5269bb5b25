"""Erasure: only a receipt is left of a person, and the writers drop their pings in the topic."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import Max, Min
from django.test import Client
from rest_framework.test import APIClient

from access import services as access
from access.callers import Kind
from access.models import Token
from consumers import producer
from consumers.batch_store import Tally
from consumers.lag import Observer
from consumers.models import RejectedPing
from consumers.writer import Writer
from grpc_server import locations_pb2 as pb
from locations import storage as locations
from locations.models import Location
from locations.pings import Ping
from persons import services as persons
from persons.models import Person
from privacy import erasure
from privacy.models import ErasureReceipt
from privacy.tests.everywhere import columns_containing
from tests.gunicorn_server import until
from webhooks.models import Delivery, Webhook

NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)


def walk(person_id: int, count: int) -> list[Ping]:
    return [Ping(person_id, NOON + timedelta(seconds=n), 1.0, 2.0) for n in range(count)]


def rejected(person_id: int, count: int) -> None:
    RejectedPing.objects.bulk_create(
        RejectedPing(
            reason="-", person_id=person_id, partition=0, offset=n, sent_ms=person_id, rejected_at=NOON
        )
        for n in range(count)
    )


def erase(*arguments: str) -> dict[str, Any]:
    printed = StringIO()
    call_command("erase_person", *arguments, stdout=printed, stderr=StringIO())
    return json.loads(printed.getvalue())


# --- receipts ------------------------------------------------------------------------------------


def by_rest(person_id: int) -> None:
    assert APIClient().delete(f"/api/persons/{person_id}").status_code == 204


def by_command(person_id: int) -> None:
    erase(str(person_id))


def by_sql(person_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM persons_person WHERE id = %s", [person_id])


@pytest.mark.django_db
@pytest.mark.parametrize("delete", [by_rest, by_command, by_sql])
def test_every_way_of_deletion_leaves_a_receipt_with_counts(
    delete: Callable[[int], None], ann: Person, bo: Person
):
    locations.record([*walk(ann.id, 7), *walk(bo.id, 3)])
    rejected(ann.id, 2)
    rejected(bo.id, 1)
    for each in (ann, bo):
        access.make(name=str(each), kind=Kind.PERSON, first_person_id=each.id)

    delete(ann.id)

    [receipt] = ErasureReceipt.objects.all()
    assert (receipt.person_id, receipt.pings, receipt.rejected_pings, receipt.tokens) == (ann.id, 7, 2, 1)
    assert abs(receipt.erased_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert Location.objects.values_list("person_id", flat=True).distinct().get() == bo.id
    assert RejectedPing.objects.get().person_id == bo.id
    assert Token.objects.get().first_person_id == bo.id


@pytest.mark.django_db
def test_the_admin_log_does_not_keep_names_of_deleted_people(
    admin_client: Client, person: Callable[..., Person]
):
    first, *others = people = [person(f"Unmistakable{n}") for n in range(3)]
    locations.record([ping for each in people for ping in walk(each.id, each.id % 3)])
    names = {"first_name": "Unmistakable", "last_name": "Lee", "company_name": "Acme", "findable": "on"}
    assert admin_client.post(f"/admin/persons/person/{first.id}/change/", names).status_code == 302
    assert ("django_admin_log", "object_repr") in columns_containing("Unmistakable")

    assert admin_client.post(f"/admin/persons/person/{first.id}/delete/", {"post": "yes"}).status_code == 302
    selected = {"action": "delete_selected", "post": "yes", "_selected_action": [each.id for each in others]}
    assert admin_client.post("/admin/persons/person/", selected).status_code == 302

    assert {receipt.person_id: receipt.pings for receipt in ErasureReceipt.objects.all()} == {
        each.id: each.id % 3 for each in people
    }
    assert {table for table, _ in columns_containing(r"Unmistakable\d?")} == set()
    page = admin_client.get("/admin/privacy/erasurereceipt/").content.decode()
    assert page.count('alt="True"') == len(people)
    receipt = ErasureReceipt.objects.first()
    assert admin_client.get(f"/admin/privacy/erasurereceipt/{receipt.pk}/change/").status_code == 200
    assert admin_client.post(f"/admin/privacy/erasurereceipt/{receipt.pk}/delete/").status_code == 403


@pytest.mark.django_db
def test_a_deletion_that_is_rolled_back_leaves_no_receipt(ann: Person):
    with transaction.atomic():
        persons.delete(ann.id)
        assert ErasureReceipt.objects.exists()
        transaction.set_rollback(True)
    assert not ErasureReceipt.objects.exists()
    assert Person.objects.get() == ann


@pytest.mark.django_db
def test_erasing_again_returns_the_same_receipt(ann: Person):
    assert erase(str(ann.id)) == erase(str(ann.id))
    with pytest.raises(CommandError, match="There is no person"):
        erase("999999")


@pytest.mark.django_db(transaction=True)
def test_pings_stored_during_a_deletion_are_counted_and_deleted(ann: Person):
    def delete() -> None:
        by_rest(ann.id)
        connection.close()

    with transaction.atomic():
        locations.record(walk(ann.id, 5))
        deleting = threading.Thread(target=delete)
        deleting.start()
        until(_a_lock_is_awaited)
    deleting.join(20)

    assert ErasureReceipt.objects.get().pings == 5
    assert not Location.objects.exists()


def _a_lock_is_awaited() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return bool(cursor.fetchone()[0])


# --- a person of a simulated event ---------------------------------------------------------------


def told_about(person_id: int) -> None:
    """A webhook about a person, and a delivery about them."""
    now = datetime.now(UTC)
    hook = Webhook.objects.create(
        url="https://example.org/", events=[], person_id=person_id, created=now, next_attempt=now
    )
    people = {"person_a_id": person_id, "person_b_id": 2**40}
    Delivery.objects.create(
        webhook=hook, message_id="msg_1", event="encounter.ended", occurred=now, give_up_at=now, **people
    )


@pytest.mark.django_db(transaction=True)
def test_an_erased_person_is_in_no_column_and_their_pings_in_the_topic_are_dropped(
    kafka: str,
    send: Callable[..., None],
    writer: Writer,
    write_all: Callable[[], Tally],
    admin_client: Client,
    settings: Any,
):
    settings.PINGS_URL, topic_url = "local:", settings.PINGS_URL
    call_command("simulate", people=30, interval=120, stdout=StringIO(), stderr=StringIO())
    settings.PINGS_URL = topic_url
    days = Location.objects.aggregate(first=Min("creation_time"), last=Max("creation_time"))
    bounds = [f"--from={days['first'].date()}", f"--to={days['last'].date()}"]
    call_command("find_encounters", *bounds, stdout=StringIO(), stderr=StringIO())
    someone = Person.objects.order_by("id")[17]
    stored = Location.objects.filter(person_id=someone.id).count()
    assert stored > 100
    names = {"first_name": "Unmistakable", "last_name": "Name", "company_name": "Acme"}
    assert admin_client.post(f"/admin/persons/person/{someone.id}/change/", names).status_code == 302
    persons.set_findable(someone.id, findable=False)
    made = {"name": f"of {someone.id}", "kind": Kind.PERSON, "first_person_id": someone.id, "days": 30}
    assert b"shown only once" in admin_client.post("/admin/access/token/add/", made).content
    told_about(someone.id)
    key = b"%d" % someone.id
    invalid = pb.Location(person_id=someone.id, latitude=91, longitude=0).SerializeToString()
    send((key, b"\xff nonsense"), (key, invalid))
    assert write_all().rejected == 2
    id_bytes = invalid[:4]  # the id in protobuf
    assert columns_containing(str(someone.id), and_bytes=id_bytes) >= {
        ("persons_person", "id"),
        ("locations_location", "person_id"),
        ("encounters_encounter", "person_a_id"),
        ("encounters_encounter", "person_b_id"),
        ("rejected_pings", "person_id"),
        ("rejected_pings", "key"),
        ("rejected_pings", "value"),
        ("django_admin_log", "object_id"),
        ("django_admin_log", "object_repr"),
        ("access_token", "first_person_id"),
        ("access_token", "name"),
        ("access_question", "person_id"),
        ("webhooks_webhook", "person_id"),
        ("webhooks_delivery", "person_a_id"),
    } - {("locations_location", "person_id")}
    producer.submit(walk(someone.id, 11))
    send((key, b"\xff more nonsense"))

    receipt = erase(str(someone.id))

    assert (receipt["pings"], receipt["rejected_pings"], receipt["complete"]) == (stored, 2, False)
    assert receipt["tokens"] == 1
    assert sum(receipt["topic_ends"].values()) == 14
    assert columns_containing(str(someone.id), and_bytes=id_bytes) == {
        ("privacy_erasurereceipt", "person_id")
    }
    assert columns_containing("Unmistakable") == set()

    tally = write_all()

    assert (tally.dropped, tally.stored, tally.rejected) == (12, 0, 0)
    assert columns_containing(str(someone.id), and_bytes=id_bytes) == {
        ("privacy_erasurereceipt", "person_id")
    }
    assert erase(str(someone.id), "--wait")["complete"] is True


@pytest.mark.django_db(transaction=True)
def test_wait_ends_when_the_writer_has_passed_the_end_offsets(kafka: str, writer: Writer, ann: Person):
    producer.submit(walk(ann.id, 100))
    printed: list[dict[str, Any]] = []

    def wait() -> None:
        printed.append(erase(str(ann.id), "--wait"))
        connection.close()

    waiting = threading.Thread(target=wait)
    waiting.start()
    until(lambda: ErasureReceipt.objects.filter(topic_ends__isnull=False).exists())
    assert waiting.is_alive()
    until(lambda: writer.step() is not None and not waiting.is_alive())

    [receipt] = printed
    assert (receipt["complete"], receipt["pings"]) == (True, 0)
    assert writer.total.dropped == 100


@pytest.mark.django_db
def test_a_person_is_erased_while_the_broker_is_away(ann: Person, settings: Any, free_port: int):
    settings.PINGS_URL = f"kafka://127.0.0.1:{free_port}"
    settings.KAFKA_TIMEOUT_S = 0.5
    with pytest.raises(CommandError, match="Erased; but the brokers are out of reach"):
        erase(str(ann.id))
    receipt = ErasureReceipt.objects.get()
    assert (receipt.topic_ends, erasure.is_complete(receipt)) == (None, False)
    assert not Person.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_recreated_topic_counts_as_passed(
    ann: Person, kafka: str, send: Callable[..., None], observer: Observer, write_all: Callable[[], Tally]
):
    """Its ends are before those that the receipt has, or it lacks the partition."""
    send(*walk(ann.id, 5))
    [partition] = [number for number, (_, end) in observer.positions().items() if end]

    def receipt(topic_ends: dict[str, int]) -> int:
        counts = {"pings": 0, "rejected_pings": 0, "tokens": 0}
        return ErasureReceipt.objects.create(person_id=1, erased_at=NOON, topic_ends=topic_ends, **counts).pk

    unwritten = {receipt({str(partition): end}) for end in (1, 5)}
    recreated = {receipt({str(partition): 6}), receipt({"7": 1}), receipt({})}

    erasure.update_receipts()
    assert passed_receipts() == recreated
    write_all()
    erasure.update_receipts()
    assert passed_receipts() == recreated | unwritten


def passed_receipts() -> set[int]:
    return set(ErasureReceipt.objects.exclude(passed_at=None).values_list("id", flat=True))
