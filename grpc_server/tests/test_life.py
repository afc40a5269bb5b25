"""A server's life: deadlines, cancelled calls, a database that restarts, too many streams, the end."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from django.db import connection, connections, transaction
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from grpc_server import anonymous
from grpc_server import locations_pb2 as pb
from grpc_server.locations_pb2_grpc import LocationServiceStub
from grpc_server.server import SERVICE, LocationServer
from grpc_server.tests.conftest import NAME, NOON, batch, end_sessions, location, sessions
from grpc_server.tests.process import LocationProcess
from grpc_server.tests.test_rpcs import SOON, failure
from locations import storage
from tests.gunicorn_server import until

pytestmark = pytest.mark.usefixtures("people")

SHORT_THREADS = 6  # of the tests' server, for pings and short answers
EVERYTHING = pb.ListLocationsRequest(person_id=1)


@contextmanager
def held(table: str) -> Iterator[None]:
    """Nobody else can read or write the table meanwhile."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


def waiting(*, of: str = NAME) -> int:
    return len(sessions("wait_event_type = 'Lock'", of=of))


def busy() -> int:
    return len(sessions("state <> 'idle'"))


def elsewhere(work: Callable[[], Any]) -> Any:
    """In another thread, because this one's transaction holds the table."""

    def run() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    return ThreadPoolExecutor(1).submit(run)


class Hand:
    """A stream of batches fed by hand."""

    def __init__(self, stub: LocationServiceStub):
        self._sent: SimpleQueue[pb.RecordLocationsRequest | None] = SimpleQueue()
        self.answers = stub.RecordLocations(iter(self._sent.get, None), **SOON)

    def send(self, request: pb.RecordLocationsRequest) -> None:
        self._sent.put(request)

    def close(self) -> None:
        self._sent.put(None)


# --- deadlines and cancelled calls ---------------------------------------------------------------


@pytest.mark.parametrize("method", ["RecordLocation", "RecordLocations", "ListLocations"])
def test_a_call_past_its_deadline_ends_and_so_does_its_statement(stub: LocationServiceStub, method: str):
    ask = {
        "RecordLocation": lambda: stub.RecordLocation(location(), timeout=0.5),
        "RecordLocations": lambda: list(stub.RecordLocations(iter([batch(location())]), timeout=0.5)),
        "ListLocations": lambda: list(stub.ListLocations(EVERYTHING, timeout=0.5)),
    }[method]
    with held("locations_location"):
        late = elsewhere(ask)
        until(waiting)
        assert failure(lambda: late.result(20)).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        until(lambda: not busy())  # while the table is still held

    assert storage.get(1, NOON) is None
    assert stub.RecordLocation(location(), **SOON).id


@pytest.mark.parametrize("waits", [{}, {"timeout": 100 * 24 * 3600.0}], ids=["for ever", "a hundred days"])
def test_a_reader_may_wait_longer_than_the_database_can_count(
    stub: LocationServiceStub, waits: dict[str, float]
):
    assert list(stub.ListLocations(EVERYTHING, **waits)) == []


def test_a_cancelled_question_stops_being_worked_on(stub: LocationServiceStub):
    with held("locations_location"):
        answer = stub.FindConnections(
            pb.FindConnectionsRequest(
                person_id=1, start=location().creation_time, end=location(1, 9).creation_time
            ),
            **SOON,
        )
        until(waiting)
        answer.cancel()
        until(lambda: not busy())


def test_an_answer_that_is_not_read_to_its_end_leaves_nothing_behind(stub: LocationServiceStub, crowd: int):
    for _ in range(8):  # more than there are streams and threads
        answer = stub.ListLocations(EVERYTHING, **SOON)
        assert len(next(answer).locations) == 2000
        until(busy)
        answer.cancel()
        until(lambda: not busy())

    assert sum(len(each.locations) for each in stub.ListLocations(EVERYTHING, **SOON)) == crowd


