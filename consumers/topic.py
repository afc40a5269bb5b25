"""The topic of pings: its message format and its brokers; the creation of this topic and that of encounters.

Key: the person's id in decimal, so that one person's pings stay in order. Value: the protobuf Location.
"""

from collections.abc import Sequence
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
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from google.protobuf.message import DecodeError

from connect.errors import NeighbourUnavailable
from connect.logs import throttled
from grpc_server import converter
from grpc_server import locations_pb2 as pb
from locations.pings import Ping, Refused
from locations.storage import MAX_ID

_ITEM_TAG = pb.RecordLocationsRequest.LOCATIONS_FIELD_NUMBER << 3 | 2  # wire type 2: length-delimited
RETENTION_MS = 24 * 60 * 60 * 1000
# A ping has some 60 bytes. MAX_BATCH_BYTES limits a batch on the wire: brokers apply it (message.max.bytes)
# to the compressed batch, producers already to the uncompressed one.
MAX_VALUE = 1024
MAX_BATCH_BYTES = 256 * 1024
# Only closed segments are compacted or deleted, and one with few encounters would stay open for days.
ENCOUNTERS_SEGMENT_MS = 60 * 60 * 1000
UNCOMPACTED_MS = 12 * 60 * 60 * 1000
LIVE_GROUP = "live"
SCRAM_ITERATIONS = 4096  # the default of Kafka


class Decoded(NamedTuple):
    """A decoded message: a valid ping, or the reason why it has none."""

    ping: Ping | None
    person_id: int | None
    reason: str = ""


class BrokerRefused(NeighbourUnavailable):
    """The brokers refuse this process's credentials or access rights, or its client had a fatal error."""


class TooFewPartitions(Exception):
    """The topic has too few partitions. Adding some would break the order of a person's pings."""


# --- messages ------------------------------------------------------------------------------------


def encode(ping: Ping) -> tuple[bytes, bytes]:
    """Returns key and value."""
    return b"%d" % ping.person_id, converter.without_id(ping).SerializeToString()


def decode_batch(values: Sequence[bytes | None]) -> tuple[list[Ping], list[int]]:
    """The valid pings and their indexes in `values`; `decode` gives the reasons for the others.

    Parsing the values as the items of one gRPC batch, which have the same format, is many times faster.
    """
    try:
        batch = pb.RecordLocationsRequest.FromString(b"".join(map(_as_item, values)))
    except (DecodeError, ValueError):  # a value is not a location, missing or too long
        found = [(ping, index) for index, value in enumerate(values) if (ping := decode(None, value).ping)]
        return [ping for ping, _ in found], [index for _, index in found]
    good, indexes, _ = converter.to_pings(batch.locations)
    return good, indexes


def _as_item(value: bytes | None) -> bytes:
    """The value as an item of a protobuf batch. Assumes a one-byte length: no ping has 128 bytes or more."""
    if value is None or len(value) > 127:
        raise ValueError("Decode this value alone.")
    return bytes((_ITEM_TAG, len(value))) + value


def decode(key: bytes | None, value: bytes | None) -> Decoded:
    """Takes the person id from the value, or from the key if the value has none."""
    if value is None:
        return Decoded(None, _person_id_of(key), "There is no value.")
    if len(value) > MAX_VALUE:
        return Decoded(
            None, _person_id_of(key), f"The value has more than {MAX_VALUE:,} bytes, which no ping has."
        )
    try:
        location = pb.Location.FromString(value)
    except DecodeError:
        return Decoded(None, _person_id_of(key), "The value is not a location.")
    try:
        ping = converter.to_ping(location)
    except Refused as refused:
        person_id = location.person_id if location.HasField("person_id") else _person_id_of(key)
        return Decoded(None, person_id, converter.error_text(refused.errors))
    return Decoded(ping, ping.person_id)


