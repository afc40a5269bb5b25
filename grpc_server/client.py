"""Implements LOCATIONS_URL and PINGS_URL=grpc://: the verbs of locations.storage, over gRPC.

All calls are retried a few times within their deadline, then raise NeighbourUnavailable. Retries are safe: a
query is retried only before its first row, and a repeated ping is stored once.
"""

import json
import os
import random
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from operator import attrgetter
from typing import Any, TypeVar
from urllib.parse import urlsplit

import grpc
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from access.callers import NOTED
from connect import request_context
from connect.errors import NeighbourUnavailable, QuestionTooLarge
from connect.web.query_parameters import MAX_LIMIT
from grpc_server import converter, tls
from grpc_server import locations_pb2 as pb
from grpc_server.locations_pb2_grpc import LocationServiceStub
from locations.pings import EARLIEST, LATEST, MAX_BATCH, Ping, Refusal, make_id, unknown_person
from locations.proximity import Encounter
from locations.storage import MAX_ID, Bounds, Receipt

Row = TypeVar("Row")
Key = TypeVar("Key")

_SERVICE = pb.DESCRIPTOR.services_by_name["LocationService"].full_name
# Statuses that a retry may change. A server that is shutting down answers new calls with CANCELLED.
_TRANSIENT = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED]
_CONFIRMED = {"plausible_only", "max_accuracy_m"}  # a response repeats the applied ones
_HEALTH_TIMEOUT_S = 2.0
_RETRY_DELAYS_S = [0.1, 0.2, 0.4, 0.8]  # plus or minus 20 % jitter
# The library's own retries, for calls with one answer. With streams it has a bug: if the server of a stream
# dies and the last retry reaches no server, the reader hangs in spite of its deadline, and a cancel does not
# help.
_RETRY = {
    "maxAttempts": 1 + len(_RETRY_DELAYS_S),
    "initialBackoff": f"{_RETRY_DELAYS_S[0]}s",
    "maxBackoff": f"{_RETRY_DELAYS_S[-1]}s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": [code.name for code in _TRANSIENT],
}
_RETRIED = [{"service": _SERVICE, "method": method} for method in ("GetLocation", "RecordLocations")]
_OPTIONS: list[tuple[str, str | int]] = [
    (
        "grpc.service_config",
        json.dumps(
            {
                "loadBalancingConfig": [{"round_robin": {}}],
                "methodConfig": [{"name": _RETRIED, "retryPolicy": _RETRY}],
            }
        ),
    ),
    ("grpc.per_rpc_retry_buffer_size", 2 * settings.BODY_LIMIT),  # a whole batch; larger calls have no retry
    ("grpc.max_receive_message_length", settings.BODY_LIMIT),
    ("grpc.enable_http_proxy", 0),
    # Reconnect quickly to a server that is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Detect a server that vanished without closing the connection.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
]


class _Client:
    """One channel to one address; its calls share a connection."""

    def __init__(self, url: str):
        address = urlsplit(url).netloc
        if not address.rpartition(":")[2].isdecimal():
            raise ImproperlyConfigured(f"{url!r}: must be grpc://host:port.")
        channel = tls.channel(address, _OPTIONS)
        self.ask = LocationServiceStub(channel)
        self.check_health = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        # A stream of one message equals a unary call on the wire, which needs no extra thread here.
        self.record = channel.unary_unary(
            f"/{_SERVICE}/RecordLocations",
            request_serializer=pb.RecordLocationsRequest.SerializeToString,
            response_deserializer=pb.RecordLocationsResponse.FromString,
        )


_clients: dict[tuple[int, str], _Client] = {}
_clients_lock = threading.Lock()


def _client(url: str) -> _Client:
    """One per process: a channel does not survive a fork."""
    key = (os.getpid(), url)
    with _clients_lock:
        if key not in _clients:
            _clients[key] = _Client(url)
        return _clients[key]


def is_alive(url: str) -> bool:
    """Whether the server answers a health check, with whatever status."""
    try:
        _client(url).check_health(HealthCheckRequest(), timeout=_HEALTH_TIMEOUT_S)
    except grpc.RpcError:
        return False
    return True


# --- pings ---------------------------------------------------------------------------------------


