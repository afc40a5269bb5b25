"""The gRPC server of locations: its services, limits, health and shutdown."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import grpc
from django.conf import settings
from grpc_health.v1 import health
from grpc_health.v1.health import OVERALL_HEALTH
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from access.callers import PROCESSES
from connect import needs
from grpc_server import tls
from grpc_server.anonymous import TokenlessCallLimits
from grpc_server.calls import Calls, Method
from grpc_server.rate_limits import RateLimits
from grpc_server.servicer import METHODS, SERVICE
from grpc_server.statuses import STATUS_TIMEOUT_S

T = TypeVar("T")

HEALTH_INTERVAL_S = 1.0
SLOW_READER_S = 30.0
CONNECTION_S = 5
MAX_OPEN_CALLS = 4000  # each takes a few kB; further calls are RESOURCE_EXHAUSTED

OPTIONS = [
    ("grpc.max_receive_message_length", settings.BODY_LIMIT),
    ("grpc.so_reuseport", 0),  # a second server on the address must fail, not share the calls
    ("grpc.max_concurrent_streams", 100),  # per connection; the client queues further calls
    ("grpc.server_handshake_timeout_ms", 5_000),
    # Detects clients that vanished without closing the connection, and ends their streams.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Connections are closed after some seconds, once their calls have ended: so clients find new processes
    # and leave a stopping one. This interrupts no call.
    ("grpc.max_connection_age_ms", CONNECTION_S * 1000),
    # Clients may send a keepalive every 10 s.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
]


class LocationServer:
    """Listens on `address` for neighbours and on `public_address` for clients, without service tokens.

    Binds both at construction. Raises OSError if an address or the certificate is unusable. Port 0 takes any
    free port. The server's event loop has its own thread.
    """

    def __init__(self, address: str, public_address: str, *, slow_reader_s: float = SLOW_READER_S):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="event-loop", daemon=True)
        self._thread.start()
        try:
            self._run_in_loop(self._create(address, public_address, slow_reader_s))
        except BaseException:
            self._end_loop()
            raise

    async def _create(self, address: str, public_address: str, slow_reader_s: float) -> None:
        rate_limits = RateLimits(per_caller=settings.RATE_PER_TOKEN, per_connection=settings.RATE_PER_ADDRESS)
        self._calls = Calls(
            threads=settings.GRPC_THREADS,
            streams=settings.GRPC_STREAMS,
            questions=settings.GRPC_QUESTIONS,
            rate_limits=rate_limits,
            slow_reader_s=slow_reader_s,
        )
        self._health = health.aio.HealthServicer()
        self._health_checks = ThreadPoolExecutor(1, "health")
        neighbours, self.port = self._bind(address, METHODS)
        for_clients = [replace(each, allowed_kinds=each.allowed_kinds - PROCESSES) for each in METHODS]
        public, self.public_port = self._bind(public_address, for_clients)
        self._servers = (neighbours, public)

    def _bind(self, address: str, methods: Iterable[Method]) -> tuple[Any, int]:
        """A server and its port. Both servers share the limits, the threads and the health."""
        names = [SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME]
        server = grpc.aio.server(
            interceptors=[TokenlessCallLimits(("/grpc.health.", "/grpc.reflection."))],
            options=OPTIONS,
            maximum_concurrent_rpcs=MAX_OPEN_CALLS,
        )
        add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection(names, server)
        handlers = {method.name: self._calls.handler(method) for method in methods}
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers), _reflection_v1(names))
        )
        try:
            if settings.TLS_CERTIFICATE:
                return server, server.add_secure_port(address, tls.server_credentials())
            return server, server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"{address} is not available: {error}") from None

    def start(self) -> None:
        self._run_in_loop(self._start())

    async def _start(self) -> None:
        await self._update_health()
        await asyncio.gather(*(server.start() for server in self._servers))
        self._health_task = asyncio.create_task(self._refresh_health())

    def stop(self, grace_s: float) -> bool:
        """Waits up to `grace_s` for running work, then ends all open calls as UNAVAILABLE.

        False if some work had to be cancelled.
        """
        is_drained = self._run_in_loop(self._stop(grace_s))
        self._calls.close()
        self._health_checks.shutdown()
        self._end_loop()
        return is_drained

    async def _stop(self, grace_s: float) -> bool:
        self._health_task.cancel()
        await self._health.enter_graceful_shutdown()
        # Refuses new calls. `drain` gives calls that wait for their client a status with an explanation.
        stopped = asyncio.create_task(self._stop_servers(grace_s + STATUS_TIMEOUT_S))
        is_drained = await self._calls.drain(grace_s)
        if not is_drained:
            await asyncio.gather(*self._calls.cancel_running())
            await self._calls.drain(STATUS_TIMEOUT_S)
        # A call is over when its client has read the status, or when it is cancelled.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(stopped), STATUS_TIMEOUT_S)
        await self._stop_servers(None)
        await stopped
        return is_drained

    async def _stop_servers(self, grace_s: float | None) -> None:
        await asyncio.gather(*(server.stop(grace_s) for server in self._servers))

    async def _refresh_health(self) -> None:
        while True:
            await asyncio.sleep(HEALTH_INTERVAL_S)
            await self._update_health()

    async def _update_health(self) -> None:
        """Sets the health of each dependency, of the service (all dependencies) and of the whole server.

        Load balancers and probes ask for the whole server. It serves while any dependency is available: with
        a topic it accepts pings without a database.
        """
        found = await asyncio.get_running_loop().run_in_executor(
            self._health_checks, needs.check, ["locations"]
        )
        serving = {
            OVERALL_HEALTH: needs.OK in found.values(),
            SERVICE: set(found.values()) <= {needs.OK},
            **{name: each == needs.OK for name, each in found.items()},
        }
        for name, serves in serving.items():
            status = HealthCheckResponse.SERVING if serves else HealthCheckResponse.NOT_SERVING
            await self._health.set(name, status)

    def _run_in_loop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _reflection_v1(names: list[str]) -> grpc.GenericRpcHandler:
    """Serves the v1alpha reflection also as v1, for newer clients; the messages are equal."""
    handler = grpc.stream_stream_rpc_method_handler(
        ReflectionServicer(names).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(
        "grpc.reflection.v1.ServerReflection", {"ServerReflectionInfo": handler}
    )
