"""The gRPC server of locations, put together: its services, limits, health, and the way it stops."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import grpc
from django.conf import settings
from grpc_health.v1 import health
from grpc_health.v1.health import OVERALL_HEALTH
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from connect import needs
from grpc_server import tls
from grpc_server.anonymous import Bounded
from grpc_server.calls import LAST_WORDS_S, Calls
from grpc_server.rate_limits import Rates
from grpc_server.servicer import METHODS, SERVICE

T = TypeVar("T")

LOOK_EVERY_S = 1.0
SLOW_READER_S = 30.0
CONNECTION_S = 5
CALLS = 4000  # open at the same time, each a few kB; more are RESOURCE_EXHAUSTED

OPTIONS = [
    ("grpc.max_receive_message_length", settings.BODY_LIMIT),
    ("grpc.so_reuseport", 0),  # a second server on the address is an error, not a share of the calls
    ("grpc.max_concurrent_streams", 100),  # on one connection; a client with more calls waits with the others
    ("grpc.server_handshake_timeout_ms", 5_000),
    # A client that vanished without a word is noticed, and its streams end.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # A connection goes after some seconds, when its calls have ended, and the next call makes another: so
    # clients find a process that has come, and one that is to go is left by all. No call notices.
    ("grpc.max_connection_age_ms", CONNECTION_S * 1000),
    # Clients may ask as often as every 10 s whether the server is still there.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
]


class LocationServer:
    """Bound to its address when it is made; raises OSError when the address or the certificate is refused.

    Port 0 takes any free one. The server's event loop runs in a thread of its own.
    """

    def __init__(self, address: str, *, slow_reader_s: float = SLOW_READER_S):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="event-loop", daemon=True)
        self._thread.start()
        try:
            self._await(self._make(address, slow_reader_s))
        except BaseException:
            self._end_loop()
            raise

    async def _make(self, address: str, slow_reader_s: float) -> None:
        rates = Rates(per_token=settings.RATE_PER_TOKEN, per_address=settings.RATE_PER_ADDRESS)
        self._calls = Calls(
            threads=settings.GRPC_THREADS,
            streams=settings.GRPC_STREAMS,
            rates=rates,
            slow_reader_s=slow_reader_s,
        )
        self._health = health.aio.HealthServicer()
        self._looks = ThreadPoolExecutor(1, "health")
        names = [SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME]
        self._server = grpc.aio.server(
            interceptors=[Bounded(("/grpc.health.", "/grpc.reflection."))],
            options=OPTIONS,
            maximum_concurrent_rpcs=CALLS,
        )
        add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(names, self._server)
        handlers = {method.name: self._calls.handler(method) for method in METHODS}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers), _newer_reflection(names))
        )
        try:
            if settings.TLS_CERTIFICATE:
                self.port = self._server.add_secure_port(address, tls.of_server())
            else:
                self.port = self._server.add_insecure_port(address)
        except RuntimeError as fault:
            raise OSError(str(fault)) from None

    def start(self) -> None:
        self._await(self._start())

    async def _start(self) -> None:
        await self._tell_health()
        await self._server.start()
        self._attendant = asyncio.create_task(self._attend())

    def stop(self, grace_s: float) -> bool:
        """Ends the work in hand, at most so long; then every call that is still open is UNAVAILABLE.

        False when some work had to be broken off.
        """
        whole = self._await(self._stop(grace_s))
        self._calls.close()
        self._looks.shutdown()
        self._end_loop()
        return whole

    async def _stop(self, grace_s: float) -> bool:
        self._attendant.cancel()
        await self._health.enter_graceful_shutdown()
        # From now on no call is taken. Calls that wait for their client end with the server's own words.
        stopped = asyncio.create_task(self._server.stop(grace_s + LAST_WORDS_S))
        whole = await self._calls.drain(grace_s)
        if not whole:
            await asyncio.gather(*self._calls.break_off())
            await self._calls.drain(LAST_WORDS_S)
        # A call is over once its client has taken the status, or it is cancelled.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(stopped), LAST_WORDS_S)
        await self._server.stop(None)
        await stopped
        return whole

    async def _attend(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self._tell_health()

    async def _tell_health(self) -> None:
        """Says for each need, for the service (all needs) and for the whole server whether it serves.

        The whole server is what load balancers and probes ask for: it serves while any call can be answered.
        Where pings go to a topic they are taken without a database.
        """
        found = await asyncio.get_running_loop().run_in_executor(self._looks, needs.check, ["locations"])
        said = {
            OVERALL_HEALTH: needs.OK in found.values(),
            SERVICE: set(found.values()) <= {needs.OK},
            **{name: each == needs.OK for name, each in found.items()},
        }
        for name, serves in said.items():
            status = HealthCheckResponse.SERVING if serves else HealthCheckResponse.NOT_SERVING
            await self._health.set(name, status)

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _newer_reflection(names: list[str]) -> grpc.GenericRpcHandler:
    """The library's reflection under the name that newer clients ask for; the messages are the same."""
    handler = grpc.stream_stream_rpc_method_handler(
        ReflectionServicer(names).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(
        "grpc.reflection.v1.ServerReflection", {"ServerReflectionInfo": handler}
    )
