"""A location server for the tests, reached over TCP, and its sessions in the database."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from django.db import connection, connections, transaction

from grpc_server import locations_pb2 as pb
from grpc_server.converter import without_id
from grpc_server.locations_pb2_grpc import LocationServiceStub
from grpc_server.tests.process import LocationProcess
from locations.pings import Ping

NAME = "location-server-under-test"  # application_name of its database sessions
NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)
TIMEOUT = {"timeout": 20}
ALL_OF_PERSON_1 = pb.ListLocationsRequest(person_id=1)


@pytest.fixture(scope="session")
def location_server(django_db_setup: None) -> Iterator[LocationProcess]:
    """Eight threads, two of them for streams that read and two for streams that send."""
    with LocationProcess(GRPC_THREADS="8", PGAPPNAME=NAME) as running:
        yield running


@pytest.fixture
def channel(location_server: LocationProcess) -> Iterator[grpc.Channel]:
    with location_server.channel() as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> LocationServiceStub:
    return LocationServiceStub(channel)


@pytest.fixture
def people(transactional_db: None) -> None:
    """People with the ids 1 to 9."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO persons_person (id, first_name, last_name, company_name) "
            "SELECT id, 'A', 'B', 'C' FROM generate_series(1, 9) AS id"
        )


@pytest.fixture
def many_locations(people: None) -> int:
    """Stores more locations of person 1 than all buffers of a stream hold; returns their number."""
    count = 100_000
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO locations_location (person_id, creation_time, latitude, longitude) "
            "SELECT 1, timestamptz '1999-01-01Z' + n * interval '1 s', 1, 2 FROM generate_series(1, %s) AS n",
            [count],
        )
    return count


def sessions(having: str, *, of: str = NAME) -> list[int]:
    """Process ids of a server's database sessions that meet the SQL condition."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # a transaction would see a cached result
        cursor.execute(
            "SELECT pid FROM pg_stat_activity "
            f"WHERE application_name = %s AND datname = current_database() AND {having}",
            [of],
        )
        return [pid for (pid,) in cursor.fetchall()]


def end_sessions(having: str = "true") -> int:
    """Terminates sessions of the server and waits until they are gone; returns their number."""
    found = sessions(having)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid, 5000) FROM unnest(%s) AS pid", [found])
    return len(found)


def location(person_id: int = 1, second: float = 0, *, latitude: float = 1.0) -> pb.Location:
    return without_id(Ping(person_id, NOON + timedelta(seconds=second), latitude, 2.0))


def batch(*locations: pb.Location) -> pb.RecordLocationsRequest:
    return pb.RecordLocationsRequest(locations=locations)


def failure(call: Callable[[], Any]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value


@contextmanager
def locked(table: str) -> Iterator[None]:
    """Locks the table, so that other sessions cannot read or write it."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


def lock_waiters(*, of: str = NAME) -> int:
    return len(sessions("wait_event_type = 'Lock'", of=of))


def active_sessions() -> int:
    return len(sessions("state <> 'idle'"))


def in_thread(work: Callable[[], Any]) -> Any:
    """Runs in another thread, because the transaction of this thread locks the table."""

    def run() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    return ThreadPoolExecutor(1).submit(run)


class BatchStream:
    """A RecordLocations stream that sends one batch at a time."""

    def __init__(self, stub: LocationServiceStub):
        self._sent: SimpleQueue[pb.RecordLocationsRequest | None] = SimpleQueue()
        self.answers = stub.RecordLocations(iter(self._sent.get, None), **TIMEOUT)

    def send(self, request: pb.RecordLocationsRequest) -> None:
        self._sent.put(request)

    def close(self) -> None:
        self._sent.put(None)
