"""Streamed responses over real HTTP: complete or visibly cut off, and they do not block other calls."""

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from locations import partitions
from persons.models import Person
from tests.gunicorn_server import Server, until

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 12_000  # more than the largest page
HUGE = 100_000  # some 14 MB: more than the socket buffers hold


@pytest.fixture
def fill(ann: Person) -> Callable[[int], None]:
    """Stores `count` pings of Ann, one per second."""

    def store(count: int) -> None:
        partitions.ensure([(2026, 5)])
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO locations_location (person_id, creation_time, latitude, longitude) "
                "SELECT %s, '2026-05-11T00:00:00Z'::timestamptz + s * interval '1 second', 1, s * 1e-5 "
                "FROM generate_series(0, %s - 1) AS s",
                [ann.pk, count],
            )

    return store


class Reader:
    """A client with a small receive buffer that reads only when `read` is called."""

    def __init__(self, server: Server, path: str):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        self.connection.sock = socket.socket()
        self.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.connection.sock.settimeout(30)
        self.connection.sock.connect(("127.0.0.1", server.port))
        self.connection.request("GET", path)
        self.answer = self.connection.getresponse()

    def read(self) -> tuple[bytes, bool]:
        """The body, and whether the response ended properly."""
        try:
            return self.answer.read(), True
        except http.client.IncompleteRead as broken:
            return broken.partial, False
        except ConnectionError:
            return b"", False

    def close(self) -> None:
        self.connection.close()


@pytest.fixture
def reader(server: Server) -> Iterator[Callable[..., Reader]]:
    open_readers: list[Reader] = []

    def start(path: str, of: Server = server) -> Reader:
        open_readers.append(Reader(of, path))
        return open_readers[-1]

    yield start
    for each in open_readers:
        each.close()
    until(lambda: not readers_in_database())  # else the truncation of the tables would block


