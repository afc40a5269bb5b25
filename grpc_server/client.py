"""The seam's `grpc:` for locations and pings: the same verbs as locations.storage, asked of the server.

What may be asked again safely is everything: questions until their first row, and pings because a repeat is
stored once. That is done a few times while there is time; then it is NeighbourUnavailable.
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
# What may be otherwise at the next try. A call that arrives while a server closes its door is CANCELLED.
_PASSING = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED]
_ALIVE_S = 2.0
_PAUSES_S = [0.1, 0.2, 0.4, 0.8]  # between tries, give or take a fifth, so that not all come back at once
# The library's own retries, for calls with one answer. With streams it has a fault: when the server that took
# one dies and the last try reaches nobody, its reader waits for ever, past any deadline and any cancel.
_RETRY = {
    "maxAttempts": 1 + len(_PAUSES_S),
    "initialBackoff": f"{_PAUSES_S[0]}s",
    "maxBackoff": f"{_PAUSES_S[-1]}s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": [code.name for code in _PASSING],
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
    ("grpc.per_rpc_retry_buffer_size", 2 * settings.BODY_LIMIT),  # a whole batch, else it is not sent again
    ("grpc.max_receive_message_length", settings.BODY_LIMIT),
    ("grpc.enable_http_proxy", 0),
    # A server that came back is found again at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # One that vanished without a word is noticed while a call waits for it.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
]


class _Server:
    """One channel to one address; its calls share a connection."""

    def __init__(self, url: str):
        address = urlsplit(url).netloc
        if not address.rpartition(":")[2].isdecimal():
            raise ImproperlyConfigured(f"{url!r}: a gRPC server's address is grpc://host:port.")
        channel = tls.channel(address, _OPTIONS)
        self.ask = LocationServiceStub(channel)
        self.check_health = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=HealthCheckRequest.SerializeToString,
            response_deserializer=HealthCheckResponse.FromString,
        )
        # On the wire a stream of one message is a single call; asked as one it takes no thread more.
        self.record = channel.unary_unary(
            f"/{_SERVICE}/RecordLocations",
            request_serializer=pb.RecordLocationsRequest.SerializeToString,
            response_deserializer=pb.RecordLocationsResponse.FromString,
        )


_servers: dict[tuple[int, str], _Server] = {}
_making = threading.Lock()


def _server(url: str) -> _Server:
    """The process's own: a channel does not outlive a fork."""
    key = (os.getpid(), url)
    with _making:
        if key not in _servers:
            _servers[key] = _Server(url)
        return _servers[key]


def is_alive(url: str) -> bool:
    """Whether the server there answers: by its health service, which may also say that it is not ready."""
    try:
        _server(url).check_health(HealthCheckRequest(), timeout=_ALIVE_S)
    except grpc.RpcError:
        return False
    return True


# --- pings ---------------------------------------------------------------------------------------


def submit(pings: Sequence[Ping]) -> Receipt:
    """Hands pings in, each batch of them stored in one transaction; idempotent."""
    stored: int | None = 0
    refused = []
    for first in range(0, len(pings), MAX_BATCH):
        batch = pings[first : first + MAX_BATCH]
        possible = [index for index, ping in enumerate(batch) if abs(ping.person_id) <= MAX_ID]
        late = [unknown_person(first + n, batch[n].person_id) for n in set(range(len(batch))) - set(possible)]
        if possible:
            answer = _record([batch[index] for index in possible])
            stored = stored + answer.stored if stored is not None and answer.HasField("stored") else None
            late += [
                Refusal(first + possible[refusal.index], refusal.status, refusal.errors)
                for refusal in map(converter.from_refusal, answer.refused)
            ]
        refused += sorted(late, key=attrgetter("index"))
    return Receipt(stored, refused)


def _record(pings: Sequence[Ping]) -> pb.RecordLocationsResponse:
    request = pb.RecordLocationsRequest()
    converter.add_locations(request.locations, pings, with_ids=False)
    try:
        return _server(settings.PINGS_URL).record(request, **_carried(settings.GRPC_TIMEOUT_S))
    except grpc.RpcError as error:
        raise _in_our_words(error) from error


# --- locations -----------------------------------------------------------------------------------


def get(person_id: int, creation_time: datetime) -> Ping | None:
    """What is stored of this person at this time."""
    request = pb.GetLocationRequest(id=make_id(person_id, creation_time))
    try:
        server = _server(settings.LOCATIONS_URL)
        found = server.ask.GetLocation(request, **_carried(settings.GRPC_TIMEOUT_S))
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return None
        raise _in_our_words(error) from error
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
        start, end = start or EARLIEST, end or LATEST  # everything, too, must be asked for by name
    box = pb.Bounds(**asdict(bounds)) if bounds else None

    def page(after: tuple[datetime, int] | None, limit: int | None) -> Iterator[Ping]:
        request = pb.ListLocationsRequest(
            person_id=person_id,
            start=_moment(start),
            end=_moment(end),
            bounds=box,
            after=_location_key(after),
            order=pb.ListLocationsRequest.NEWEST if newest_first else pb.ListLocationsRequest.OLDEST,
            **_limited(limit),
        )
        for batch in _batches("ListLocations", request):
            yield from map(converter.from_location, batch.locations)

    return _pages(page, _place, after=after, limit=limit)


def connections(
    person_id: int,
    *,
    start: datetime,
    end: datetime,
    distance_m: float,
    within_s: float | None = None,
    after: tuple[datetime, int] | None = None,
    limit: int | None = None,
) -> Iterator[Ping]:
    """Others' locations in [start, end) near an own one, each once, ordered by creation_time, person."""
    if not 0 < person_id <= MAX_ID:
        return iter([])

    def page(after: tuple[datetime, int] | None, limit: int | None) -> Iterator[Ping]:
        request = pb.FindConnectionsRequest(
            person_id=person_id,
            start=_moment(start),
            end=_moment(end),
            distance_m=distance_m,
            within_s=within_s,
            after=_location_key(after),
            **_limited(limit),
        )
        for batch in _batches("FindConnections", request):
            yield from map(converter.from_location, batch.locations)

    return _pages(page, _place, after=after, limit=limit)


