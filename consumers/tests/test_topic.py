"""The message format, the brokers' address and the creation of the topic."""

from datetime import UTC, timedelta
from io import StringIO
from typing import Any

import pytest
from confluent_kafka.admin import ConfigResource, ResourceType
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from connect import neighbours
from connect.errors import NeighbourUnavailable
from consumers import topic
from consumers.tests.conftest import at
from grpc_server import converter
from grpc_server import locations_pb2 as pb
from locations.limits import MAX_ACCURACY_M, MIN_ACCURACY_M
from locations.pings import EARLIEST, LATEST, Ping, flush_to_zero, is_valid, to_single

LAST = LATEST - timedelta(microseconds=1)
PINGS = st.builds(
    Ping,
    st.integers(1, 2**63 - 1),
    st.datetimes(EARLIEST.replace(tzinfo=None), LAST.replace(tzinfo=None), timezones=st.just(UTC)),
    st.floats(-90, 90).map(flush_to_zero),
    st.floats(-180, 180).map(flush_to_zero),
    st.none() | st.floats(MIN_ACCURACY_M, MAX_ACCURACY_M).map(to_single),
)


# --- messages ------------------------------------------------------------------------------------


@given(PINGS)
def test_encoding_and_decoding_is_exact(ping: Ping):
    key, value = topic.encode(ping)

    assert key == str(ping.person_id).encode("ascii")
    assert topic.decode(key, value) == (ping, ping.person_id, "")


TINY = st.floats(-1e-8, 1e-8) | st.floats(-1e-300, 1e-300)


@given(PINGS, TINY, TINY)
def test_a_tiny_coordinate_in_a_message_is_zero(ping: Ping, latitude: float, longitude: float):
    """An older version or another program may have sent such a value."""
    key, value = topic.encode(ping._replace(latitude=latitude, longitude=longitude))

    expected = ping._replace(latitude=flush_to_zero(latitude), longitude=flush_to_zero(longitude))
    assert topic.decode(key, value).ping == expected
    assert topic.decode_batch([value]) == ([expected], [0])


@given(st.none() | st.binary(max_size=40), st.none() | st.binary(max_size=200))
def test_any_bytes_decode_to_a_valid_ping_or_a_reason(key: bytes | None, value: bytes | None):
    read = topic.decode(key, value)

    assert (read.ping is None) == bool(read.reason)
    assert read.ping is None or is_valid(read.ping)


def value_of(**changes: Any) -> bytes:
    location = converter.without_id(at(5, 0))
    for name, new in changes.items():
        if new is None:
            location.ClearField(name)
        elif name == "creation_time":
            location.creation_time.CopyFrom(new)
        else:
            setattr(location, name, new)
    return location.SerializeToString()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "There is no value."),
        (b"\xff", "The value is not a location."),
        (value_of(latitude=90.5), "latitude: Must be a number from -90 to 90."),
        (value_of(longitude=float("nan")), "longitude: Must be a number from -180 to 180."),
        (value_of(latitude=None), "latitude: This field is required."),
        (
            value_of(creation_time=converter.to_timestamp(LATEST)),
            "creation_time: Must be from 1900-01-01 to before 2100-01-01.",
        ),
        (value_of(person_id=None, creation_time=converter.to_timestamp(EARLIEST)), None),
    ],
)
def test_a_bad_message_has_a_reason_and_a_person_id(value: bytes | None, reason: str | None):
    ping, person_id, error = topic.decode(b"5", value)

    assert ping is None
    assert person_id == 5
    assert error == (reason or "person_id: This field is required.")


def test_the_person_id_of_the_value_precedes_that_of_the_key():
    assert topic.decode(b"7", value_of(latitude=91)).person_id == 5
    for key in (None, b"", b"-5", b"5.0", b"x", b"9" * 20, str(2**63).encode()):
        assert topic.decode(key, b"\xff").person_id is None
    assert topic.decode(str(2**63 - 1).encode(), b"\xff").person_id == 2**63 - 1


def test_a_value_is_a_protobuf_location():
    location = pb.Location.FromString(topic.encode(at(5, 0.25))[1])

    assert (location.person_id, location.latitude, location.longitude) == (5, 1.0, 2.0)
    assert not location.id  # readers compute it


# --- brokers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["kafka://kafka", "kafka://a:1,b", "kafka://:9092", "kafka://a:x", "kafka://a:1/topic", "kafka:"]
)
def test_an_address_without_host_and_port_is_refused(url: str, settings: Any):
    settings.PINGS_URL = url

    with pytest.raises(ImproperlyConfigured, match="kafka://host:port"):
        topic.brokers()