def test_a_reader_that_takes_nothing_is_cut_off(settings: Any, crowd: int):
    settings.GRPC_THREADS, settings.GRPC_STREAMS = 3, 1
    server = LocationServer("127.0.0.1:0", slow_reader_s=0.5)
    server.start()
    try:
        address, alone = f"127.0.0.1:{server.port}", [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(address, alone) as channel, grpc.insecure_channel(address, alone) as other:
            slow = LocationServiceStub(channel).ListLocations(EVERYTHING, **SOON)
            next(slow)

            def is_free() -> bool:
                another = LocationServiceStub(other).ListLocations(EVERYTHING, **SOON)
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


def test_streams_that_wait_for_their_client_hold_no_thread(stub: LocationServiceStub):
    hands = [Hand(stub) for _ in range(20)]  # more than there are threads
    for n, hand in enumerate(hands):
        hand.send(batch(location(1, n)))
        assert next(hand.answers).accepted == 1

    assert [one.accepted for one in stub.RecordLocations(iter([batch(location(3))]), **SOON)] == [1]
    assert stub.RecordLocation(location(2), **SOON).id
    assert len(list(stub.ListLocations(EVERYTHING, **SOON))) == 1
    for hand in hands:
        hand.close()
        assert list(hand.answers) == []


def test_calls_that_end_before_they_begin_leave_every_thread_free(
    stub: LocationServiceStub, location_server: LocationProcess
):
    """300 calls at once: some pass their deadline in the queue, the others are cancelled there."""
    logged = location_server.output()
    for _ in range(3):
        late = [stub.GetLocation.future(pb.GetLocationRequest(id="1-1"), timeout=0.05) for _ in range(300)]
        cancelled = [stub.GetLocation.future(pb.GetLocationRequest(id="1-1"), **SOON) for _ in range(300)]
        for call in cancelled:
            call.cancel()
        for call in late:
            assert call.code() is not grpc.StatusCode.OK  # there is no such location, whoever says so first

    with held("locations_location"):
        calls = [
            elsewhere(lambda n=n: stub.RecordLocation(location(1, n), **SOON)) for n in range(SHORT_THREADS)
        ]
        until(lambda: waiting() == SHORT_THREADS)  # no statement is cancelled
    assert all(call.result(20).id for call in calls)
    assert "Traceback" not in location_server.output().removeprefix(logged)


def test_a_stream_outlives_the_age_of_its_connection(channel: grpc.Channel, stub: LocationServiceStub):
    seen: list[grpc.ChannelConnectivity] = []
    hand = Hand(stub)
    hand.send(batch(location(1)))
    assert next(hand.answers).accepted == 1
    channel.subscribe(seen.append)
    until(lambda: grpc.ChannelConnectivity.IDLE in seen)  # the server told it to make another one
    hand.send(batch(location(2)))
    hand.close()
    assert next(hand.answers).accepted == 1
    assert list(hand.answers) == []


def test_reflection_and_watches_of_health_end_and_are_few(monkeypatch: pytest.MonkeyPatch, people: None):
    monkeypatch.setattr(anonymous, "MAX_OPEN_CALLS", 2)
    monkeypatch.setattr(anonymous, "FIRST_MESSAGE_S", 1.0)
    server = LocationServer("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            idle = [Reflection(channel) for _ in range(3)]
            codes = sorted(one.code().name for one in idle)
            assert codes == ["DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"]
            assert LocationServiceStub(channel).RecordLocation(location(2), **SOON).id
            asked = Reflection(channel)
            asked.send()
            assert SERVICE in str(next(asked.answers))
    finally:
        assert server.stop(10)


class Reflection:
    """A reflection stream that sends only what it is told to."""

    def __init__(self, channel: grpc.Channel):
        self._sent: SimpleQueue[reflection_pb2.ServerReflectionRequest | None] = SimpleQueue()
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        self.answers = stub.ServerReflectionInfo(iter(self._sent.get, None), **SOON)

    def send(self) -> None:
        self._sent.put(reflection_pb2.ServerReflectionRequest(list_services=""))

    def code(self) -> grpc.StatusCode:
        return failure(lambda: next(self.answers)).code()


def test_who_reads_slowly_is_in_nobodys_way(stub: LocationServiceStub, crowd: int):
    slow = [stub.ListLocations(EVERYTHING, **SOON) for _ in range(2)]
    for answer in slow:
        assert len(next(answer).locations) == 2000

    another = stub.ListLocations(EVERYTHING, **SOON)
    assert failure(lambda: list(another)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    # On the same connection, which the slow ones do not fill up for the others.
    assert len(list(stub.ListLocations(pb.ListLocationsRequest(limit=100), **SOON))) == 1
    assert stub.RecordLocation(location(2), **SOON).id
    assert [one.accepted for one in stub.RecordLocations(iter([batch(location(3))]), **SOON)] == [1]
    for answer in slow:
        answer.cancel()


def refused(stub: LocationServiceStub) -> bool:
    code = failure(lambda: stub.RecordLocation(location(1, 4), timeout=1)).code()
    # The library cancels what arrives in the instant in which it closes the door.
    return code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def failed(call: Callable[[], Any]) -> bool:
    try:
        call()
    except grpc.RpcError:
        return True
    return False


# --- the database --------------------------------------------------------------------------------


def test_connections_that_the_database_ended_are_replaced(stub: LocationServiceStub):
    hand = Hand(stub)
    hand.send(batch(location(1, 0)))
    assert next(hand.answers).accepted == 1
    for second in range(1, 9):
        assert end_sessions() > 0

        assert stub.RecordLocation(location(2, second), **SOON).id
        hand.send(batch(location(1, second)))
        assert next(hand.answers).stored == 1
    hand.close()


@contextmanager
def database_away() -> Iterator[None]:
    """The server's sessions are ended, and it gets no new ones meanwhile."""
    name = connection.settings_dict["NAME"]

    def let_in(*, anybody: bool) -> None:
        with connection._nodb_cursor() as cursor:
            cursor.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {anybody}')

    let_in(anybody=False)
    try:
        end_sessions()
        yield
    finally:
        let_in(anybody=True)


def test_while_the_database_is_away_calls_are_unavailable_and_health_says_so_until_it_is_back(
    stub: LocationServiceStub, channel: grpc.Channel
):
    health = HealthStub(channel)

    def is_serving(name: str = SERVICE) -> bool:
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), **SOON)
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    with database_away():
        error = failure(lambda: stub.RecordLocation(location(), **SOON))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        until(lambda: not is_serving())
        assert not is_serving("")
    assert stub.RecordLocation(location(), **SOON).id
    until(is_serving)
    assert is_serving("")


def test_a_server_whose_database_cannot_be_reached_starts_and_says_so():
    with LocationProcess(DATABASE_URL="postgis://connect@127.0.0.1:9/nowhere") as server:
        with server.channel() as channel:
            health, stub = HealthStub(channel), LocationServiceStub(channel)
            for name in ("", SERVICE):
                answer = health.Check(health_pb2.HealthCheckRequest(service=name), **SOON)
                assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING

            assert (
                failure(lambda: stub.RecordLocation(location(), **SOON)).code() is grpc.StatusCode.UNAVAILABLE
            )
            assert failure(lambda: list(stub.ListLocations(EVERYTHING, **SOON))).code() is (
                grpc.StatusCode.UNAVAILABLE
            )
        assert server.stop() == 0


def test_a_statement_broken_off_by_the_database_is_unavailable(stub: LocationServiceStub):
    with held("locations_location"):
        call = elsewhere(lambda: stub.RecordLocation(location(), **SOON))
        until(waiting)
        assert end_sessions("wait_event_type = 'Lock'") == 1
        assert failure(lambda: call.result(20)).code() is grpc.StatusCode.UNAVAILABLE


def test_health_is_known_for_the_whole_and_for_the_service(channel: grpc.Channel):
    health = HealthStub(channel)

    for name in ("", SERVICE):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), **SOON)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    unknown = failure(lambda: health.Check(health_pb2.HealthCheckRequest(service="x"), **SOON))
    assert unknown.code() is grpc.StatusCode.NOT_FOUND


