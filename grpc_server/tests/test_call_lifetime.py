"""Deadlines, cancelled calls, slow readers, and the threads and streams that calls hold."""

from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from grpc_server import anonymous
from grpc_server import locations_pb2 as pb
from grpc_server.locations_pb2_grpc import LocationServiceStub
from grpc_server.server import SERVICE, LocationServer
from grpc_server.tests.conftest import (
    ALL_OF_PERSON_1,
    NOON,
    TIMEOUT,
    BatchStream,
    active_sessions,
    batch,
    failure,
    in_thread,
    location,
    lock_waiters,
    locked,
)
from grpc_server.tests.process import LocationProcess
from locations import storage
from tests.gunicorn_server import until

pytestmark = pytest.mark.usefixtures("people")

SHORT_THREADS = 6  # of the tests' server, for pings and short answers


@pytest.mark.parametrize("method", ["RecordLocation", "RecordLocations", "ListLocations"])
def test_a_call_past_its_deadline_cancels_its_statement(stub: LocationServiceStub, method: str):
    ask = {
        "RecordLocation": lambda: stub.RecordLocation(location(), timeout=0.5),
        "RecordLocations": lambda: list(stub.RecordLocations(iter([batch(location())]), timeout=0.5)),
        "ListLocations": lambda: list(stub.ListLocations(ALL_OF_PERSON_1, timeout=0.5)),
    }[method]
    with locked("locations_location"):
        late = in_thread(ask)
        until(lock_waiters)
        assert failure(lambda: late.result(20)).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        until(lambda: not active_sessions())  # while the table is still locked

    assert storage.get(1, NOON) is None
    assert stub.RecordLocation(location(), **TIMEOUT).id


@pytest.mark.parametrize("waits", [{}, {"timeout": 100 * 24 * 3600.0}], ids=["for ever", "a hundred days"])
def test_a_deadline_beyond_the_range_of_statement_timeout(stub: LocationServiceStub, waits: dict[str, float]):
    assert list(stub.ListLocations(ALL_OF_PERSON_1, **waits)) == []


def test_a_cancelled_call_cancels_its_statement(stub: LocationServiceStub):
    with locked("locations_location"):
        answer = stub.FindConnections(
            pb.FindConnectionsRequest(
                person_id=1, start=location().creation_time, end=location(1, 9).creation_time
            ),
            **TIMEOUT,
        )
        until(lock_waiters)
        answer.cancel()
        until(lambda: not active_sessions())


def test_abandoned_streams_free_their_threads(stub: LocationServiceStub, many_locations: int):
    for _ in range(8):  # more than the server has streams and threads
        answer = stub.ListLocations(ALL_OF_PERSON_1, **TIMEOUT)
        assert len(next(answer).locations) == 2000
        until(active_sessions)
        answer.cancel()
        until(lambda: not active_sessions())

    assert (
        sum(len(each.locations) for each in stub.ListLocations(ALL_OF_PERSON_1, **TIMEOUT)) == many_locations
    )


