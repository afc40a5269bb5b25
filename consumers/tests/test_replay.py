"""Replay of rejected pings by the command and by the admin site, and their admin pages."""

import threading
from collections.abc import Callable
from functools import partial
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from consumers import topic
from consumers.batch_store import UNKNOWN
from consumers.models import RejectedPing
from consumers.replay import BATCH, replay
from consumers.tests.conftest import at
from locations import storage
from locations.pings import Ping
from persons import services as persons
from persons.models import Person
from tests.gunicorn_server import until

pytestmark = pytest.mark.usefixtures("people")


def reject(*what: Ping | bytes | None, reason: str = UNKNOWN) -> list[RejectedPing]:
    """Creates rejected pings like the writer does; bytes are an unreadable value with the key of person 7."""
    first = RejectedPing.objects.count()
    rows = []
    for offset, each in enumerate(what, start=first):
        key, value = topic.encode(each) if isinstance(each, Ping) else (b"7", each)
        person_id = each.person_id if isinstance(each, Ping) else 7
        kept = {"key": key, "value": value, "person_id": person_id, "reason": reason}
        rows.append(RejectedPing(partition=0, offset=offset, sent_ms=0, rejected_at=timezone.now(), **kept))
    return RejectedPing.objects.bulk_create(rows)


def run_replay(**how: object) -> str:
    output = StringIO()
    call_command("replay_rejected", stdout=output, **how)
    return output.getvalue().strip()


def new_person() -> int:
    return persons.create(first_name="New", last_name="Here", company_name="C").id


# --- the command ---------------------------------------------------------------------------------


def test_a_replay_removes_recorded_pings_and_keeps_the_others(people: None):
    reject(at(10, 0), at(11, 0), at(10, 1), b"\xff", None, at(1, 0, latitude=91))
    assert run_replay() == "6 read, 0 stored, 0 repeats, 6 still rejected"

    assert new_person() == 10
    storage.record([at(10, 1)])

    assert run_replay() == "6 read, 1 stored, 1 repeats, 4 still rejected"
    assert list(storage.list_between(person_id=10)) == [at(10, 0), at(10, 1)]
    assert set(RejectedPing.objects.values_list("person_id", flat=True)) == {11, 7, 1}
    assert run_replay() == "4 read, 0 stored, 0 repeats, 4 still rejected"


def test_a_replay_of_an_empty_table():
    assert run_replay() == "0 read, 0 stored, 0 repeats, 0 still rejected"


def test_a_replay_can_be_interrupted_and_run_again():
    reject(*(at(1, n) for n in range(BATCH + 1)))

    interrupted = replay(RejectedPing.objects.all())
    next(interrupted)
    interrupted.close()

    assert RejectedPing.objects.count() == 1
    assert run_replay() == "1 read, 1 stored, 0 repeats, 0 still rejected"
    assert len(list(storage.list_between(person_id=1))) == BATCH + 1


def test_a_ping_that_the_database_refuses_does_not_block_the_others():
    reject(*(at(1, n) for n in range(9)), at(1, 100, latitude=13), *(at(2, n) for n in range(9)))
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE locations_location ADD CONSTRAINT picky CHECK (latitude <> 13) NOT VALID")
    try:
        assert run_replay() == "19 read, 18 stored, 0 repeats, 1 still rejected"
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE locations_location DROP CONSTRAINT picky")
    assert run_replay() == "1 read, 1 stored, 0 repeats, 0 still rejected"


def lock_waiters(count: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0] == count


def in_a_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[Exception]]:
    faults: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as fault:  # noqa: BLE001 - the test reports it
            faults.append(fault)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread, faults