# --- the end -------------------------------------------------------------------------------------


def test_what_was_acknowledged_when_the_server_was_stopped_is_stored_exactly_once():
    """Batches keep coming while it stops; what has no answer is sent again to the next server."""
    batches = [batch(*(location(1 + n % 9, n // 9 + 100 * nth) for n in range(900))) for nth in range(300)]
    with LocationProcess() as server, server.channel() as channel:
        acknowledged = 0
        answers = LocationServiceStub(channel).RecordLocations(iter(batches), timeout=60)
        try:
            for answer in answers:
                assert answer.accepted == 900
                acknowledged += 1
                if acknowledged == 5:
                    server.process.send_signal(signal.SIGTERM)
        except grpc.RpcError:
            assert answers.code() is grpc.StatusCode.UNAVAILABLE
        assert server.process.wait(20) == 0, server.output()

    assert 5 <= acknowledged < 300
    stored = len(list(storage.list_between(limit=10**6)))
    assert acknowledged * 900 <= stored <= (acknowledged + 1) * 900
    rest = batches[acknowledged : acknowledged + 5]
    with LocationProcess() as server, server.channel() as channel:
        again = list(LocationServiceStub(channel).RecordLocations(iter(rest), **SOON))
    assert sum(answer.accepted for answer in again) == 4500
    assert len(list(storage.list_between(limit=10**6))) == (acknowledged + 5) * 900


def test_when_stopped_work_in_hand_is_finished_and_the_rest_is_unavailable():
    with LocationProcess(PGAPPNAME="stopping") as server, server.channel() as channel:
        stub, health = LocationServiceStub(channel), HealthStub(channel)
        idle, at_work = Hand(stub), Hand(stub)
        idle.send(batch(location(1, 1)))
        assert next(idle.answers).accepted == 1
        watched = health.Watch(health_pb2.HealthCheckRequest(), **SOON)
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        with held("locations_location"):
            at_work.send(batch(location(1, 2)))
            unary = elsewhere(lambda: stub.RecordLocation(location(1, 3), **SOON))
            until(lambda: waiting(of="stopping") == 2)
            server.process.send_signal(signal.SIGTERM)
            assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
            with server.channel() as other:
                # One that comes before the door is closed is work in hand, and waits for the table.
                until(lambda: refused(LocationServiceStub(other)))
        assert unary.result(20).id
        assert next(at_work.answers).accepted == 1
        for hand in (idle, at_work):
            assert failure(lambda hand=hand: next(hand.answers)).code() is grpc.StatusCode.UNAVAILABLE
            hand.close()
        assert server.process.wait(20) == 0, server.output()


def test_work_that_outlasts_the_grace_is_broken_off_and_the_exit_status_says_so():
    with LocationProcess("--grace", "0.5", PGAPPNAME="stopping") as server, server.channel() as channel:
        stub = LocationServiceStub(channel)
        with held("locations_location"):
            call = elsewhere(lambda: stub.RecordLocation(location(), **SOON))
            until(lambda: waiting(of="stopping") == 1)
            server.process.send_signal(signal.SIGTERM)
            assert failure(lambda: call.result(20)).code() is grpc.StatusCode.UNAVAILABLE
            assert server.process.wait(20) == 1
    assert "not done within 0.5 s" in server.output()
    assert storage.get(1, NOON) is None


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({}, "cannot be had"),
        ({"LOCATIONS_URL": "grpc://127.0.0.1:1"}, "LOCATIONS_URL leads to a gRPC server"),
        ({"PINGS_URL": "grpc://127.0.0.1:1"}, "PINGS_URL leads to a gRPC server"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(
    location_server: LocationProcess, environ: dict[str, str], reason: str
):
    second = LocationProcess(address=location_server.address, **environ).start()

    assert second.process.wait(20) == 2
    assert reason in second.output()
