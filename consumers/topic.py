"""The topic of pings: what a message in it is, where its brokers are, and how it is made.

Key: the person's id in decimal, so that one person's pings stay in order. Value: the protobuf location.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from google.protobuf.message import DecodeError

from connect.errors import NeighbourUnavailable
from grpc_server import converter
from grpc_server import locations_pb2 as pb
from locations.pings import Ping, Refused
from locations.storage import MAX_ID

_ITEM = pb.RecordLocationsRequest.LOCATIONS_FIELD_NUMBER << 3 | 2  # the field, and that it has a length
RETENTION_MS = 24 * 60 * 60 * 1000
# A ping has some 60 bytes. A batch on the wire has at most MAX_BATCH_BYTES (message.max.bytes of the brokers,
# which compare the compressed batch); producers keep below it before they compress.
MAX_VALUE = 1024
MAX_BATCH_BYTES = 256 * 1024

# What each user may do; the super user makes the topic and these rules. `writer` reads and commits.
# `observer` tells the lag and the age of the oldest unwritten ping, which it reads.
_TOPIC_RULES = {
    "producer": (AclOperation.WRITE, AclOperation.DESCRIBE),
    "writer": (AclOperation.READ, AclOperation.DESCRIBE),
    "observer": (AclOperation.READ, AclOperation.DESCRIBE),
}
_GROUP_RULES = {"writer": (AclOperation.READ,), "observer": (AclOperation.DESCRIBE,)}


class Read(NamedTuple):
    """What a message says: a ping that keeps the rules, or the reason why it is none."""

    ping: Ping | None
    person_id: int | None
    reason: str = ""


class BrokerRefused(NeighbourUnavailable):
    """The brokers reject the credentials or the access rights of this process, or its client cannot go on."""


class TooFewPartitions(Exception):
    """The topic that is there has fewer partitions than asked for; more would tear people's order apart."""


# --- messages ------------------------------------------------------------------------------------


def encode(ping: Ping) -> tuple[bytes, bytes]:
    """Key and value."""
    return b"%d" % ping.person_id, converter.without_id(ping).SerializeToString()


def read_good(values: Sequence[bytes | None]) -> tuple[list[Ping], list[int]]:
    """The pings of the values that keep the rules, and which they are. Of the others `read` says more.

    Values are of one kind with the items of a batch at the gRPC door, and read many times faster as such.
    """
    try:
        batch = pb.RecordLocationsRequest.FromString(b"".join(map(_as_item, values)))
    except (DecodeError, ValueError):  # one is no location, not even there, or long
        found = [(ping, index) for index, value in enumerate(values) if (ping := read(None, value).ping)]
        return [ping for ping, _ in found], [index for _, index in found]
    good, indexes, _ = converter.to_pings(batch.locations)
    return good, indexes


def _as_item(value: bytes | None) -> bytes:
    """As protobuf writes it in a batch; a length from 128 on has more than one byte, and no ping has that."""
    if value is None or len(value) > 127:
        raise ValueError("It is read by itself.")
    return bytes((_ITEM, len(value))) + value


def read(key: bytes | None, value: bytes | None) -> Read:
    """The key only places a message; whose ping it is, the value says, and the key where that cannot."""
    if value is None:
        return Read(None, _person_in(key), "There is no value.")
    if len(value) > MAX_VALUE:
        return Read(None, _person_in(key), f"The value has more than {MAX_VALUE:,} bytes, which no ping has.")
    try:
        location = pb.Location.FromString(value)
    except DecodeError:
        return Read(None, _person_in(key), "The value is not a location.")
    try:
        ping = converter.to_ping(location)
    except Refused as refused:
        person_id = location.person_id if location.HasField("person_id") else _person_in(key)
        return Read(None, person_id, converter.in_words(refused.errors))
    return Read(ping, ping.person_id)


def _person_in(key: bytes | None) -> int | None:
    digits = key is not None and len(key) <= 19 and key.isdigit()
    return int(key) if key and digits and int(key) <= MAX_ID else None


# --- brokers -------------------------------------------------------------------------------------


def brokers() -> str:
    """`host:port[,host:port…]`, as PINGS_URL=kafka://… names them."""
    url = urlsplit(settings.PINGS_URL)
    if "@" in url.netloc:
        raise ImproperlyConfigured("PINGS_URL has credentials in it: give KAFKA_USER and KAFKA_PASSWORD.")
    addresses = url.netloc.split(",")
    if url.scheme != "kafka" or not all(_is_address(each) for each in addresses) or url.path.strip("/"):
        raise ImproperlyConfigured(
            f"PINGS_URL={settings.PINGS_URL!r}: a topic's brokers are kafka://host:port[,host:port…]."
        )
    return url.netloc


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65536


