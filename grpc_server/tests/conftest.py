"""A location server of the tests' own, reached over TCP, and what can be seen of it in the database."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from django.db import connection

from grpc_server import locations_pb2 as pb
from grpc_server.converter import without_id
from grpc_server.locations_pb2_grpc import LocationServiceStub
from grpc_server.tests.process import LocationProcess
from locations.pings import Ping

NAME = "location-server-under-test"  # as the database sees it
NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)


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
    """Nine of them, 1 to 9."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO persons_person (id, first_name, last_name, company_name) "
            "SELECT id, 'A', 'B', 'C' FROM generate_series(1, 9) AS id"
        )


@pytest.fixture
def crowd(people: None) -> int:
    """So many stored locations of person 1 that no buffer on the way holds them."""
    count = 100_000
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO locations_location (person_id, creation_time, latitude, longitude) "
            "SELECT 1, timestamptz '1999-01-01Z' + n * interval '1 s', 1, 2 FROM generate_series(1, %s) AS n",
            [count],
        )
    return count


def sessions(having: str, *, of: str = NAME) -> list[int]:
    """The process ids of a server's database sessions that are in that state."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # a transaction would see the same for ever
        cursor.execute(
            "SELECT pid FROM pg_stat_activity "
            f"WHERE application_name = %s AND datname = current_database() AND {having}",
            [of],
        )
        return [pid for (pid,) in cursor.fetchall()]


def end_sessions(having: str = "true") -> int:
    """Waits until they are gone, and says how many they were."""
    found = sessions(having)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid, 5000) FROM unnest(%s) AS pid", [found])
    return len(found)


def location(person_id: int = 1, second: float = 0, *, latitude: float = 1.0) -> pb.Location:
    return without_id(Ping(person_id, NOON + timedelta(seconds=second), latitude, 2.0))


def batch(*locations: pb.Location) -> pb.RecordLocationsRequest:
    return pb.RecordLocationsRequest(locations=locations)