def submit(pings: Sequence[Ping]) -> Receipt:
    """Sends pings; the server stores each batch in one transaction. Idempotent."""
    stored: int | None = 0
    refused = []
    for first in range(0, len(pings), MAX_BATCH):
        batch = pings[first : first + MAX_BATCH]
        sendable = [index for index, ping in enumerate(batch) if abs(ping.person_id) <= MAX_ID]
        refusals = [
            unknown_person(first + n, batch[n].person_id) for n in set(range(len(batch))) - set(sendable)
        ]
        if sendable:
            answer = _record([batch[index] for index in sendable])
            stored = stored + answer.stored if stored is not None and answer.HasField("stored") else None
            refusals += [
                Refusal(first + sendable[refusal.index], refusal.status, refusal.errors)
                for refusal in map(converter.from_refusal, answer.refused)
            ]
        refused += sorted(refusals, key=attrgetter("index"))
    return Receipt(stored, refused)


def _record(pings: Sequence[Ping]) -> pb.RecordLocationsResponse:
    request = pb.RecordLocationsRequest()
    converter.add_locations(request.locations, pings, with_ids=False)
    try:
        return _client(settings.PINGS_URL).record(request, **_call_options(settings.GRPC_TIMEOUT_S))
    except grpc.RpcError as error:
        raise _translated(error) from error


# --- locations -----------------------------------------------------------------------------------


def get(person_id: int, creation_time: datetime) -> Ping | None:
    """The stored location of this person and time."""
    request = pb.GetLocationRequest(id=make_id(person_id, creation_time))
    try:
        client = _client(settings.LOCATIONS_URL)
        found = client.ask.GetLocation(request, **_call_options(settings.GRPC_TIMEOUT_S))
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return None
        raise _translated(error) from error
    return converter.from_location(found)


def list_between(
    *,
    person_id: int | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    bounds: Bounds | None = None,
    after: tuple[datetime, int] | None = None,
    limit: int | None = None,
    newest_first: bool = False,
) -> Iterator[Ping]:
    """Locations in [start, end), ordered by creation_time, then person, as they arrive."""
    if person_id is not None and not 0 < person_id <= MAX_ID:
        return iter([])
    if person_id is None and limit is None:
        start, end = start or EARLIEST, end or LATEST  # the server requires a filter
    box = pb.Bounds(**asdict(bounds)) if bounds else None

    def page(after: tuple[datetime, int] | None, limit: int | None) -> Iterator[Ping]:
        request = pb.ListLocationsRequest(
            person_id=person_id,
            start=_moment(start),
            end=_moment(end),
            bounds=box,
            after=_location_key(after),
            order=pb.ListLocationsRequest.NEWEST if newest_first else pb.ListLocationsRequest.OLDEST,
            **_limit_fields(limit),
        )
        for batch in _batches("ListLocations", request):
            yield from map(converter.from_location, batch.locations)

    return _pages(page, _location_place, after=after, limit=limit)


def connections(
    person_id: int,
    *,
    start: datetime,
    end: datetime,
    after: tuple[datetime, int] | None = None,
    limit: int | None = None,
    **parameters: Any,
) -> Iterator[Ping]:
    """Others' locations in [start, end) near an own one, each once, ordered by creation_time, person.

    `parameters` are those of limits.CONNECTIONS. Raises NeighbourUnavailable if an older server ignored
    `max_accuracy_m`.
    """
    if not 0 < person_id <= MAX_ID:
        return iter([])

    def page(after: tuple[datetime, int] | None, limit: int | None) -> Iterator[Ping]:
        request = pb.FindConnectionsRequest(
            person_id=person_id,
            start=_moment(start),
            end=_moment(end),
            after=_location_key(after),
            **_limit_fields(limit),
            **parameters,
        )
        for batch in _batches("FindConnections", request):
            _check_applied(request, batch)
            yield from map(converter.from_location, batch.locations)

    return _pages(page, _location_place, after=after, limit=limit)


def encounters(
    person_id: int,
    *,
    start: datetime,
    end: datetime,
    plausible_only: bool = False,
    after: tuple[datetime, int, int] | None = None,
    limit: int | None = None,
    **parameters: Any,
) -> Iterator[Encounter]:
    """A person's encounters in [start, end), ordered by start, person; `after` is (start, person, nth).

    See locations.proximity.encounters; `parameters` are those of limits.ENCOUNTERS. Raises
    NeighbourUnavailable if an older server ignored `plausible_only` or `max_accuracy_m`.
    """
    if not 0 < person_id <= MAX_ID:
        return iter([])

    def page(after: tuple[datetime, int, int] | None, limit: int | None) -> Iterator[Encounter]:
        request = pb.FindEncountersRequest(
            person_id=person_id,
            start=_moment(start),
            end=_moment(end),
            plausible_only=plausible_only or None,
            after=_encounter_key(after),
            **_limit_fields(limit),
            **parameters,
        )
        for batch in _batches("FindEncounters", request):
            _check_applied(request, batch)
            yield from map(converter.from_encounter, batch.encounters)

    return _pages(
        page,
        lambda encounter: (encounter.start, encounter.person_id, encounter.nth),
        after=after,
        limit=limit,
    )


