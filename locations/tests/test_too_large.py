"""A question that exceeds the caller's deadline: over REST and gRPC the error says how to reduce it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from django.db import OperationalError, connection, connections, transaction
from rest_framework.test import APIClient

from connect import database, request_context
from connect.errors import QuestionTooLarge
from grpc_server import client
from grpc_server import locations_pb2 as pb
from grpc_server.converter import to_timestamp
from grpc_server.locations_pb2_grpc import LocationServiceStub
from grpc_server.server import LocationServer
from grpc_server.tests.process import LocationProcess
from locations import partitions
from persons.models import Person

pytestmark = pytest.mark.django_db(transaction=True)

START, END = datetime(2026, 5, 11, tzinfo=UTC), datetime(2026, 5, 12, tzinfo=UTC)
DAY = "start_date=2026-05-11&end_date=2026-05-11"
PINGS = 20_000  # per person, one per second: some 140 million pairs within an hour
ADVICE = "Ask for a shorter range, a smaller distance or a smaller `within`."
QUESTION: dict[str, Any] = {"start": START, "end": END, "distance_m": 5, "within_s": 3600, "max_gap_s": 75}


@pytest.fixture(autouse=True)
def short_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Applies the rule for long deadlines to short ones, so that the tests are fast."""
    monkeypatch.setattr(database, "SHORT_DEADLINE_S", 0)
    monkeypatch.setattr(database, "MARGIN_S", 0.1)


@pytest.fixture
def crowded(person: Callable[..., Person]) -> int:
    """The id of a person with too many pings in one place."""
    own, other = person("Ann").pk, person("Bo").pk
    partitions.ensure(partitions.months_of([START]))
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO locations_location (person_id, creation_time, latitude, longitude) "
            "SELECT id, %s + n * interval '1 s', 1, 2 "
            "FROM generate_series(1, %s) AS n, unnest(%s::bigint[]) AS id",
            [START, PINGS, [own, other]],
        )
    return own


def test_a_too_large_question_over_rest_is_a_413(api: APIClient, crowded: int) -> None:
    with request_context.call_context("a-test", 0.6):
        answer = api.get(f"/api/persons/{crowded}/encounters?{DAY}&within=3600")
    assert answer.status_code == 413
    assert answer.json()["detail"].endswith(ADVICE)


@pytest.fixture
def server(settings: Any) -> Iterator[str]:
    running = LocationServer("127.0.0.1:0", "127.0.0.1:0")
    running.start()
    try:
        yield f"127.0.0.1:{running.port}"
    finally:
        assert running.stop(10)


def test_a_too_large_question_over_grpc_is_an_invalid_argument(server: str, crowded: int) -> None:
    request = pb.FindEncountersRequest(
        person_id=crowded, start=to_timestamp(START), end=to_timestamp(END), within_s=3600
    )
    with grpc.insecure_channel(server) as channel:
        answer = LocationServiceStub(channel).FindEncounters(
            request, metadata=[(request_context.TIMEOUT_S, "0.6")]
        )
        with pytest.raises(grpc.RpcError) as raised:
            list(answer)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert raised.value.details().endswith(ADVICE)


def test_a_too_large_question_to_a_grpc_neighbour_raises_question_too_large(
    crowded: int, settings: Any
) -> None:
    with LocationProcess() as server:
        settings.LOCATIONS_URL = server.url
        asking = client.encounters(crowded, **QUESTION)
        with request_context.call_context("a-test", 5.5), pytest.raises(QuestionTooLarge):
            next(asking)


def test_a_lock_timeout_is_an_operational_error(crowded: int) -> None:
    def ask() -> None:
        try:
            with request_context.call_context("a-test", 0.6):
                list(database.stream_blocks("SELECT * FROM locations_location", []))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE locations_location IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(OperationalError, match="lock timeout"):
            pool.submit(ask).result(20)
