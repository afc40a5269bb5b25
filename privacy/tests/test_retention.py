"""Old data is dropped by months, while others read and write."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django.utils import timezone

import connect.partitions
from access.models import Question
from connect.partitions import months_of
from consumers.models import RejectedPing
from encounters.models import Encounter
from encounters.partitions import PARTITIONS as ENCOUNTERS
from locations import partitions, storage
from locations.models import Location
from locations.pings import Ping
from persons.models import Person
from phones.models import RefusedPoints
from tests.gunicorn_server import until
from webhooks.models import Delivery, Webhook

pytestmark = pytest.mark.django_db(transaction=True)

DAYS = 365


@pytest.fixture(autouse=True)
def _retention_of_a_year(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.RETENTION_DAYS = DAYS
    monkeypatch.setattr(connect.partitions, "TRIES", 3)
    _drop_months()  # left by other tests; drop_old_locations would drop them
    yield
    _drop_months()


def _drop_months() -> None:
    with connection.cursor() as cursor:
        for table in ("locations_location", "encounters_encounter"):
            for name in set(months(table)) - {f"{table}_before", f"{table}_after"}:
                cursor.execute(f"DROP TABLE {name}")


def ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


def month_of(moment: datetime) -> str:
    return f"locations_location_{moment.astimezone(UTC):%Y_%m}"


OLD, AT_THE_LIMIT = DAYS + 40, DAYS  # the month of OLD ends at least a week before AT_THE_LIMIT


def create_pings(person: Person, *days: float) -> None:
    storage.record([Ping(person.id, ago(each), 1.0, 2.0) for each in days])


def create_delivery(number: int, occurred: datetime) -> None:
    hook, _ = Webhook.objects.get_or_create(
        url="-", defaults={"events": [], "created": occurred, "next_attempt": occurred}
    )
    who = {"person_a_id": 1, "person_b_id": 2}
    times = {"occurred": occurred, "give_up_at": occurred}
    Delivery.objects.create(webhook=hook, message_id=f"msg_{number}", event="-", **who, **times)


def months(table: str = "locations_location") -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
            "WHERE inhparent = %s::regclass ORDER BY 1",
            [table],
        )
        return [name for (name,) in cursor.fetchall()]


def drop(*arguments: str) -> str:
    out = StringIO()
    call_command("drop_old_locations", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


@contextmanager
def reading(**question: Any) -> Iterator[None]:
    """Another thread reads a long answer meanwhile."""
    reads, done = threading.Event(), threading.Event()

    def read() -> None:
        with closing(storage.list_between(**question)) as rows:
            next(rows, None)
            reads.set()
            done.wait(60)
        connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    assert reads.wait(20)
    try:
        yield
    finally:
        done.set()
        reader.join(20)


def test_months_that_are_wholly_too_old_are_dropped(ann: Person):
    create_pings(ann, OLD, OLD + 0.001, AT_THE_LIMIT, AT_THE_LIMIT - 1, 1)
    storage.record([Ping(ann.id, datetime(2012, 1, 1, tzinfo=UTC), 1.0, 2.0)])
    for number, days in enumerate((DAYS + 1, DAYS - 1)):
        RejectedPing.objects.create(reason="-", partition=0, offset=number, sent_ms=0, rejected_at=ago(days))
        Question.objects.create(kind="staff", caller="-", what="-", at=ago(days))
        RefusedPoints.objects.create(day=ago(days), app="-", reason="-", count=1, last_at=ago(days))
        create_delivery(number, ago(days))
    before = months()

    dry = drop("--dry-run")
    assert Location.objects.count() == 6
    assert months() == before
    said = drop()

    assert said == dry.replace("would be dropped", "dropped")
    assert f"{month_of(ago(OLD))}: 2 pings dropped" in said
    counts = "2 months, 3 pings, 0 encounters, 1 rejected pings, 1 counts of refused points, 1 deliveries"
    assert f"{counts} of webhooks and 1 lines of the audit log dropped." in said
    assert sorted(Location.objects.values_list("creation_time", flat=True)) == sorted(
        Location.objects.filter(creation_time__gte=ago(AT_THE_LIMIT + 1)).values_list(
            "creation_time", flat=True
        )
    )
    assert Location.objects.count() == 3
    assert set(before) - set(months()) == {
        month_of(ago(OLD))
    }  # the partition before all months is only emptied
    assert RejectedPing.objects.get().offset == 1
    assert Question.objects.get().at > ago(DAYS)
    assert RefusedPoints.objects.get().last_at > ago(DAYS)
    counts = "0 months, 0 pings, 0 encounters, 0 rejected pings, 0 counts of refused points"
    assert f"{counts}, 0 deliveries of webhooks and 0 lines of the audit log dropped." in drop()


def create_encounters(*days: float) -> None:
    ENCOUNTERS.ensure(months_of(map(ago, days)))
    for each in days:
        Encounter.objects.create(
            start=ago(each),
            end=ago(each),
            last_pair=ago(each),
            person_a_id=1,
            person_b_id=2,
            pings_a=1,
            pings_b=1,
            min_distance_m=0,
            latitude_a=0,
            longitude_a=0,
            latitude_b=0,
            longitude_b=0,
            ongoing=False,
        )


def test_months_of_encounters_are_dropped_like_those_of_pings():
    create_encounters(OLD, AT_THE_LIMIT - 1, 1, -0.9, -1.1, -100, -8000)

    dry = drop("--dry-run")
    assert Encounter.objects.count() == 7
    said = drop()

    assert said == dry.replace("would be dropped", "dropped")
    assert f"encounters_encounter_{ago(OLD):%Y_%m}: 1 encounters dropped" in said
    assert "encounters_encounter_after: 1 encounters dropped" in said
    assert ", 0 pings, 4 encounters, " in said
    assert Encounter.objects.count() == 3
    assert not Encounter.objects.filter(start__lt=ago(AT_THE_LIMIT)).exists()
    assert not Encounter.objects.filter(start__gt=ago(-1)).exists()
    assert f"encounters_encounter_{ago(OLD):%Y_%m}" not in months("encounters_encounter")


def test_with_retention_0_everything_is_kept(ann: Person, settings: Any):
    settings.RETENTION_DAYS = 0
    create_pings(ann, 3000, 1)
    assert drop() == "RETENTION_DAYS is 0: everything is kept.\n"
    assert Location.objects.count() == 2


def test_pings_more_than_a_day_ahead_are_dropped(ann: Person):
    kept = [1, 0, -0.9]
    create_pings(ann, *kept, -1.1, -1.2, -100, -5000, -8000)
    assert Location.objects.count() == 8

    dry = drop("--dry-run")
    assert Location.objects.count() == 8
    said = drop()

    assert said == dry.replace("would be dropped", "dropped")
    assert f"{month_of(ago(-100))}: 1 pings dropped" in said
    assert "locations_location_after: 2 pings dropped" in said
    assert ", 5 pings, " in said
    assert Location.objects.count() == len(kept)
    assert not Location.objects.filter(creation_time__gt=ago(-1)).exists()
    assert month_of(ago(-100)) not in months()
    assert "locations_location_after" in months()
    create_pings(ann, -100)
    assert Location.objects.count() == len(kept) + 1


def test_empty_months_are_dropped_except_the_current_and_next(ann: Person):
    create_pings(ann, 1, 100, 200)
    for days in (100, 0):
        Location.objects.filter(creation_time__lt=ago(days - 1), creation_time__gt=ago(days + 1)).delete()
    partitions.ensure(partitions.months_of([ago(0), timezone.now().replace(day=1) + timedelta(days=40)]))
    next_month = month_of(timezone.now().replace(day=1) + timedelta(days=40))
    assert month_of(ago(100)) in months()

    with reading(person_id=ann.id):  # the reader locks all months
        drop()
    assert month_of(ago(100)) in months()
    assert "1 months without pings dropped" in drop()

    assert month_of(ago(100)) not in months()
    assert {month_of(ago(200)), month_of(ago(0)), next_month} <= set(months())
    assert "without" not in drop()


def test_a_month_that_is_no_longer_empty_is_kept(ann: Person):
    create_pings(ann, 100)
    assert not partitions.PARTITIONS.drop_if_empty(month_of(ago(100)))
    assert Location.objects.count() == 1


def test_a_dropped_month_is_created_again_for_a_new_ping(ann: Person):
    create_pings(ann, OLD)
    drop()
    create_pings(ann, OLD)
    assert Location.objects.count() == 1
    assert month_of(ago(OLD)) in months()


def test_during_a_long_read_pings_are_deleted_and_the_partition_is_dropped_later(ann: Person):
    create_pings(ann, OLD, 1)
    with reading(person_id=ann.id, start=ago(30)):
        said = drop()
        assert f"{month_of(ago(OLD))}: 1 pings deleted; the next run drops the partition" in said
        create_pings(ann, 2)
        assert Location.objects.count() == 2
    assert month_of(ago(OLD)) in months()
    assert f"{month_of(ago(OLD))}: 0 pings dropped" in drop()
    assert month_of(ago(OLD)) not in months()


def test_a_month_that_is_in_use_is_reported(ann: Person):
    create_pings(ann, OLD, 1)
    with reading(person_id=ann.id):
        with pytest.raises(CommandError, match=f"In use and not dropped: {month_of(ago(OLD))}"):
            drop()
        assert Location.objects.count() == 2
    drop()
    assert Location.objects.count() == 1


def test_a_ping_for_a_month_that_is_being_dropped_is_stored(ann: Person):
    create_pings(ann, OLD)
    ended: list[storage.Receipt] = []

    def record() -> None:
        ended.append(storage.record([Ping(ann.id, ago(OLD), 1.0, 2.0)]))
        connection.close()

    writer = threading.Thread(target=record)
    with transaction.atomic():
        Person.objects.select_for_update().get(
            id=ann.id
        )  # the writer has found the month, and waits for this lock
        writer.start()
        until(_a_lock_is_awaited)
        dropper = threading.Thread(target=lambda: (drop(), connection.close()))
        dropper.start()
        dropper.join(20)
        assert month_of(ago(OLD)) not in months()
    writer.join(20)

    assert [receipt.stored for receipt in ended] == [1]
    assert Location.objects.count() == 1


def test_a_month_with_a_pending_detach_is_dropped(ann: Person):
    create_pings(ann, OLD, 1)
    name = month_of(ago(OLD))

    def detach() -> None:
        by_hand = f"ALTER TABLE locations_location DETACH PARTITION {name} CONCURRENTLY"
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = '1s'")
            with pytest.raises(OperationalError, match="statement timeout"):
                cursor.execute(by_hand)
        connection.close()

    with reading(person_id=ann.id, start=ago(30)):
        detaching = threading.Thread(target=detach)
        detaching.start()
        detaching.join(20)
    assert name in months()

    drop()

    assert name not in months()
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s)", [name])
        assert cursor.fetchone() == (None,)
    assert Location.objects.count() == 1


def _a_lock_is_awaited() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return bool(cursor.fetchone()[0])