def _person_id_of(key: bytes | None) -> int | None:
    digits = key is not None and len(key) <= 19 and key.isdigit()
    return int(key) if key and digits and int(key) <= MAX_ID else None


# --- brokers -------------------------------------------------------------------------------------


def brokers() -> str:
    """`host:port[,host:port…]` from PINGS_URL=kafka://…"""
    url = urlsplit(settings.PINGS_URL)
    if "@" in url.netloc:
        raise ImproperlyConfigured(
            "PINGS_URL must not contain credentials: use KAFKA_USER and KAFKA_PASSWORD."
        )
    addresses = url.netloc.split(",")
    if url.scheme != "kafka" or not all(_is_address(each) for each in addresses) or url.path.strip("/"):
        raise ImproperlyConfigured(
            f"PINGS_URL={settings.PINGS_URL!r}: must be kafka://host:port[,host:port…]."
        )
    return url.netloc


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65536


# Permanent errors. All others are transient: librdkafka retries, reconnects and rejoins.
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


librdkafka = throttled("kafka")


def client_config(**more: Any) -> dict[str, Any]:
    """Settings that all Kafka clients share. In keyword names `_` stands for `.`."""
    return {
        "bootstrap.servers": brokers(),
        "client.id": "connect",
        "logger": librdkafka,
        # Brokers close idle connections; that needs no log line.
        "log.connection.close": False,
        # Reconnect quickly to a broker that is back.
        "reconnect.backoff.max.ms": 1000,
        # Fail the requests to a frozen broker.
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
    """Translates a Kafka error; a permanent one becomes BrokerRefused."""
    cause = error.args[0] if isinstance(error, KafkaException) else error
    kind = BrokerRefused if is_fatal(cause) else NeighbourUnavailable
    return kind(f"{brokers()}: {cause.name()}: {cause.str()}")


# --- creation ------------------------------------------------------------------------------------

_READ = (AclOperation.READ, AclOperation.DESCRIBE)
_WRITE = (AclOperation.WRITE, AclOperation.DESCRIBE)
# What a user may do with a topic or a group. The super user creates the topics and these rules.
Rule = tuple[str, ResourceType, str, tuple[AclOperation, ...]]


def _pings_rules() -> list[Rule]:
    """`observer` reads messages for the age of the oldest unwritten ping."""
    pings, group = settings.KAFKA_TOPIC, settings.KAFKA_GROUP
    return [
        ("producer", ResourceType.TOPIC, pings, _WRITE),
        ("writer", ResourceType.TOPIC, pings, _READ),
        ("writer", ResourceType.GROUP, group, (AclOperation.READ,)),
        ("observer", ResourceType.TOPIC, pings, _READ),
        ("observer", ResourceType.GROUP, group, (AclOperation.DESCRIBE,)),
    ]


def _encounters_rules() -> list[Rule]:
    """`finder` also sees how far the writers are, `observer` how far all groups are.

    `live` commits nothing, but clients look for a group.
    """
    pings = settings.KAFKA_TOPIC
    encounters = settings.KAFKA_ENCOUNTERS_TOPIC
    return [
        ("finder", ResourceType.TOPIC, pings, _READ),
        ("finder", ResourceType.GROUP, settings.KAFKA_FINDER_GROUP, (AclOperation.READ,)),
        ("finder", ResourceType.GROUP, settings.KAFKA_GROUP, (AclOperation.DESCRIBE,)),
        ("finder", ResourceType.TOPIC, encounters, _WRITE),
        ("live", ResourceType.TOPIC, pings, _READ),
        ("live", ResourceType.TOPIC, encounters, _READ),
        ("live", ResourceType.GROUP, LIVE_GROUP, (AclOperation.DESCRIBE,)),
        ("webhooks", ResourceType.TOPIC, encounters, _READ),
        ("webhooks", ResourceType.GROUP, settings.KAFKA_WEBHOOKS_GROUP, (AclOperation.READ,)),
        ("observer", ResourceType.TOPIC, encounters, (AclOperation.DESCRIBE,)),
        ("observer", ResourceType.GROUP, settings.KAFKA_FINDER_GROUP, (AclOperation.DESCRIBE,)),
        ("observer", ResourceType.GROUP, settings.KAFKA_WEBHOOKS_GROUP, (AclOperation.DESCRIBE,)),
    ]


def ensure(partitions: int) -> int:
    """Creates the topic of pings unless it exists; returns its number of partitions. Idempotent.

    Raises TooFewPartitions and NeighbourUnavailable. The replication factor and min.insync.replicas are the
    cluster's defaults. If this process authenticates, it also creates the access rules.
    """
    client = admin()
    name = settings.KAFKA_TOPIC
    existing = _create(client, name, partitions, {"cleanup.policy": "delete"})
    if settings.KAFKA_USER:
        _grant(client, _pings_rules())
    if existing < partitions:
        raise TooFewPartitions(
            f"The topic {name} has {existing} partitions and not {partitions}. Adding partitions would move "
            f"people's pings to other partitions: add them by hand, or ask for {existing}."
        )
    return existing


def ensure_encounters(partitions: int) -> int:
    """The same for the topic of encounters. If this process authenticates, it also creates KAFKA_USERS.

    Compaction keeps the newest event of each pair of people, and retention deletes it after a day. Compaction
    leaves the events of the last hours, so that a consumer that was away misses none.
    """
    client = admin()
    config = {
        "cleanup.policy": "compact,delete",
        "segment.ms": str(ENCOUNTERS_SEGMENT_MS),
        "min.compaction.lag.ms": str(UNCOMPACTED_MS),
    }
    existing = _create(client, settings.KAFKA_ENCOUNTERS_TOPIC, partitions, config)
    if settings.KAFKA_USER:
        _create_users(client)
        _grant(client, _encounters_rules())
    return existing


def _create(client: AdminClient, name: str, partitions: int, config: dict[str, str]) -> int:
    common = {"retention.ms": str(RETENTION_MS), "max.message.bytes": str(MAX_BATCH_BYTES)}
    wanted = NewTopic(name, partitions, config=common | config)
    try:
        client.create_topics([wanted], request_timeout=settings.KAFKA_TIMEOUT_S)[name].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise unavailable(error) from error
    else:
        return partitions
    return len(partitions_of(client, name))


def _create_users(client: AdminClient) -> None:
    """A user that exists gets the password again."""
    how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, SCRAM_ITERATIONS)
    wanted: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(name, how, password.encode())
        for name, password in settings.KAFKA_USERS.items()
    ]
    if not wanted:
        return
    try:
        changing = client.alter_user_scram_credentials(wanted, request_timeout=settings.KAFKA_TIMEOUT_S)
        for changed in changing.values():
            changed.result()
    except KafkaException as error:
        raise unavailable(error) from error


def _grant(client: AdminClient, rules: Sequence[Rule]) -> None:
    wanted = [
        AclBinding(
            kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW
        )
        for user, kind, name, operations in rules
        for operation in operations
    ]
    try:
        for created in client.create_acls(wanted, request_timeout=settings.KAFKA_TIMEOUT_S).values():
            created.result()
    except KafkaException as error:
        raise unavailable(error) from error


def partitions_of(client: Any, name: str = "", *, timeout_s: float | None = None) -> list[int]:
    """The partition numbers of a topic, by default of pings. Any Kafka client can ask it.

    Raises NeighbourUnavailable.
    """
    name = name or settings.KAFKA_TOPIC
    timeout_s = settings.KAFKA_TIMEOUT_S if timeout_s is None else timeout_s
    try:
        found = client.list_topics(name, timeout=timeout_s).topics[name]
    except KafkaException as error:
        raise unavailable(error) from error
    if found.error is not None:
        raise unavailable(found.error)
    return sorted(found.partitions)