def _check_applied(request: Any, batch: Any) -> None:
    """Raises NeighbourUnavailable if the server did not apply a field that an older release does not know.

    An answer without a batch needs no check: with the field it would be empty, too.
    """
    for name in _CONFIRMED & {field.name for field, _ in request.ListFields()}:
        if not getattr(batch, name):
            raise NeighbourUnavailable(f"The gRPC server is of an older release: it ignores {name}.")


def _moment(moment: datetime | None) -> Timestamp | None:
    return None if moment is None else converter.to_timestamp(moment)


def _location_key(key: tuple[datetime, int] | None) -> pb.LocationKey | None:
    return pb.LocationKey(creation_time=_moment(key[0]), person_id=key[1]) if key else None


def _encounter_key(key: tuple[datetime, int, int] | None) -> pb.EncounterKey | None:
    return pb.EncounterKey(start=_moment(key[0]), person_id=key[1], nth=key[2]) if key else None


def _location_place(ping: Ping) -> tuple[datetime, int]:
    return ping.creation_time, ping.person_id


def _pages(
    page: Callable[[Key | None, int | None], Iterator[Row]],
    key: Callable[[Row], Key],
    *,
    after: Key | None,
    limit: int | None,
) -> Iterator[Row]:
    """The rows of one call, or of several if `limit` exceeds a page and the row after it."""
    while limit is None or limit > 0:
        size = None if limit is None else min(limit, MAX_LIMIT + 1)
        count = 0
        for row in page(after, size):
            yield row
            count += 1
        # An older server does not look ahead: more rows may follow a full page.
        if limit is None or count < MAX_LIMIT:
            return
        limit -= count
        after = key(row)


def _limit_fields(limit: int | None) -> dict[str, Any]:
    """The limit fields of a request: at most one page and the row after it."""
    if limit is None or limit <= MAX_LIMIT:
        return {"limit": limit}
    return {"limit": MAX_LIMIT, "look_ahead": True}


def _batches(method: str, request: Any) -> Iterator[Any]:
    """The messages of a stream as they arrive; none for an unknown person."""
    for delay_s in (*_RETRY_DELAYS_S, None):
        has_begun = False
        try:
            with closing(_stream_once(method, request)) as answer:
                for batch in answer:
                    has_begun = True
                    yield batch
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return
            if has_begun or delay_s is None or error.code() not in _TRANSIENT:
                raise _translated(error) from error
        else:
            return
        time.sleep(request_context.seconds_left(delay_s * random.uniform(0.8, 1.2)))  # noqa: S311 - no secret


def _stream_once(method: str, request: Any) -> Generator[Any, None, None]:
    """The messages of one call, without a retry."""
    ask = getattr(_client(settings.LOCATIONS_URL).ask, method)
    first_message_s = request_context.seconds_left(settings.GRPC_STREAM_TIMEOUT_S)
    deadline = (request_context.TIMEOUT_S, f"{min(first_message_s, 99_999):.3f}")
    answer = ask(request, timeout=settings.GRPC_STREAM_TIMEOUT_S, metadata=[*_metadata(), deadline])
    # The call's deadline bounds the first message only: later messages depend on the reader's speed.
    first_message_timer = threading.Timer(first_message_s, answer.cancel)
    first_message_timer.daemon = True
    if first_message_s < settings.GRPC_STREAM_TIMEOUT_S:
        first_message_timer.start()
    try:
        for batch in answer:
            first_message_timer.cancel()
            yield batch
    finally:
        first_message_timer.cancel()
        answer.cancel()  # the server stops working on an abandoned stream


def _call_options(timeout_s: float) -> dict[str, Any]:
    """Timeout and metadata of a unary call."""
    return {"timeout": request_context.seconds_left(timeout_s), "metadata": _metadata()}


def _metadata() -> list[tuple[str, str]]:
    metadata = [(request_context.REQUEST_ID, request_context.request_id()), (NOTED, "1")]
    if settings.SERVICE_TOKEN:
        metadata.append(("authorization", f"Bearer {settings.SERVICE_TOKEN}"))
    if share := request_context.share():
        metadata.append((request_context.SHARE, share))
    return metadata


def _translated(error: grpc.RpcError) -> Exception:
    if error.details() == str(QuestionTooLarge()):
        return QuestionTooLarge()
    text = f"{error.code().name}: {error.details()}"
    if error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED):
        return ValueError(text)
    return NeighbourUnavailable(text)
