"""What lanes do when one fails, and a batch whose rows a frozen COPY holds."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError, connection, transaction

from consumers import batch_store
from consumers.batch_store import Batch, Tally, store
from consumers.store_workers import Lanes
from consumers.tests.conftest import at, stored
from locations import bulk_insert
from locations.storage import prepare
from tests.gunicorn_server import until


def test_once_a_lane_failed_nothing_overtakes_what_it_had_whichever_lane_it_would_take(
    people: None, database: Callable
):
    lanes = Lanes(2)
    database()
    failed = lanes.store(0, Batch(prepare([at(1, 0)]), [], []))
    assert isinstance(failed.exception(), OperationalError)
    database()
    for lane in (0, 1):
        assert lanes.store(lane, Batch(prepare([at(1, 1)]), [], [])).exception() is failed.exception()
    lanes.close()
    assert not stored()


class Silent:
    """What a COPY reads, of which the end never comes: as from a process that was frozen."""

    def __init__(self, rows: bytes) -> None:
        self._parts = iter([rows])
        self.over = threading.Event()

    def read(self, _size: int) -> bytes:
        if rows := next(self._parts, b""):
            return rows
        assert self.over.wait(60)
        raise InterruptedError


def test_one_that_fell_silent_in_the_midst_of_a_copy_is_ended(people: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batch_store, "FROZEN_S", 1)
    pings = [at(1 + n % 9, n) for n in range(5000)]
    batch = prepare(pings)
    silent = Silent(bulk_insert.pack_rows(batch.in_order)[:-2])

    def copy() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor, connection.wrap_database_errors:
                cursor.copy_expert(bulk_insert.COPY, silent)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as frozen:
        copying = frozen.submit(copy)
        try:
            until(lambda: waits_for_client(bulk_insert.COPY))
            assert store(Batch(batch, [], [])) == Tally(good=5000, stored=5000)
        finally:
            silent.over.set()
        assert isinstance(copying.exception(), OperationalError)
    assert stored() == sorted(pings)


def waits_for_client(statement: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query = %s AND wait_event = 'ClientRead'",
            [statement],
        )
        return bool(cursor.fetchone()[0])