# Waiting does not help against these. Every other error passes: librdkafka retries, reconnects and rejoins.
_FATAL = {
    KafkaError._FATAL,  # noqa: SLF001 - the names of librdkafka's own codes begin with an underscore
    KafkaError._FENCED,  # noqa: SLF001
    KafkaError._AUTHENTICATION,  # noqa: SLF001
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError.ILLEGAL_SASL_STATE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}


def is_fatal(error: KafkaError) -> bool:
    return error.fatal() or error.code() in _FATAL


class NowAndThen(logging.Filter):
    """A line of each kind every so often: a broker that is away is reported twenty times a second."""

    def __init__(self, *, every_s: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s = every_s
        self._clock = clock
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind, now = record.getMessage().split(" ", 1)[0], self._clock()
        if now - self._last.get(kind, float("-inf")) < self._every_s:
            return False
        self._last[kind] = now
        return True


librdkafka = logging.getLogger("kafka")
librdkafka.addFilter(NowAndThen())


def client_config(**more: Any) -> dict[str, Any]:
    """What every client of the brokers has in common."""
    return {
        "bootstrap.servers": brokers(),
        "client.id": "connect",
        "logger": librdkafka,
        # Brokers close connections that nobody uses; that is no news.
        "log.connection.close": False,
        # A broker that came back is found again at once.
        "reconnect.backoff.max.ms": 1000,
        # One that was frozen is given up, and so is what was asked of it.
        "socket.timeout.ms": 10_000,
        "allow.auto.create.topics": False,
        **_credentials(),
        **{name.replace("_", "."): value for name, value in more.items()},
    }


def _credentials() -> dict[str, str]:
    if not settings.KAFKA_USER:
        return {}
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": settings.KAFKA_USER,
        "sasl.password": settings.KAFKA_PASSWORD,
    }


def admin(**more: Any) -> AdminClient:
    return AdminClient(client_config() | more)


def unavailable(error: KafkaError | KafkaException) -> NeighbourUnavailable:
    """BrokerRefused for an error that does not pass."""
    cause = error.args[0] if isinstance(error, KafkaException) else error
    kind = BrokerRefused if is_fatal(cause) else NeighbourUnavailable
    return kind(f"{brokers()}: {cause.name()}: {cause.str()}")


# --- making it -----------------------------------------------------------------------------------


def ensure(partitions: int) -> int:
    """Makes the topic unless it is there; gives the number of its partitions. Idempotent.

    Raises TooFewPartitions, and NeighbourUnavailable. How many brokers keep a copy, and how many of them must
    have a ping before it is acknowledged, are the cluster's own defaults. Where this process authenticates,
    it also makes the access rules.
    """
    client = admin()
    there = _make(client, partitions)
    if settings.KAFKA_USER:
        _grant(client)
    if there < partitions:
        name = settings.KAFKA_TOPIC
        raise TooFewPartitions(
            f"The topic {name} has {there} partitions and not {partitions}. Adding some would send people's "
            f"pings to other partitions than before: do it by hand, or ask for {there}."
        )
    return there


def _make(client: AdminClient, partitions: int) -> int:
    config = {
        "retention.ms": str(RETENTION_MS),
        "cleanup.policy": "delete",
        "max.message.bytes": str(MAX_BATCH_BYTES),
    }
    name = settings.KAFKA_TOPIC
    wanted = NewTopic(name, partitions, config=config)
    try:
        client.create_topics([wanted], request_timeout=settings.KAFKA_TIMEOUT_S)[name].result()
    except KafkaException as fault:
        if fault.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise unavailable(fault) from fault
    else:
        return partitions
    return len(partitions_of(client))


def _grant(client: AdminClient) -> None:
    rules = [
        AclBinding(
            kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW
        )
        for kind, name, granted in (
            (ResourceType.TOPIC, settings.KAFKA_TOPIC, _TOPIC_RULES),
            (ResourceType.GROUP, settings.KAFKA_GROUP, _GROUP_RULES),
        )
        for user, operations in granted.items()
        for operation in operations
    ]
    try:
        for made in client.create_acls(rules, request_timeout=settings.KAFKA_TIMEOUT_S).values():
            made.result()
    except KafkaException as fault:
        raise unavailable(fault) from fault


def partitions_of(client: Any, *, timeout_s: float | None = None) -> list[int]:
    """The numbers of the topic's partitions; `client` is any client. Raises NeighbourUnavailable."""
    name = settings.KAFKA_TOPIC
    timeout_s = settings.KAFKA_TIMEOUT_S if timeout_s is None else timeout_s
    try:
        found = client.list_topics(name, timeout=timeout_s).topics[name]
    except KafkaException as fault:
        raise unavailable(fault) from fault
    if found.error is not None:
        raise unavailable(found.error)
    return sorted(found.partitions)
