"""Rate limits, shares of threads and the maximum range over gRPC."""

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import grpc
import pytest
from django.contrib.auth import get_user_model

from access import services
from access.callers import NOTED, Caller, Kind
from access.models import Question
from connect.request_context import SHARE
from grpc_server import locations_pb2 as pb
from grpc_server.calls import Method
from grpc_server.converter import to_timestamp
from grpc_server.locations_pb2_grpc import LocationServiceStub
from grpc_server.probe import is_serving
from grpc_server.rate_limits import WINDOW_S
from grpc_server.server import CONNECTION_S
from grpc_server.servicer import METHODS, SERVICE
from grpc_server.tests.conftest import NOON, batch, location
from grpc_server.tests.process import LocationProcess
from grpc_server.thread_pools import PERSON_THREADS

PER_CALLER, PER_CONNECTION = 2, 4
REQUEST = pb.GetLocationRequest(id="1-1")
LIMITS = {"RATE_PER_TOKEN": str(PER_CALLER), "RATE_PER_ADDRESS": str(PER_CONNECTION)}


@pytest.fixture
def limited(people: None) -> Iterator[LocationProcess]:
    with LocationProcess(**LIMITS, ACCESS="tokens", MAX_RANGE_DAYS="366") as running:
        yield running


@pytest.fixture
def token(people: None) -> Callable[[Kind], str]:
    """Makes tokens of staff and of processes."""
    user = get_user_model().objects.create_superuser("sam")

    def make(kind: Kind) -> str:
        fields = {"user": user} if kind is Kind.STAFF else {}
        return services.make(name="of a test", kind=kind, **fields)[1]

    return make


@pytest.fixture
def limited_stub(limited: LocationProcess) -> Iterator[LocationServiceStub]:
    with limited.channel() as channel:
        yield LocationServiceStub(channel)


def with_token(token: str) -> dict[str, Any]:
    return {"metadata": [("authorization", f"Bearer {token}")], "timeout": 20}


def calls_until_refused(
    stub: LocationServiceStub, times: int, **how: Any
) -> tuple[int, grpc.RpcError | None]:
    """The number of accepted calls before the first refused one, and its error."""
    for count in range(times):
        try:
            stub.GetLocation(REQUEST, **{"timeout": 20} | how)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                return count, error
    return times, None


def test_the_rate_limit_of_a_token_has_a_retry_after_and_spares_other_tokens(
    limited_stub: LocationServiceStub, token: Callable[[Kind], str]
) -> None:
    one = token(Kind.STAFF)
    count, error = calls_until_refused(limited_stub, 100, **with_token(one))
    assert count == PER_CALLER * WINDOW_S
    assert error is not None
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    wait_s = int(dict(error.trailing_metadata())["retry-after"])
    assert 1 <= wait_s <= WINDOW_S
    assert error.details() == f"Too many calls. Expected available in {wait_s} seconds."
    for spelling in (f"bearer {one}", f"BEARER   {one}", f"Bearer {one} "):
        how = {"metadata": [("authorization", spelling)]}
        assert calls_until_refused(limited_stub, 1, **how)[0] == 0
    other = services.make(name="a phone", kind=Kind.INGEST, first_person_id=1, last_person_id=1)[1]
    _, error = calls_until_refused(limited_stub, 1, **with_token(other))
    assert error is not None
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED  # not RESOURCE_EXHAUSTED


