"""`record` is idempotent, complete, and safe with concurrent writers, readers and deletions."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, connections, transaction

from locations import bulk_insert, partitions, storage
from locations.models import Location
from locations.pings import Ping
from tests.gunicorn_server import until

NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)


def make_people(*ids: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO persons_person (id, first_name, last_name, company_name) "
            "SELECT id, 'A', 'B', 'C' FROM unnest(%s) AS id",
            [list(ids)],
        )


def delete_people(*ids: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM persons_person WHERE id = ANY(%s)", [list(ids)])


def in_other_connection(work: Callable) -> Callable:
    """Runs `work` with its own database connection, like another process, and closes it at the end."""

    def run():
        try:
            return work()
        finally:
            connections.close_all()

    return run


def is_waiting_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0] > 0


def partition_names() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relid::regclass::text FROM pg_partition_tree('locations_location') WHERE isleaf"
        )
        return {name for (name,) in cursor.fetchall()}


@pytest.mark.django_db
def test_a_repeat_is_not_stored_and_the_first_position_stays():
    make_people(1)

    assert storage.record([Ping(1, NOON, 1.0, 2.0), Ping(1, NOON, 3.0, 4.0)]).stored == 1
    assert storage.record([Ping(1, NOON, 5.0, 6.0)]).stored == 0

    assert storage.get(1, NOON) == Ping(1, NOON, 1.0, 2.0)


@pytest.mark.django_db
def test_a_ping_of_an_unknown_person_is_refused_and_the_others_are_stored():
    make_people(1)
    unknown = [0, -5, 999, 2**63 - 1, 2**63, 10**30]

    receipt = storage.record([Ping(1, NOON, 1, 2), *(Ping(i, NOON, 1, 2) for i in unknown)])

    assert receipt.stored == 1
    assert [(r.index, r.status) for r in receipt.refused] == [(n, 404) for n in range(1, 7)]
    assert all("There is no person" in r.errors["person_id"][0] for r in receipt.refused)


@pytest.mark.django_db
def test_pings_are_stored_without_loss_of_precision():
    make_people(1)
    times = [
        datetime(1900, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2020, 2, 29, 12, 0, 0, 1, tzinfo=UTC),
        datetime(2099, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ]
    sent = [Ping(1, moment, 0.1 + n * 1e-17, -179.99999999999997) for n, moment in enumerate(times)]
    sent.append(Ping(1, NOON, 5e-324, -0.0))

    storage.record(sent)

    assert sorted(storage.list_between(person_id=1)) == sorted(sent)


@pytest.mark.django_db
def test_months_are_made_when_needed_and_their_number_is_bounded():
    make_people(1)
    every_month = [
        Ping(1, datetime(year, month, 28, 23, 59, 59, tzinfo=UTC), 0, 0)
        for year in range(1900, 2100)
        for month in range(1, 13)
    ]

    assert storage.record(every_month).stored == 2400

    assert len(partition_names()) == 240 + 2
    assert [p.creation_time for p in storage.list_between(person_id=1)] == [
        p.creation_time for p in every_month
    ]


@pytest.mark.django_db(transaction=True)
def test_two_writers_of_the_same_pings_in_a_new_month_store_them_once():
    make_people(*range(1, 21))
    pings = [
        Ping(n % 20 + 1, datetime(2031, 7, 1, tzinfo=UTC) + timedelta(seconds=n), n / 100, 0)
        for n in range(4000)
    ]
    both_ready = threading.Barrier(2)

    def write(batch):
        both_ready.wait()
        return sum(storage.record(batch[i : i + 500]).stored for i in range(0, len(batch), 500))

    with ThreadPoolExecutor(2) as pool:
        forth = pool.submit(in_other_connection(lambda: write(pings)))
        back = pool.submit(in_other_connection(lambda: write(pings[::-1])))
        assert forth.result(timeout=60) + back.result(timeout=60) == 4000

    assert Location.objects.count() == 4000
    assert "locations_location_2031_07" in partition_names()


@pytest.mark.django_db(transaction=True)
def test_a_new_month_does_not_wait_for_a_reader():
    make_people(1)
    storage.record([Ping(1, NOON, 1, 2)])
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM locations_location")  # holds its lock until the block ends
        later = Ping(1, datetime(2032, 1, 1, tzinfo=UTC), 1, 2)
        with ThreadPoolExecutor(1) as pool:
            receipt = pool.submit(in_other_connection(lambda: storage.record([later]))).result(timeout=30)
    assert receipt.stored == 1


@pytest.mark.django_db(transaction=True)
def test_a_deletion_waits_for_an_open_batch_and_deletes_its_pings():
    make_people(1, 2)
    storage.record([Ping(1, NOON, 1, 2), Ping(2, NOON, 1, 2)])
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            storage.record([Ping(1, NOON + timedelta(seconds=1), 1, 2)])
            deletion = pool.submit(in_other_connection(lambda: delete_people(1)))
            until(is_waiting_for_a_lock)
            assert not deletion.done()
        deletion.result(timeout=30)

    assert [p.person_id for p in storage.list_between(limit=10)] == [2]


@pytest.mark.django_db(transaction=True)
def test_a_batch_during_a_deletion_is_refused():
    make_people(1)
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            delete_people(1)
            late = pool.submit(in_other_connection(lambda: storage.record([Ping(1, NOON, 1, 2)])))
            until(is_waiting_for_a_lock)
        receipt = late.result(timeout=30)

    assert receipt.stored == 0
    assert receipt.refused[0].status == 404
    assert Location.objects.count() == 0


@pytest.mark.django_db
def test_the_number_of_statements_does_not_depend_on_the_batch_size(django_assert_num_queries):
    make_people(1, 2)
    partitions.ensure([(2026, 5)])
    pings = [Ping(1 + n % 2, NOON + timedelta(seconds=n), 1, 2) for n in range(1000)]

    with django_assert_num_queries(5):  # check of the partition; savepoint, lock of persons, COPY, release
        storage.record(pings)


@pytest.mark.django_db
@pytest.mark.parametrize("count", [bulk_insert.COPY_FROM - 1, bulk_insert.COPY_FROM])
def test_new_pings_of_a_batch_with_repeats_are_stored(count: int):
    make_people(1)
    pings = [Ping(1, NOON + timedelta(seconds=n), n / 1000, -0.0) for n in range(count)]
    assert storage.record(pings[: count // 2]).stored == count // 2
    moved = [ping._replace(latitude=80.0) for ping in pings]

    receipt = storage.record([*moved[::-1], *moved, Ping(2, NOON, 1, 2)])

    assert receipt.stored == count - count // 2
    assert [(refusal.index, refusal.status) for refusal in receipt.refused] == [(2 * count, 404)]
    assert list(storage.list_between(person_id=1)) == pings[: count // 2] + moved[count // 2 :]


@pytest.mark.django_db
@pytest.mark.parametrize("count", [bulk_insert.COPY_FROM - 1, bulk_insert.COPY_FROM])
def test_of_pings_with_equal_person_and_time_the_first_is_stored(count: int):
    make_people(1)

    assert storage.record([Ping(1, NOON, n / 1000, 0.0) for n in range(count)]).stored == 1

    assert storage.get(1, NOON) == Ping(1, NOON, 0.0, 0.0)
