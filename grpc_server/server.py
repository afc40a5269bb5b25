"""The gRPC server of locations, put together: its services, limits, health, and the way it stops."""

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from django.conf import settings
from django.db import Error, connection
from grpc_health.v1.health import OVERALL_HEALTH, HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection, reflection_pb2

from grpc_server import locations_pb2, tls
from grpc_server.calls import Calls
from grpc_server.locations_pb2_grpc import add_LocationServiceServicer_to_server
from grpc_server.rates import Rates
from grpc_server.servicer import WHO_MAY, LocationService

SERVICE = locations_pb2.DESCRIPTOR.services_by_name["LocationService"].full_name
LOOK_EVERY_S = 1.0
SLOW_READER_S = 30.0
LAST_WORDS_S = 2.0  # for calls that are broken off to say so
CONNECTION_S = 5
QUEUED = 200  # calls that may wait for a thread; more are RESOURCE_EXHAUSTED

OPTIONS = [
    ("grpc.max_receive_message_length", settings.BODY_LIMIT),
    ("grpc.so_reuseport", 0),  # a second server on the address is an error, not a share of the calls
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
    """Bound to its address when it is made; raises OSError when it cannot be, or its certificate not be read.

    Port 0 takes any free one.
    """

    def __init__(self, address: str, *, slow_reader_s: float = SLOW_READER_S):
        self._slow_reader_s = slow_reader_s
        rates = Rates(per_token=settings.RATE_PER_TOKEN, per_address=settings.RATE_PER_ADDRESS)
        self._calls = Calls(streams=settings.GRPC_STREAMS, who_may=WHO_MAY, rates=rates)
        self._threads = ThreadPoolExecutor(settings.GRPC_THREADS, thread_name_prefix="call")
        self._server = grpc.server(
            self._threads,
            interceptors=[self._calls],
            options=OPTIONS,
            maximum_concurrent_rpcs=settings.GRPC_THREADS + QUEUED,
        )
        self._watchers = ThreadPoolExecutor(1, thread_name_prefix="health")
        self._health = HealthServicer(experimental_non_blocking=True, experimental_thread_pool=self._watchers)
        add_HealthServicer_to_server(self._health, self._server)
        add_LocationServiceServicer_to_server(LocationService(), self._server)
        names = [SERVICE, "grpc.health.v1.Health", reflection.SERVICE_NAME]
        reflection.enable_server_reflection(names, self._server)
        self._server.add_generic_rpc_handlers([_newer_reflection(names)])
        try:
            if settings.TLS_CERTIFICATE:
                self.port = self._server.add_secure_port(address, tls.of_server())
            else:
                self.port = self._server.add_insecure_port(address)
        except RuntimeError as fault:
            raise OSError(str(fault)) from None
        self._ended = threading.Event()
        self._attendant = threading.Thread(target=self._attend, name="attendant", daemon=True)

    def start(self) -> None:
        self._tell_health()
        self._server.start()
        self._attendant.start()

    def stop(self, grace_s: float) -> bool:
        """Ends the work in hand, at most so long; then every call that is still open is UNAVAILABLE.

        False when some work had to be broken off.
        """
        self._health.enter_graceful_shutdown()
        self._server.stop(grace_s + LAST_WORDS_S)  # from now on no call is taken
        whole = self._calls.drain(grace_s)
        if not whole:
            self._calls.break_off()
            self._calls.drain(LAST_WORDS_S)
        self._server.stop(None)
        self._ended.set()
        self._threads.shutdown()
        self._watchers.shutdown()
        self._attendant.join()
        return whole

    def _attend(self) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            self._tell_health()
            self._calls.cut_off_slow_readers(self._slow_reader_s)
        connection.close()

    def _tell_health(self) -> None:
        # Where pings go to a topic they are taken without a database; only questions are UNAVAILABLE then.
        serves = settings.PINGS_URL != "local:" or _database_answers()
        status = HealthCheckResponse.SERVING if serves else HealthCheckResponse.NOT_SERVING
        for name in (OVERALL_HEALTH, SERVICE):
            self._health.set(name, status)


def _database_answers() -> bool:
    connection.close_if_unusable_or_obsolete()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        connection.close()
        return False
    return True


def _newer_reflection(names: list[str]) -> grpc.GenericRpcHandler:
    """The library's reflection under the name that newer clients ask for; the messages are the same."""
    handler = grpc.stream_stream_rpc_method_handler(
        reflection.ReflectionServicer(names).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(
        "grpc.reflection.v1.ServerReflection", {"ServerReflectionInfo": handler}
    )