def test_unknown_tokens_are_limited_by_connection_and_known_ones_are_not(
    limited: LocationProcess, limited_stub: LocationServiceStub, token: Callable[[Kind], str]
) -> None:
    known, ours = token(Kind.STAFF), token(Kind.SERVICE)

    def codes(count: int) -> list[grpc.StatusCode]:
        """Status codes of calls with unknown tokens in one connection, which lasts CONNECTION_S."""
        while True:
            begin = time.monotonic()
            with grpc.insecure_channel(limited.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                stub = LocationServiceStub(channel)
                unknown = (with_token(f"{n:08}.{n:064}") for n in range(count))
                found = [calls_until_refused(stub, 1, **each)[1].code() for each in unknown]
            if time.monotonic() - begin < CONNECTION_S:
                return found

    per_window = PER_CONNECTION * WINDOW_S
    limit = [grpc.StatusCode.UNAUTHENTICATED] * per_window
    assert codes(per_window + 20) == limit + [grpc.StatusCode.RESOURCE_EXHAUSTED] * 20
    assert codes(5) == limit[:5]  # another connection
    assert calls_until_refused(limited_stub, 5, **with_token(known)) == (5, None)
    assert calls_until_refused(limited_stub, 100, **with_token(ours)) == (100, None)
    assert is_serving(int(limited.address.rpartition(":")[2]))


def test_a_client_gets_in_while_another_connection_guesses_tokens(
    limited: LocationProcess, token: Callable[[Kind], str]
) -> None:
    """With a token that the server does not know yet."""
    own_connection = [("grpc.use_local_subchannel_pool", 1)]
    stop = threading.Event()

    def guess() -> Counter[grpc.StatusCode]:
        codes: Counter[grpc.StatusCode] = Counter()
        with grpc.insecure_channel(limited.public_address, own_connection) as channel:
            stub = LocationServiceStub(channel)
            while not stop.is_set():
                unknown = with_token(f"{secrets.token_hex(4)}.{secrets.token_hex(32)}")
                calls = [stub.GetLocation.future(REQUEST, **unknown) for _ in range(20)]
                codes.update(call.exception().code() for call in calls)
        return codes

    with ThreadPoolExecutor(3) as pool:
        guesses = [pool.submit(guess) for _ in range(3)]
        try:
            for _ in range(20):
                with grpc.insecure_channel(limited.public_address, own_connection) as channel:
                    how = with_token(token(Kind.STAFF))
                    assert calls_until_refused(LocationServiceStub(channel), 1, **how) == (1, None)
        finally:
            stop.set()
    refused = sum((guess.result() for guess in guesses), Counter())
    assert refused[grpc.StatusCode.RESOURCE_EXHAUSTED] > 0
    assert set(refused) <= {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAUTHENTICATED}


def test_all_tokens_of_a_user_share_a_rate_limit(
    limited_stub: LocationServiceStub, token: Callable[[Kind], str]
) -> None:
    first = token(Kind.STAFF)
    second = services.make(name="second", kind=Kind.STAFF, user=get_user_model().objects.get())[1]
    assert calls_until_refused(limited_stub, 15, **with_token(first)) == (15, None)
    count, error = calls_until_refused(limited_stub, 100, **with_token(second))
    assert count == PER_CALLER * WINDOW_S - 15
    assert error is not None


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_public_port_refuses_the_tokens_of_processes(
    limited: LocationProcess, token: Callable[[Kind], str], method: Method
) -> None:
    """Also with the header of a call that a neighbour has already logged."""
    metadata = [("authorization", f"Bearer {token(Kind.SERVICE)}"), (NOTED, "1")]

    def code(channel: grpc.Channel) -> grpc.StatusCode:
        call = channel.stream_stream(f"/{SERVICE}/{method.name}")(iter([b""]), metadata=metadata, timeout=20)
        with suppress(grpc.RpcError):
            list(call)
        return call.code()

    with limited.channel() as neighbours, limited.public_channel() as clients:
        assert code(neighbours) is not grpc.StatusCode.PERMISSION_DENIED
        assert code(clients) is grpc.StatusCode.PERMISSION_DENIED
    noted = [*Question.objects.values_list("kind", "what", "outcome")]
    assert noted == ([] if method.sends_pings else [("service", method.name, "PERMISSION_DENIED")])


def test_each_batch_of_a_stream_counts_towards_the_rate_limit(
    limited_stub: LocationServiceStub, token: Callable[[Kind], str]
) -> None:
    sent = (batch(location(1, second)) for second in range(100))
    answers = limited_stub.RecordLocations(sent, **with_token(token(Kind.STAFF)))
    accepted = []
    with pytest.raises(grpc.RpcError) as raised:
        accepted.extend(answer.accepted for answer in answers)
    # On a busy machine the batches take longer than one window.
    assert PER_CALLER * WINDOW_S <= len(accepted) < 100
    assert set(accepted) == {1}
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "retry-after" in dict(raised.value.trailing_metadata())


def test_a_call_of_a_neighbour_uses_the_share_of_its_caller(
    many_locations: int, token: Callable[[Kind], str]
) -> None:
    """A person gets two lists at a time; other people of the same neighbour are not affected."""
    ours = token(Kind.SERVICE)
    request = pb.ListLocationsRequest(start=to_timestamp(NOON - timedelta(36_500)), end=to_timestamp(NOON))
    with LocationProcess(ACCESS="tokens", GRPC_THREADS="24") as running, running.channel() as channel:
        stub = LocationServiceStub(channel)

        def begin(share: str) -> Any:
            how = with_token(ours)
            answer = stub.ListLocations(request, **how | {"metadata": [*how["metadata"], (SHARE, share)]})
            next(answer)  # unread, so the answer keeps its place
            return answer

        greedy = Caller(Kind.PERSON, "person 1").share
        locked = [begin(greedy) for _ in range(PERSON_THREADS)]
        with pytest.raises(grpc.RpcError) as raised:
            begin(greedy)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        locked.append(begin(Caller(Kind.PERSON, "person 2").share))
        for answer in locked:
            answer.cancel()


@pytest.mark.parametrize("method", ["FindConnections", "FindEncounters"])
def test_a_range_over_the_maximum_is_refused(
    limited_stub: LocationServiceStub, token: Callable[[Kind], str], method: str
) -> None:
    staff = token(Kind.STAFF)
    request = getattr(pb, f"{method}Request")

    def ask(days: float) -> list[Any]:
        end = to_timestamp(NOON + timedelta(days))
        question = request(person_id=1, start=to_timestamp(NOON), end=end)
        return list(getattr(limited_stub, method)(question, **with_token(staff)))

    assert ask(366) == []
    with pytest.raises(grpc.RpcError) as raised:
        ask(366.00001)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details() == "end: Must be at most 366 days after the start."