@pytest.mark.parametrize("replays_first", [False, True])
@pytest.mark.parametrize("_round", range(3))
def test_a_replay_and_the_deletion_of_the_person_do_not_deadlock(replays_first: bool, _round: int):
    reject(*(at(1, n) for n in range(200)), *(at(2, n) for n in range(200)))
    works = [run_replay, lambda: persons.delete(1)]
    started = []

    with transaction.atomic():
        Person.objects.select_for_update().get(id=1)  # both wait for this lock
        for work in works if replays_first else reversed(works):
            started.append(in_a_thread(work))
            until(lambda: lock_waiters(len(started)))
    for thread, _ in started:
        thread.join(30)

    assert [faults for _, faults in started] == [[], []]
    assert not RejectedPing.objects.exists()
    assert sorted(storage.list_between(limit=1000)) == [at(2, n) for n in range(200)]


@pytest.mark.parametrize("_round", range(3))
def test_concurrent_replays_and_deletions_are_serializable(_round: int):
    for person_id in range(1, 10):
        reject(*(at(person_id, n) for n in range(100)))

    started = [in_a_thread(run_replay), in_a_thread(run_replay)]
    started += [in_a_thread(partial(persons.delete, person_id)) for person_id in range(1, 9)]
    for thread, _ in started:
        thread.join(60)

    assert [faults for _, faults in started] == [[]] * 10
    assert not RejectedPing.objects.exists()
    assert sorted(storage.list_between(limit=10_000)) == [at(9, n) for n in range(100)]


# --- the admin site ------------------------------------------------------------------------------

LIST = "/admin/consumers/rejectedping/"


def test_the_list_can_be_searched_by_person_and_filtered_by_reason(admin_client: Client):
    reject(at(10, 0), at(11, 0))
    reject(b"\xff", reason="The value is not a location.")

    page = admin_client.get(LIST).content.decode()
    assert "3 rejected pings" in page
    assert "The value is not a location." in page
    for term, count in (("10", 1), (" 7 ", 1), ("77", 0), ("x", 0), ("9" * 30, 0), ("-", 0)):
        assert admin_client.get(LIST, {"q": term}).context["cl"].result_count == count, term
    assert admin_client.get(LIST, {"reason": UNKNOWN}).context["cl"].result_count == 2


def test_a_rejected_ping_is_shown_decoded_where_possible(admin_client: Client):
    good, unreadable, empty = reject(at(10, 0), b"\xff<b>", None)

    page = admin_client.get(f"{LIST}{good.id}/change/").content.decode()
    assert "person_id: 10" in page
    assert "latitude: 1" in page
    page = admin_client.get(f"{LIST}{unreadable.id}/change/").content.decode()
    assert "ff 3c 62 3e" in page
    assert "Not a location." in page
    assert admin_client.get(f"{LIST}{empty.id}/change/").status_code == 200


def test_rejected_pings_cannot_be_added_or_changed(admin_client: Client):
    (row,) = reject(at(10, 0))

    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.post(f"{LIST}{row.id}/change/", {"reason": "x"}).status_code == 403
    assert RejectedPing.objects.get().reason == UNKNOWN


def test_the_action_replays_the_selected_pings(admin_client: Client):
    rows = reject(at(1, 0), at(1, 1), at(11, 0))
    act = {"action": "replay_selected", "_selected_action": [rows[0].id, rows[2].id]}

    page = admin_client.post(LIST, act, follow=True).content.decode()

    assert "Recorded again: 2 read, 1 stored, 0 repeats, 1 still rejected." in page
    assert list(storage.list_between(person_id=1)) == [at(1, 0)]
    assert set(RejectedPing.objects.values_list("id", flat=True)) == {rows[1].id, rows[2].id}


def test_the_view_permission_does_not_allow_a_replay(
    client: Client, django_user_model: type, view_only: Callable
):
    client.force_login(view_only())
    reject(at(1, 0))

    page = client.get(LIST)

    assert page.status_code == 200
    assert "replay_selected" not in page.content.decode()


@pytest.fixture
def view_only(django_user_model: type) -> Callable:
    from django.contrib.auth.models import Permission  # noqa: PLC0415

    def make() -> object:
        user = django_user_model.objects.create_user("looker", is_staff=True)
        user.user_permissions.add(Permission.objects.get(codename="view_rejectedping"))
        return user

    return make