def readers_in_database() -> list[int]:
    """The backends that hold a transaction open for a stream."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle'"
        )
        return [row[0] for row in cursor.fetchall()]


def pages(server: Server, path: str) -> list[Any]:
    found: list[Any] = []
    while path:
        answer = server.get(path)
        assert answer.status_code == 200, answer.text
        found += answer.json()
        path = answer.links.get("next", {}).get("url", "")
    return found


@pytest.mark.parametrize(
    "query", ["person_id={ann}", "start=2026-05-11&end=2026-05-12", "person_id={ann}&bbox=0,0,1,1"]
)
def test_a_stream_equals_the_concatenated_pages(
    server: Server, fill: Callable[[int], None], ann: Person, query: str
) -> None:
    fill(MANY)
    path = f"/api/locations?{query.format(ann=ann.pk)}"
    whole = server.get(path)
    assert (whole.status_code, whole.headers["Content-Type"]) == (200, "application/json")
    assert (whole.headers["Transfer-Encoding"], "Link" in whole.headers) == ("chunked", False)
    assert len(whole.json()) == MANY
    assert pages(server, f"{path}&limit=5000") == whole.json()


@pytest.mark.parametrize("count", [1999, 2000, 2001, 4000])
def test_no_row_is_lost_at_block_boundaries(
    server: Server, fill: Callable[[int], None], ann: Person, count: int
) -> None:
    fill(count)
    found = server.get(f"/api/locations?person_id={ann.pk}").json()
    assert len({location["id"] for location in found}) == len(found) == count


@pytest.mark.parametrize("count", [2000, 6000, 6001, 14_001])
def test_no_row_is_lost_when_people_are_prefetched_for_several_blocks(
    server: Server, fill: Callable[[int], None], ann: Person, count: int
) -> None:
    fill(1)
    others = Person.objects.bulk_create(
        Person(first_name=f"A{i}", last_name="B", company_name="C") for i in range(500)
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO locations_location (person_id, creation_time, latitude, longitude) "
            "SELECT %s + s * 500 / %s, '2026-05-11T00:00:00Z'::timestamptz + s * interval '1 second', 1, 0 "
            "FROM generate_series(0, %s - 1) AS s",
            [others[0].pk, count, count],
        )
    path = f"/api/persons/{ann.pk}/connection?start_date=2026-05-11&end_date=2026-05-11"
    whole = server.get(path).json()
    assert len(whole) == count
    assert {each["person"]["first_name"] for each in whole} == {f"A{i}" for i in range(500)}
    assert all(each["person"]["id"] == each["location"]["person_id"] for each in whole)
    assert pages(server, f"{path}&limit=5000") == whole


def test_people_are_streamed(server: Server) -> None:
    Person.objects.bulk_create(
        Person(first_name=f"A{i}", last_name="B", company_name="C") for i in range(4500)
    )
    whole = server.get("/api/persons").json()
    assert [person["first_name"] for person in whole] == [f"A{i}" for i in range(4500)]
    assert pages(server, "/api/persons?limit=2000") == whole


def test_an_error_during_a_stream_leaves_the_array_open(
    fill: Callable[[int], None], reader: Callable[..., Reader], ann: Person
) -> None:
    fill(HUGE)
    slow = reader(f"/api/locations?person_id={ann.pk}")
    assert slow.answer.status == 200
    [backend] = until(readers_in_database)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [backend])
    text, ended = slow.read()
    assert not ended
    assert text.startswith(b'[{"id":')
    assert not text.endswith(b"]")


def test_a_slow_reader_gets_the_complete_stream(
    fill: Callable[[int], None], reader: Callable[..., Reader], ann: Person
) -> None:
    fill(HUGE)
    slow = reader(f"/api/locations?person_id={ann.pk}")
    until(readers_in_database)
    text, ended = slow.read()
    assert ended
    assert len(json.loads(text)) == HUGE


def test_streams_are_limited_and_short_calls_still_work(
    server: Server, fill: Callable[[int], None], reader: Callable[..., Reader], ann: Person
) -> None:
    fill(HUGE)
    path = f"/api/locations?person_id={ann.pk}"
    held = [reader(path) for _ in range(2)]
    assert [each.answer.status for each in held] == [200, 200]
    refused = server.get(path)
    assert (refused.status_code, refused.headers["Content-Type"]) == (503, "application/json")
    assert int(refused.headers["Retry-After"]) > 0
    assert "limit" in refused.json()["detail"]
    assert server.get("/health/ready").status_code == 200
    assert len(server.get(f"{path}&limit=10").json()) == 10
    ping = {"person_id": ann.pk, "latitude": 1, "longitude": 2}
    assert server.post("/api/locations", json=ping).status_code == 202
    assert len(readers_in_database()) == 2
    held[0].close()
    until(lambda: server.get(path).status_code == 200)


def test_an_idle_reader_is_disconnected(
    fill: Callable[[int], None], reader: Callable[..., Reader], ann: Person
) -> None:
    fill(HUGE)
    with Server(config="python:tests.gunicorn_short_timeouts", WEB_WORKERS="1", WEB_THREADS="1") as server:
        path = f"/api/locations?person_id={ann.pk}"
        idle = reader(path, of=server)
        assert len(until(readers_in_database)) == 1
        until(lambda: not readers_in_database())
        text, ended = idle.read()
        assert not ended
        assert not text.endswith(b"]")
        assert len(server.get(path).json()) == HUGE


def test_shutdown_completes_streams_and_closes_idle_connections(
    fill: Callable[[int], None], ann: Person, reader: Callable[..., Reader]
) -> None:
    fill(HUGE)
    with Server(WEB_WORKERS="1") as stopping:
        idle = http.client.HTTPConnection("127.0.0.1", stopping.port, timeout=20)
        idle.request("GET", "/health/live")
        idle.getresponse().read()
        streaming = reader(f"/api/locations?person_id={ann.pk}", stopping)

        stopping.process.terminate()

        assert idle.sock.recv(1) == b""
        body, is_whole = streaming.read()
        assert is_whole
        assert len(json.loads(body)) == HUGE
        assert stopping.process.wait(20) == 0