def encounters(
    person_id: int,
    *,
    start: datetime,
    end: datetime,
    distance_m: float,
    within_s: float,
    max_gap_s: float,
    min_duration_s: float = 0,
    plausible_only: bool = False,
    after: tuple[datetime, int, int] | None = None,
    limit: int | None = None,
) -> Iterator[Encounter]:
    """A person's encounters in [start, end), ordered by start, person; `after` is (start, person, nth).

    See locations.proximity.encounters. A server of an older release passes over `plausible_only`, so its
    answer is not used: NeighbourUnavailable.
    """
    if not 0 < person_id <= MAX_ID:
        return iter([])

    def page(after: tuple[datetime, int, int] | None, limit: int | None) -> Iterator[Encounter]:
        request = pb.FindEncountersRequest(
            person_id=person_id,
            start=_moment(start),
            end=_moment(end),
            distance_m=distance_m,
            within_s=within_s,
            max_gap_s=max_gap_s,
            min_duration_s=min_duration_s,
            plausible_only=plausible_only or None,
            after=_encounter_key(after),
            **_limited(limit),
        )
        for batch in _batches("FindEncounters", request):
            if plausible_only and not batch.plausible_only:
                raise NeighbourUnavailable("The gRPC server is of an older release than the question.")
            yield from map(converter.from_encounter, batch.encounters)

    return _pages(page, lambda met: (met.start, met.person_id, met.nth), after=after, limit=limit)


def _moment(moment: datetime | None) -> Timestamp | None:
    return None if moment is None else converter.to_timestamp(moment)


def _location_key(key: tuple[datetime, int] | None) -> pb.LocationKey | None:
    return pb.LocationKey(creation_time=_moment(key[0]), person_id=key[1]) if key else None


def _encounter_key(key: tuple[datetime, int, int] | None) -> pb.EncounterKey | None:
    return pb.EncounterKey(start=_moment(key[0]), person_id=key[1], nth=key[2]) if key else None


def _place(ping: Ping) -> tuple[datetime, int]:
    return ping.creation_time, ping.person_id


def _pages(
    page: Callable[[Key | None, int | None], Iterator[Row]],
    key: Callable[[Row], Key],
    *,
    after: Key | None,
    limit: int | None,
) -> Iterator[Row]:
    """The rows of one call, or of several when more are asked for than a page and the row after it."""
    while limit is None or limit > 0:
        size = None if limit is None else min(limit, MAX_LIMIT + 1)
        count = 0
        for row in page(after, size):
            yield row
            count += 1
        # A server of an older version does not look ahead: behind a full page there may be more.
        if limit is None or count < MAX_LIMIT:
            return
        limit -= count
        after = key(row)


def _limited(limit: int | None) -> dict[str, Any]:
    """The fields of a request for so many rows, at most those of a page and the one after it."""
    if limit is None or limit <= MAX_LIMIT:
        return {"limit": limit}
    return {"limit": MAX_LIMIT, "look_ahead": True}


def _batches(method: str, request: Any) -> Iterator[Any]:
    """The messages of an answer as they arrive; none for a person who does not exist."""
    for pause_s in (*_PAUSES_S, None):
        begun = False
        try:
            with closing(_answer(method, request)) as answer:
                for batch in answer:
                    begun = True
                    yield batch
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return
            if begun or pause_s is None or error.code() not in _PASSING:
                raise _in_our_words(error) from error
        else:
            return
        time.sleep(request_context.seconds_left(pause_s * random.uniform(0.8, 1.2)))  # noqa: S311 - no secret


def _answer(method: str, request: Any) -> Generator[Any, None, None]:
    """What comes of asking once."""
    ask = getattr(_server(settings.LOCATIONS_URL).ask, method)
    begins_within_s = request_context.seconds_left(settings.GRPC_STREAM_TIMEOUT_S)
    told = (request_context.TIMEOUT_S, f"{min(begins_within_s, 99_999):.3f}")
    answer = ask(request, timeout=settings.GRPC_STREAM_TIMEOUT_S, metadata=[*_metadata(), told])
    # Somebody waits so long for the first message; the last one comes when the reader has read all others.
    patience = threading.Timer(begins_within_s, answer.cancel)
    patience.daemon = True
    if begins_within_s < settings.GRPC_STREAM_TIMEOUT_S:
        patience.start()
    try:
        for batch in answer:
            patience.cancel()
            yield batch
    finally:
        patience.cancel()
        answer.cancel()  # what nobody reads to its end is not worked on any longer


def _carried(timeout_s: float) -> dict[str, Any]:
    """What a call takes along that has one answer."""
    return {"timeout": request_context.seconds_left(timeout_s), "metadata": _metadata()}


def _metadata() -> list[tuple[str, str]]:
    metadata = [(request_context.REQUEST_ID, request_context.request_id()), (NOTED, "1")]
    if settings.SERVICE_TOKEN:
        metadata.append(("authorization", f"Bearer {settings.SERVICE_TOKEN}"))
    if share := request_context.share():
        metadata.append((request_context.SHARE, share))
    return metadata


def _in_our_words(error: grpc.RpcError) -> Exception:
    if error.details() == str(QuestionTooLarge()):
        return QuestionTooLarge()
    text = f"{error.code().name}: {error.details()}"
    if error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED):
        return ValueError(text)
    return NeighbourUnavailable(text)