def test_a_client_that_does_not_read_is_cancelled(settings: Any, many_locations: int):
    settings.GRPC_THREADS, settings.GRPC_STREAMS, settings.GRPC_QUESTIONS = 3, 1, 1
    server = LocationServer("127.0.0.1:0", "127.0.0.1:0", slow_reader_s=0.5)
    server.start()
    try:
        address, alone = f"127.0.0.1:{server.port}", [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(address, alone) as channel, grpc.insecure_channel(address, alone) as other:
            slow = LocationServiceStub(channel).ListLocations(ALL_OF_PERSON_1, **TIMEOUT)
            next(slow)

            def is_free() -> bool:
                another = LocationServiceStub(other).ListLocations(ALL_OF_PERSON_1, **TIMEOUT)
                try:
                    return len(next(another).locations) == 2000
                except grpc.RpcError:
                    return False
                finally:
                    another.cancel()

            until(is_free)
            assert failure(lambda: list(slow)).code() is grpc.StatusCode.CANCELLED
    finally:
        assert server.stop(10)


def test_idle_streams_hold_no_thread(stub: LocationServiceStub):
    streams = [BatchStream(stub) for _ in range(20)]  # more than the server has threads
    for n, stream in enumerate(streams):
        stream.send(batch(location(1, n)))
        assert next(stream.answers).accepted == 1

    assert [one.accepted for one in stub.RecordLocations(iter([batch(location(3))]), **TIMEOUT)] == [1]
    assert stub.RecordLocation(location(2), **TIMEOUT).id
    assert len(list(stub.ListLocations(ALL_OF_PERSON_1, **TIMEOUT))) == 1
    for stream in streams:
        stream.close()
        assert list(stream.answers) == []


def test_calls_that_end_in_the_queue_leave_every_thread_free(
    stub: LocationServiceStub, location_server: LocationProcess
):
    """600 concurrent calls wait in the queue: half reach their deadline there, the others are cancelled."""
    logged = location_server.output()
    for _ in range(3):
        late = [stub.GetLocation.future(pb.GetLocationRequest(id="1-1"), timeout=0.05) for _ in range(300)]
        cancelled = [stub.GetLocation.future(pb.GetLocationRequest(id="1-1"), **TIMEOUT) for _ in range(300)]
        for call in cancelled:
            call.cancel()
        for call in late:
            assert call.code() is not grpc.StatusCode.OK  # the deadline, or NOT_FOUND

    def record(n: int) -> str:
        """The server refuses streams of a connection until it has read that many calls were cancelled."""
        while True:
            try:
                return stub.RecordLocation(location(1, n), timeout=120).id
            except grpc.RpcError as error:
                if "RST_STREAM" not in error.details():
                    raise

    with locked("locations_location"):
        calls = [in_thread(lambda n=n: record(n)) for n in range(SHORT_THREADS)]
        until(lambda: lock_waiters() == SHORT_THREADS)  # no statement is cancelled
    assert all(call.result(60) for call in calls)
    assert "Traceback" not in location_server.output().removeprefix(logged)


def test_a_stream_outlives_the_maximum_age_of_its_connection(
    channel: grpc.Channel, stub: LocationServiceStub
):
    seen: list[grpc.ChannelConnectivity] = []
    stream = BatchStream(stub)
    stream.send(batch(location(1)))
    assert next(stream.answers).accepted == 1
    channel.subscribe(seen.append)
    until(lambda: grpc.ChannelConnectivity.IDLE in seen)  # the server has sent GOAWAY
    stream.send(batch(location(2)))
    stream.close()
    assert next(stream.answers).accepted == 1
    assert list(stream.answers) == []


class Reflection:
    """A reflection stream that sends one request at a time."""

    def __init__(self, channel: grpc.Channel):
        self._sent: SimpleQueue[reflection_pb2.ServerReflectionRequest | None] = SimpleQueue()
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        self.answers = stub.ServerReflectionInfo(iter(self._sent.get, None), **TIMEOUT)

    def send(self) -> None:
        self._sent.put(reflection_pb2.ServerReflectionRequest(list_services=""))

    def code(self) -> grpc.StatusCode:
        return failure(lambda: next(self.answers)).code()


def test_reflection_streams_are_limited_in_number_and_time(monkeypatch: pytest.MonkeyPatch, people: None):
    monkeypatch.setattr(anonymous, "MAX_OPEN_CALLS", 2)
    monkeypatch.setattr(anonymous, "FIRST_MESSAGE_S", 1.0)
    server = LocationServer("127.0.0.1:0", "127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            idle = [Reflection(channel) for _ in range(3)]
            codes = sorted(one.code().name for one in idle)
            assert codes == ["DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"]
            assert LocationServiceStub(channel).RecordLocation(location(2), **TIMEOUT).id
            asked = Reflection(channel)
            asked.send()
            assert SERVICE in str(next(asked.answers))
    finally:
        assert server.stop(10)


def test_slow_readers_do_not_block_other_calls(stub: LocationServiceStub, many_locations: int):
    slow = stub.ListLocations(ALL_OF_PERSON_1, **TIMEOUT)  # holds the only thread for lists
    assert len(next(slow).locations) == 2000

    another = stub.ListLocations(ALL_OF_PERSON_1, **TIMEOUT)
    assert failure(lambda: list(another)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    # On the same connection: the slow streams do not block its other streams.
    assert len(list(stub.ListLocations(pb.ListLocationsRequest(limit=100), **TIMEOUT))) == 1
    assert stub.RecordLocation(location(2), **TIMEOUT).id
    assert [one.accepted for one in stub.RecordLocations(iter([batch(location(3))]), **TIMEOUT)] == [1]
    asked = pb.FindEncountersRequest(
        person_id=1, start=location().creation_time, end=location(1, 9).creation_time
    )
    assert list(stub.FindEncounters(asked, **TIMEOUT)) == []
    slow.cancel()
