"""How the client asks: again where that is safe, never for ever, and each process by itself."""

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
from grpc_server import client, converter
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


def test_a_server_that_comes_while_the_client_tries_again_is_found(
    people: None, settings: Any, free_port: int
):
    settings.PINGS_URL = f"grpc://127.0.0.1:{free_port}"

    def patiently() -> int | None:
        deadline = time.monotonic() + 20
        while True:
            try:
                return client.submit([Ping(1, NOON, 1.0, 2.0)]).stored
            except NeighbourUnavailable:
                assert time.monotonic() < deadline

    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(patiently)
        with LocationProcess(address=f"127.0.0.1:{free_port}"):
            assert taken.result(20) == 1


def test_a_restarted_server_is_found_again(people: None, settings: Any, free_port: int):
    settings.PINGS_URL = f"grpc://127.0.0.1:{free_port}"
    for second in range(2):
        with LocationProcess(address=f"127.0.0.1:{free_port}"):
            assert client.submit([Ping(1, NOON.replace(second=second), 1.0, 2.0)]).stored == 1


def test_more_calls_at_once_than_the_server_has_streams_all_get_through(url: str):
    def send(n: int) -> int | None:
        return client.submit([Ping(1 + n % 9, NOON.replace(microsecond=n), 1.0, 2.0)]).stored

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(send, range(100))) == 100


def test_no_call_waits_longer_than_its_deadline(url: str, settings: Any):
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


def test_a_question_that_nobody_waits_for_any_longer_is_not_asked_again(url: str):
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE locations_location IN ACCESS EXCLUSIVE MODE")
        with (
            request_context.begun("-", 0.5),
            pytest.raises(NeighbourUnavailable, match="time for this call is over"),
        ):
            list(client.list_between(limit=1))
        until(lambda: not sessions("state <> 'idle'"))


def test_a_question_whose_server_dies_and_stays_away_is_not_waited_for_for_ever(people: None, settings: Any):
    answered: SimpleQueue[BaseException | None] = SimpleQueue()

    def ask() -> None:
        try:
            list(client.list_between(limit=1))
            answered.put(None)
        except NeighbourUnavailable as error:
            answered.put(error)

    with LocationProcess(PGAPPNAME="dies") as server, transaction.atomic():
        settings.LOCATIONS_URL = server.url
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE locations_location IN ACCESS EXCLUSIVE MODE")
        threading.Thread(target=ask, daemon=True).start()
        until(lambda: sessions("wait_event_type = 'Lock'", of="dies"))
        server.process.kill()
        assert isinstance(answered.get(timeout=20), NeighbourUnavailable)


def test_more_questions_at_once_than_the_server_has_streams_are_all_answered(url: str):
    client.submit([Ping(1, NOON, 1.0, 2.0)])
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(lambda: len(list(client.list_between(person_id=1)))) for _ in range(100)]
        assert [one.result() for one in asked] == [1] * 100


def test_an_answer_that_breaks_off_is_no_whole_answer(people: None, crowd: int, settings: Any):
    with LocationProcess("--grace", "0") as server:
        settings.LOCATIONS_URL = server.url
        rows = client.list_between(person_id=1)
        first = next(rows)
        server.process.kill()
        with pytest.raises(NeighbourUnavailable):
            list(rows)
    assert first == next(iter(storage.list_between(limit=1)))


def test_a_page_and_the_row_after_it_are_one_call(url: str, crowd: int, monkeypatch: pytest.MonkeyPatch):
    """Whoever makes pages of 10,000 asks for one row more, and the spatial statement is a dear one."""
    storage.record([Ping(2, NOON, 1.0, 2.0)])
    ever = {"start": datetime(1990, 1, 1, tzinfo=UTC), "end": datetime(2030, 1, 1, tzinfo=UTC)}
    calls: list[str] = []
    answer = client._stream_once
    monkeypatch.setattr(client, "_stream_once", lambda method, *how: calls.append(method) or answer(method, *how))

    for size in (10_000, 10_001):
        assert len(list(client.list_between(person_id=1, limit=size))) == size
        assert len(list(client.connections(2, **ever, distance_m=5.0, limit=size))) == size
        assert calls == ["ListLocations", "FindConnections"]
        calls.clear()


def test_what_is_not_read_to_its_end_is_not_worked_on(url: str, crowd: int):
    with closing(client.list_between(person_id=1)) as rows:
        next(rows)
        assert sessions("state <> 'idle'")
    until(lambda: not sessions("state <> 'idle'"))


def test_a_process_has_one_channel_of_its_own(url: str):
    assert client._client(url) is client._client(url)
    assert {pid for pid, _ in client._clients} == {os.getpid()}


@pytest.mark.parametrize("url", ["grpc:", "grpc://", "grpc://locations", "grpc://locations:port"])
def test_an_address_without_a_port_is_a_mistake_in_the_settings(url: str, settings: Any):
    settings.LOCATIONS_URL = url

    with pytest.raises(ImproperlyConfigured, match="host:port"):
        client.get(1, NOON)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_comes_through_to_the_microsecond(moment: datetime):
    assert converter.from_timestamp(converter.to_timestamp(moment)) == moment


@given(
    person_id=st.integers(-(2**63), 2**63 - 1),
    creation_time=st.datetimes(min_value=datetime(1899, 1, 1), max_value=datetime(2101, 1, 1)),  # noqa: DTZ001
    latitude=st.floats() | st.floats(-91, 91) | st.floats(-1e-8, 1e-8),
    longitude=st.floats() | st.floats(-181, 181) | st.floats(-1e-8, 1e-8),
)
def test_the_quick_look_and_the_rule_book_agree(
    person_id: int, creation_time: datetime, latitude: float, longitude: float
):
    ping = Ping(person_id, creation_time.replace(tzinfo=UTC), latitude, longitude)
    try:
        by_the_book: Ping | None = pings.parse(ping._asdict())
    except pings.Refused:
        by_the_book = None

    assert pings.is_good(ping) == (by_the_book == ping)
    if by_the_book is not None:
        assert converter.to_ping(converter.to_location(ping)) == by_the_book
        assert converter.to_pings([converter.to_location(ping)]) == ([by_the_book], [0], [])


class _OlderRelease(LocationServiceServicer):
    """A server that passes over fields that it does not know, as one of an older release does."""

    def FindEncounters(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name in the proto
        yield pb.FindEncountersResponse(encounters=[pb.Encounter(person_id=2)])


def test_an_answer_of_a_server_that_does_not_know_plausible_only_is_not_used(settings: Any):
    server = grpc.server(ThreadPoolExecutor(2))
    add_LocationServiceServicer_to_server(_OlderRelease(), server)
    settings.LOCATIONS_URL = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    question = {"start": NOON, "end": NOON, "distance_m": 5, "within_s": 60, "max_gap_s": 75}
    try:
        assert [each.person_id for each in client.encounters(1, **question)] == [2]
        with pytest.raises(NeighbourUnavailable):
            list(client.encounters(1, **question, plausible_only=True))
    finally:
        server.stop(None).wait(20)
