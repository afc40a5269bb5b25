"""The server while its database fails, its health, and its shutdown."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from django.db import connection
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from grpc_server.locations_pb2_grpc import LocationServiceStub
from grpc_server.server import SERVICE
from grpc_server.tests.conftest import (
    ALL_OF_PERSON_1,
    NOON,
    TIMEOUT,
    BatchStream,
    batch,
    end_sessions,
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


# --- database failures -------------------------------------------------------------------------------


def test_lost_database_connections_are_replaced(stub: LocationServiceStub):
    stream = BatchStream(stub)
    stream.send(batch(location(1, 0)))
    assert next(stream.answers).accepted == 1
    for second in range(1, 9):
        assert end_sessions() > 0

        assert stub.RecordLocation(location(2, second), **TIMEOUT).id
        stream.send(batch(location(1, second)))
        assert next(stream.answers).stored == 1
    stream.close()


@contextmanager
def unavailable_database() -> Iterator[None]:
    """Ends the server's database sessions and refuses new ones."""
    name = connection.settings_dict["NAME"]

    def allow_connections(allowed: str) -> None:
        with connection._nodb_cursor() as cursor:
            cursor.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {allowed}')

    allow_connections("false")
    try:
        end_sessions()
        yield
    finally:
        allow_connections("true")


def test_calls_and_health_report_an_unavailable_database(stub: LocationServiceStub, channel: grpc.Channel):
    health = HealthStub(channel)

    def is_serving(name: str = SERVICE) -> bool:
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), **TIMEOUT)
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    with unavailable_database():
        error = failure(lambda: stub.RecordLocation(location(), **TIMEOUT))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        until(lambda: not is_serving())
        assert not is_serving("")
    assert stub.RecordLocation(location(), **TIMEOUT).id
    until(is_serving)
    assert is_serving("")


def test_a_server_starts_without_its_database_and_reports_it():
    with LocationProcess(DATABASE_URL="postgis://connect@127.0.0.1:9/nowhere") as server:
        with server.channel() as channel:
            health, stub = HealthStub(channel), LocationServiceStub(channel)
            for name in ("", SERVICE):
                answer = health.Check(health_pb2.HealthCheckRequest(service=name), **TIMEOUT)
                assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING

            assert (
                failure(lambda: stub.RecordLocation(location(), **TIMEOUT)).code()
                is grpc.StatusCode.UNAVAILABLE
            )
            assert failure(lambda: list(stub.ListLocations(ALL_OF_PERSON_1, **TIMEOUT))).code() is (
                grpc.StatusCode.UNAVAILABLE
            )
        assert server.stop() == 0


def test_a_terminated_statement_is_unavailable(stub: LocationServiceStub):
    with locked("locations_location"):
        call = in_thread(lambda: stub.RecordLocation(location(), **TIMEOUT))
        until(lock_waiters)
        assert end_sessions("wait_event_type = 'Lock'") == 1
        assert failure(lambda: call.result(20)).code() is grpc.StatusCode.UNAVAILABLE


def test_health_of_the_server_and_of_the_service(channel: grpc.Channel):
    health = HealthStub(channel)

    for name in ("", SERVICE):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), **TIMEOUT)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    unknown = failure(lambda: health.Check(health_pb2.HealthCheckRequest(service="x"), **TIMEOUT))
    assert unknown.code() is grpc.StatusCode.NOT_FOUND


# --- shutdown ------------------------------------------------------------------------------------


def test_a_stop_stores_acknowledged_batches_exactly_once():
    """The client keeps sending while the server stops, then sends unanswered batches to the next server."""
    batches = [batch(*(location(1 + n % 9, n // 9 + 100 * nth) for n in range(300))) for nth in range(100)]
    with LocationProcess() as server, server.channel() as channel:
        acknowledged = 0
        answers = LocationServiceStub(channel).RecordLocations(iter(batches), timeout=60)
        try:
            for answer in answers:
                assert answer.accepted == 300
                acknowledged += 1
                if acknowledged == 5:
                    server.process.send_signal(signal.SIGTERM)
        except grpc.RpcError:
            assert answers.code() is grpc.StatusCode.UNAVAILABLE
        assert server.process.wait(60) == 0, server.output()

    assert 5 <= acknowledged < 100
    stored = len(list(storage.list_between(limit=10**6)))
    assert acknowledged * 300 <= stored <= (acknowledged + 1) * 300
    rest = batches[acknowledged : acknowledged + 5]
    with LocationProcess() as server, server.channel() as channel:
        again = list(LocationServiceStub(channel).RecordLocations(iter(rest), **TIMEOUT))
    assert sum(answer.accepted for answer in again) == 1500
    assert len(list(storage.list_between(limit=10**6))) == (acknowledged + 5) * 300


def refused(stub: LocationServiceStub) -> bool:
    code = failure(lambda: stub.RecordLocation(location(1, 4), timeout=1)).code()
    # grpc cancels calls that arrive just when the server begins to refuse them.
    return code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def test_a_stop_finishes_running_work_and_refuses_the_rest():
    with LocationProcess(PGAPPNAME="stopping") as server, server.channel() as channel:
        stub, health = LocationServiceStub(channel), HealthStub(channel)
        idle, at_work = BatchStream(stub), BatchStream(stub)
        idle.send(batch(location(1, 1)))
        assert next(idle.answers).accepted == 1
        watched = health.Watch(health_pb2.HealthCheckRequest(), **TIMEOUT)
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        with locked("locations_location"):
            at_work.send(batch(location(1, 2)))
            unary = in_thread(lambda: stub.RecordLocation(location(1, 3), **TIMEOUT))
            until(lambda: lock_waiters(of="stopping") == 2)
            server.process.send_signal(signal.SIGTERM)
            assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
            with server.channel() as other:
                # A call that still arrives before that is running work and waits for the table.
                until(lambda: refused(LocationServiceStub(other)))
        assert unary.result(20).id
        assert next(at_work.answers).accepted == 1
        for stream in (idle, at_work):
            assert failure(lambda stream=stream: next(stream.answers)).code() is grpc.StatusCode.UNAVAILABLE
            stream.close()
        assert server.process.wait(60) == 0, server.output()


def test_work_beyond_the_grace_period_is_cancelled_with_exit_status_1():
    with LocationProcess("--grace", "0.5", PGAPPNAME="stopping") as server, server.channel() as channel:
        stub = LocationServiceStub(channel)
        with locked("locations_location"):
            call = in_thread(lambda: stub.RecordLocation(location(), **TIMEOUT))
            until(lambda: lock_waiters(of="stopping") == 1)
            server.process.send_signal(signal.SIGTERM)
            assert failure(lambda: call.result(20)).code() is grpc.StatusCode.UNAVAILABLE
            assert server.process.wait(60) == 1
    assert "not done within 0.5 s" in server.output()
    assert storage.get(1, NOON) is None


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({}, "is not available"),
        ({"LOCATIONS_URL": "grpc://127.0.0.1:1"}, "LOCATIONS_URL leads to a gRPC server"),
        ({"PINGS_URL": "grpc://127.0.0.1:1"}, "PINGS_URL leads to a gRPC server"),
    ],
)
def test_bad_settings_fail_at_start(location_server: LocationProcess, environ: dict[str, str], reason: str):
    second = LocationProcess(address=location_server.address, **environ).start()

    assert second.process.wait(20) == 2
    assert reason in second.output()