def test_several_brokers_can_be_named(settings: Any):
    settings.PINGS_URL = "kafka://a:9092,b:9093"

    assert topic.brokers() == "a:9092,b:9093"
    assert neighbours.pings().__name__ == "consumers.producer"


# --- creation ------------------------------------------------------------------------------------


def test_creating_the_topic_is_idempotent(kafka: str, settings: Any):
    settings.KAFKA_TOPIC += "-new"

    assert topic.ensure(4) == 4
    assert topic.ensure(4) == 4
    assert topic.ensure(2) == 4  # more than requested is accepted
    assert topic.partitions_of(topic.admin()) == [0, 1, 2, 3]


def test_a_topic_with_fewer_partitions_than_requested_is_refused(kafka: str):
    with pytest.raises(topic.TooFewPartitions, match="has 3 partitions and not 4"):
        topic.ensure(4)
    with pytest.raises(CommandError, match="has 3 partitions") as raised:
        call_command("make_topic", partitions=4)
    assert raised.value.returncode == 2


def test_the_retention_is_one_day(kafka: str, settings: Any):
    resource = ConfigResource(ResourceType.TOPIC, settings.KAFKA_TOPIC)
    admin = topic.admin()
    found = admin.describe_configs([resource])[resource].result(20)

    assert found["retention.ms"].value == str(24 * 60 * 60 * 1000)
    assert found["cleanup.policy"].value == "delete"


def test_the_topic_of_encounters_is_compacted_kept_for_a_day_and_as_wide_as_that_of_pings(
    kafka: str, settings: Any
):
    settings.KAFKA_ENCOUNTERS_TOPIC = f"encounters-of-{settings.KAFKA_TOPIC}"
    output = StringIO()

    for _ in range(2):  # idempotent
        call_command("make_topic", "--encounters", partitions=2, stdout=output)

    topics = (settings.KAFKA_TOPIC, encounters())
    lines = [f"The topic {name} exists, with 3 partitions." for name in topics]
    assert output.getvalue().splitlines() == lines * 2
    resource = ConfigResource(ResourceType.TOPIC, encounters())
    admin = topic.admin()
    found = admin.describe_configs([resource])[resource].result(20)
    assert {*found["cleanup.policy"].value.split(",")} == {"compact", "delete"}
    assert found["retention.ms"].value == str(24 * 60 * 60 * 1000)
    assert int(found["segment.ms"].value) < int(found["retention.ms"].value)
    assert topic.partitions_of(admin, encounters()) == [0, 1, 2]


def encounters() -> str:
    return str(django_settings.KAFKA_ENCOUNTERS_TOPIC)


def test_make_topic_reports_the_topic(kafka: str, settings: Any):
    output = StringIO()

    call_command("make_topic", partitions=3, stdout=output)

    assert output.getvalue() == f"The topic {settings.KAFKA_TOPIC} exists, with 3 partitions.\n"


def test_unavailable_brokers_are_reported(settings: Any, free_port: int):
    settings.PINGS_URL, settings.KAFKA_TIMEOUT_S = f"kafka://127.0.0.1:{free_port}", 0.5

    with pytest.raises(NeighbourUnavailable):
        topic.ensure(1)
    with pytest.raises(NeighbourUnavailable):
        topic.partitions_of(topic.admin())
    with pytest.raises(CommandError, match="out of reach") as raised:
        call_command("make_topic", partitions=1)
    assert raised.value.returncode == 1


def test_decoding_a_batch_equals_decoding_each_value():
    good = [at(1 + n, n / 8, latitude=-n) for n in range(90)]
    values = [topic.encode(ping)[1] for ping in good]
    assert topic.decode_batch(values) == (good, list(range(90)))

    no_time, too_far = pb.Location(person_id=1, latitude=1, longitude=1), pb.Location(latitude=91)
    with_a_name = pb.Location.FromString(values[3])
    with_a_name.id = "x" * 200
    bad = [no_time.SerializeToString(), too_far.SerializeToString(), b""]
    some = [*bad, *values[:3], with_a_name.SerializeToString(), *values[4:]]
    assert topic.decode_batch(some) == (good, list(range(3, 93)))
    assert topic.decode_batch([None, b"\xff", *some]) == (good, list(range(5, 95)))
