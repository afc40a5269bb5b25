"""Store workers after a failure, and a batch that waits for the rows of a frozen COPY."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError, connection, transaction

from consumers import batch_store
from consumers.batch_store import Batch, Tally, store
from consumers.store_workers import StoreWorkers
from consumers.tests.conftest import at, stored
from locations import bulk_insert, partitions
from locations.storage import prepare
from tests.gunicorn_server import until


def test_after_a_failure_no_worker_stores_anything(people: None, toggle_database: Callable):
    workers = StoreWorkers(2)
    toggle_database()
    failed = workers.store(0, Batch(prepare([at(1, 0)]), [], []))
    assert isinstance(failed.exception(), OperationalError)
    toggle_database()
    for worker in (0, 1):
        assert workers.store(worker, Batch(prepare([at(1, 1)]), [], [])).exception() is failed.exception()
    workers.close()
    assert not stored()


class FrozenCopySource:
    """A source for COPY that sends its rows and then blocks, like a frozen process."""

    def __init__(self, rows: bytes) -> None:
        self._parts = iter([rows])
        self.thaw = threading.Event()

    def read(self, _size: int) -> bytes:
        if rows := next(self._parts, b""):
            return rows
        assert self.thaw.wait(60)
        raise InterruptedError


def test_a_session_frozen_in_a_copy_is_terminated(people: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batch_store, "FROZEN_S", 1)
    pings = [at(1 + n % 9, n) for n in range(5000)]
    batch = prepare(pings)
    partitions.ensure(batch.months)
    source = FrozenCopySource(bulk_insert.pack_rows(batch.in_order)[:-2])

    def copy() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor, connection.wrap_database_errors:
                cursor.copy_expert(bulk_insert.COPY, source)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as frozen:
        copying = frozen.submit(copy)
        try:
            until(lambda: waits_for_client(bulk_insert.COPY))
            assert store(Batch(batch, [], [])) == Tally(good=5000, stored=5000)
        finally:
            source.thaw.set()
        assert isinstance(copying.exception(), OperationalError)
    assert stored() == sorted(pings)


def waits_for_client(statement: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query = %s AND wait_event = 'ClientRead'",
            [statement],
        )
        return bool(cursor.fetchone()[0])
