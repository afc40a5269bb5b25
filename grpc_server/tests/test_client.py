"""The client: retries, deadlines, interrupted streams, one channel per process; and the converter."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from connect import request_context
from connect.errors import NeighbourUnavailable
from grpc_server import client, converter, transport
from grpc_server import locations_pb2 as pb
from grpc_server.locations_pb2_grpc import LocationServiceServicer, add_LocationServiceServicer_to_server
from grpc_server.tests.conftest import NOON, sessions
from grpc_server.tests.process import LocationProcess
from locations import pings, storage
from locations.pings import Ping
from tests.gunicorn_server import until


@pytest.fixture
def url(location_server: LocationProcess, people: None, settings: Any) -> str:
    settings.LOCATIONS_URL = settings.PINGS_URL = location_server.url
    return location_server.url


def test_the_client_finds_a_server_that_starts_during_its_retries(
    people: None, settings: Any, free_port: int
):
    settings.PINGS_URL = f"grpc://127.0.0.1:{free_port}"

    def stored() -> int | None:
        try:
            return client.submit([Ping(1, NOON, 1.0, 2.0)]).stored
        except NeighbourUnavailable:
            return None

    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(until, stored)
        with LocationProcess(address=f"127.0.0.1:{free_port}"):
            assert taken.result(20) == 1


def test_the_client_reconnects_to_a_restarted_server(people: None, settings: Any, free_port: int):
    settings.PINGS_URL = f"grpc://127.0.0.1:{free_port}"
    for second in range(2):
        with LocationProcess(address=f"127.0.0.1:{free_port}"):
            assert client.submit([Ping(1, NOON.replace(second=second), 1.0, 2.0)]).stored == 1


def test_more_concurrent_calls_than_server_threads_succeed(url: str):
    def send(n: int) -> int | None:
        return client.submit([Ping(1 + n % 9, NOON.replace(microsecond=n), 1.0, 2.0)]).stored

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(send, range(100))) == 100


def test_no_call_waits_past_its_deadline(url: str, settings: Any):
    settings.GRPC_TIMEOUT_S = settings.GRPC_STREAM_TIMEOUT_S = 0.5
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE locations_location IN ACCESS EXCLUSIVE MODE")
        for ask in (
            lambda: client.submit([Ping(1, NOON, 1.0, 2.0)]),
            lambda: client.get(1, NOON),
            lambda: list(client.list_between(limit=1)),
        ):
            began = time.monotonic()
            with pytest.raises(NeighbourUnavailable, match="DEADLINE_EXCEEDED"):
                ask()
            assert time.monotonic() - began < 5
        until(lambda: not sessions("state <> 'idle'"))


def test_a_query_is_not_retried_after_the_deadline_of_its_caller(url: str):
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE locations_location IN ACCESS EXCLUSIVE MODE")
        with (
            request_context.call_context("-", 0.5),
            pytest.raises(NeighbourUnavailable, match="deadline of this call"),
        ):
            list(client.list_between(limit=1))
        until(lambda: not sessions("state <> 'idle'"))


def test_a_query_fails_when_its_server_dies(people: None, settings: Any):
    outcome: SimpleQueue[BaseException | None] = SimpleQueue()

    def ask() -> None:
        try:
            list(client.list_between(limit=1))
            outcome.put(None)
        except NeighbourUnavailable as error:
            outcome.put(error)

    with LocationProcess(PGAPPNAME="dies") as server, transaction.atomic():
        settings.LOCATIONS_URL = server.url
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE locations_location IN ACCESS EXCLUSIVE MODE")
        threading.Thread(target=ask, daemon=True).start()
        until(lambda: sessions("wait_event_type = 'Lock'", of="dies"))
        server.process.kill()
        assert isinstance(outcome.get(timeout=20), NeighbourUnavailable)
    until(lambda: not sessions("true", of="dies"))  # they would deadlock with the flush of the database


def test_more_concurrent_streams_than_server_threads_succeed(url: str):
    client.submit([Ping(1, NOON, 1.0, 2.0)])
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(lambda: len(list(client.list_between(person_id=1)))) for _ in range(100)]
        assert [one.result() for one in asked] == [1] * 100


def test_an_interrupted_stream_raises(people: None, many_locations: int, settings: Any):
    with LocationProcess("--grace", "0") as server:
        settings.LOCATIONS_URL = server.url
        rows = client.list_between(person_id=1)
        first = next(rows)
        server.process.kill()
        with pytest.raises(NeighbourUnavailable):
            list(rows)
    assert first == next(iter(storage.list_between(limit=1)))


def test_a_page_and_its_look_ahead_row_are_one_call(
    url: str, many_locations: int, monkeypatch: pytest.MonkeyPatch
):
    """Pages of 10,000 need one row more, and a second call would run an expensive spatial query twice."""
    storage.record([Ping(2, NOON, 1.0, 2.0)])
    ever = {"start": datetime(1990, 1, 1, tzinfo=UTC), "end": datetime(2030, 1, 1, tzinfo=UTC)}
    calls: list[str] = []
    answer = transport.stream_once
    monkeypatch.setattr(
        transport, "stream_once", lambda method, *how: calls.append(method) or answer(method, *how)
    )

    for size in (10_000, 10_001):
        assert len(list(client.list_between(person_id=1, limit=size))) == size
        assert len(list(client.connections(2, **ever, distance_m=5.0, limit=size))) == size
        assert calls == ["ListLocations", "FindConnections"]
        calls.clear()


def test_closing_a_stream_cancels_its_statement(url: str, many_locations: int):
    with closing(client.list_between(person_id=1)) as rows:
        next(rows)
        assert sessions("state <> 'idle'")
    until(lambda: not sessions("state <> 'idle'"))


def test_a_process_has_one_channel_per_address(url: str):
    assert transport.client(url) is transport.client(url)
    assert {pid for pid, _ in transport._clients} == {os.getpid()}


@pytest.mark.parametrize("url", ["grpc:", "grpc://", "grpc://locations", "grpc://locations:port"])
def test_an_address_without_a_port_is_refused(url: str, settings: Any):
    settings.LOCATIONS_URL = url

    with pytest.raises(ImproperlyConfigured, match="host:port"):
        client.get(1, NOON)


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_are_converted_to_the_microsecond(moment: datetime):
    assert converter.from_timestamp(converter.to_timestamp(moment)) == moment


@given(
    person_id=st.integers(-(2**63), 2**63 - 1),
    creation_time=st.datetimes(min_value=datetime(1899, 1, 1), max_value=datetime(2101, 1, 1)),  # noqa: DTZ001
    latitude=st.floats() | st.floats(-91, 91) | st.floats(-1e-8, 1e-8),
    longitude=st.floats() | st.floats(-181, 181) | st.floats(-1e-8, 1e-8),
)
def test_the_fast_path_agrees_with_the_rules(
    person_id: int, creation_time: datetime, latitude: float, longitude: float
):
    ping = Ping(person_id, creation_time.replace(tzinfo=UTC), latitude, longitude)
    try:
        by_the_rules: Ping | None = pings.parse(ping._asdict())
    except pings.Refused:
        by_the_rules = None

    assert pings.is_valid(ping) == (by_the_rules == ping)
    if by_the_rules is not None:
        assert converter.to_ping(converter.to_location(ping)) == by_the_rules
        assert converter.to_pings([converter.to_location(ping)]) == ([by_the_rules], [0], [])


class _OlderRelease(LocationServiceServicer):
    """A server of an older release, which ignores unknown fields."""

    def FindConnections(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name in the proto
        yield pb.FindConnectionsResponse(locations=[pb.Location(person_id=2)])

    def FindEncounters(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name in the proto
        yield pb.FindEncountersResponse(encounters=[pb.Encounter(person_id=2)])


def test_an_older_server_that_ignores_a_field_is_an_error(settings: Any):
    server = grpc.server(ThreadPoolExecutor(2))
    add_LocationServiceServicer_to_server(_OlderRelease(), server)
    settings.LOCATIONS_URL = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    question = {"start": NOON, "end": NOON, "distance_m": 5, "within_s": 60, "max_gap_s": 75}
    try:
        assert [each.person_id for each in client.encounters(1, **question)] == [2]
        for asked in ({"plausible_only": True}, {"max_accuracy_m": 20.0}):
            with pytest.raises(NeighbourUnavailable, match="older release"):
                list(client.encounters(1, **question, **asked))
        near = {"start": NOON, "end": NOON, "distance_m": 5}
        assert [each.person_id for each in client.connections(1, **near)] == [2]
        with pytest.raises(NeighbourUnavailable, match="older release"):
            list(client.connections(1, **near, max_accuracy_m=20.0))
    finally:
        server.stop(None).wait(20)
