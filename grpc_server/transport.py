"""The connections of the client to its server: channels, retries, deadlines, streams of one call."""

import json
import os
import random
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import grpc
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from access.callers import NOTED
from connect import request_context
from connect.errors import NeighbourUnavailable, QuestionTooLarge
from grpc_server import locations_pb2 as pb
from grpc_server import tls
from grpc_server.locations_pb2_grpc import LocationServiceStub

_SERVICE = pb.DESCRIPTOR.services_by_name["LocationService"].full_name
# Statuses that a retry may change. A server that is shutting down answers new calls with CANCELLED.
_TRANSIENT = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED]
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


def client(url: str) -> _Client:
    """One per process: a channel does not survive a fork."""
    key = (os.getpid(), url)
    with _clients_lock:
        if key not in _clients:
            _clients[key] = _Client(url)
        return _clients[key]


def is_alive(url: str) -> bool:
    """Whether the server answers a health check, with whatever status."""
    try:
        client(url).check_health(HealthCheckRequest(), timeout=_HEALTH_TIMEOUT_S)
    except grpc.RpcError:
        return False
    return True


def batches(method: str, request: Any) -> Iterator[Any]:
    """The messages of a stream as they arrive; none for an unknown person."""
    for delay_s in (*_RETRY_DELAYS_S, None):
        has_begun = False
        try:
            with closing(stream_once(method, request)) as answer:
                for batch in answer:
                    has_begun = True
                    yield batch
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return
            if has_begun or delay_s is None or error.code() not in _TRANSIENT:
                raise translated(error) from error
        else:
            return
        time.sleep(request_context.seconds_left(delay_s * random.uniform(0.8, 1.2)))  # noqa: S311 - no secret


def stream_once(method: str, request: Any) -> Generator[Any, None, None]:
    """The messages of one call, without a retry."""
    ask = getattr(client(settings.LOCATIONS_URL).ask, method)
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


def call_options(timeout_s: float) -> dict[str, Any]:
    """Timeout and metadata of a unary call."""
    return {"timeout": request_context.seconds_left(timeout_s), "metadata": _metadata()}


def _metadata() -> list[tuple[str, str]]:
    metadata = [(request_context.REQUEST_ID, request_context.request_id()), (NOTED, "1")]
    if settings.SERVICE_TOKEN:
        metadata.append(("authorization", f"Bearer {settings.SERVICE_TOKEN}"))
    if share := request_context.share():
        metadata.append((request_context.SHARE, share))
    return metadata


def translated(error: grpc.RpcError) -> Exception:
    if error.details() == str(QuestionTooLarge()):
        return QuestionTooLarge()
    text = f"{error.code().name}: {error.details()}"
    if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
        return ValueError(text)
    return NeighbourUnavailable(text)
