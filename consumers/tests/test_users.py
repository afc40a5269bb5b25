"""A broker with authentication: each user has exactly its permissions, other clients have none."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from connect.errors import NeighbourUnavailable
from consumers import producer, topic
from consumers.lag import Observer
from consumers.person_cache import PersonCache
from consumers.tests.conftest import at, stored
from consumers.tests.process import WriterProcess
from consumers.writer import missing_dependency
from local import kafka as local_kafka
from local.kafka import Broker
from tests.gunicorn_server import until

pytestmark = pytest.mark.usefixtures("people")

SHORT_MS = 8000
WRONG = "guessed"


@pytest.fixture(scope="module")
def secured() -> Iterator[Broker]:
    with local_kafka.throwaway_storage(is_secured=True) as broker, local_kafka.running(broker):
        yield broker


@pytest.fixture
def act_as(secured: Broker, settings: Any) -> Callable[[str], None]:
    settings.PINGS_URL = secured.url
    settings.KAFKA_TIMEOUT_S = SHORT_MS / 1000

    def become(user: str) -> None:
        for name, value in secured.settings_of(user).items():
            setattr(settings, name, value)

    return become


@pytest.fixture
def created_topic(secured: Broker, act_as: Callable[[str], None], settings: Any) -> None:
    """The topics exist, with all users, and the broker applies its access rules."""
    act_as("admin")
    assert topic.ensure(3) == 3
    settings.KAFKA_USERS = {user: secured.passwords[user] for user in local_kafka.LATER_USERS}
    assert topic.ensure_encounters(3) == 3
    until(lambda: all(sees(secured.client(user)) for user in MAY))


# --- permissions of each call -------------------------------------------------------------------

Config = dict[str, Any]
Call = Callable[[Config], None]


def produce(config: Config, to: str = "locations") -> None:
    errors: list[KafkaError] = []
    sender = Producer(config | {"message.timeout.ms": SHORT_MS})
    sender.produce(to, b"x", b"1", on_delivery=lambda error, _: errors.append(error))
    sender.flush(20)
    if errors[0] is not None:
        raise KafkaException(errors[0])


def produce_encounter(config: Config) -> None:
    produce(config, "encounters")


def consume(config: Config, of: str = "locations", group: str = "") -> None:
    group = group or ("live" if config.get("sasl.username") == "live" else "location-writers")
    reader = Consumer(config | {"group.id": group, "enable.auto.commit": False})
    try:
        reader.assign([TopicPartition(of, each, 0) for each in range(3)])
        found = reader.consume(1, timeout=SHORT_MS / 1000)
        if not found or found[0].error():
            raise KafkaException(found[0].error() if found else KafkaError(KafkaError._TIMED_OUT))
    finally:
        reader.close()


def consume_encounters(config: Config) -> None:
    consume(config, "encounters", config["sasl.username"])  # the name of its group


def commit(config: Config, group: str = "location-writers", of: str = "locations") -> None:
    reader = Consumer(config | {"group.id": group, "enable.auto.commit": False})
    try:
        [done] = reader.commit(offsets=[TopicPartition(of, 2, 0)], asynchronous=False)
        if done.error:
            raise KafkaException(done.error)
    finally:
        reader.close()


def commit_as_finder(config: Config) -> None:
    commit(config, "encounter-finders")


def commit_as_webhooks(config: Config) -> None:
    commit(config, "webhooks", "encounters")


def describe_group(config: Config, group: str = "location-writers", of: str = "locations") -> None:
    reader = Consumer(config | {"group.id": group})
    try:
        for each in reader.committed([TopicPartition(of, 0)], timeout=SHORT_MS / 1000):
            if each.error:
                raise KafkaException(each.error)
    finally:
        reader.close()


def describe_finders(config: Config) -> None:
    describe_group(config, "encounter-finders")


def describe_webhooks(config: Config) -> None:
    describe_group(config, "webhooks", "encounters")


def describe(config: Config) -> None:
    found = AdminClient(config).list_topics("locations", timeout=SHORT_MS / 1000).topics["locations"]
    if found.error:
        raise KafkaException(found.error)


def sees(config: Config) -> bool:
    """Whether the user may do anything with one of the topics."""
    topics = AdminClient(config | {"log_level": 0}).list_topics(timeout=SHORT_MS / 1000).topics
    return bool(topics.keys() & {"locations", "encounters"})


def create(config: Config) -> None:
    client = AdminClient(config)
    client.create_topics([NewTopic("another", 1)], request_timeout=SHORT_MS / 1000)["another"].result()


def alter(config: Config) -> None:
    entry = ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, "locations", incremental_configs=[entry])
    client = AdminClient(config)
    client.incremental_alter_configs([resource], request_timeout=SHORT_MS / 1000)[resource].result()


def delete(config: Config) -> None:
    client = AdminClient(config)
    client.delete_topics(["locations"], request_timeout=SHORT_MS / 1000)["locations"].result()


def read_rules(config: Config) -> None:
    every = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
    )
    client = AdminClient(config)
    # The library returns an empty list if refused; here rules exist.
    if not client.describe_acls(every, request_timeout=SHORT_MS / 1000).result():
        raise KafkaException(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED))


def is_allowed(call: Call, config: Config) -> bool:
    try:
        call(config)
    except KafkaException:
        return False
    return True


ENCOUNTERS = (
    produce_encounter,
    consume_encounters,
    commit_as_finder,
    commit_as_webhooks,
    describe_finders,
    describe_webhooks,
)
CALLS = (produce, consume, commit, describe_group, describe, create, alter, delete, read_rules, *ENCOUNTERS)
MAY = {
    "producer": {produce, describe},
    "writer": {consume, commit, describe_group, describe},
    "observer": {consume, describe_group, describe, describe_finders, describe_webhooks},
    "finder": {consume, describe_group, describe, commit_as_finder, describe_finders, produce_encounter},
    "live": {consume, describe, consume_encounters},
    "webhooks": {consume_encounters, commit_as_webhooks, describe_webhooks},
}
NOT_ALLOWED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    # The broker does not reveal the coordinator of a group without permission.
    KafkaError._WAIT_COORD,
    KafkaError._TIMED_OUT,
}


def concurrently(calls: Iterable[Call], config: Config) -> dict[Call, KafkaError | None]:
    """The error of each call; None if it is allowed."""

    def answer(call: Call) -> KafkaError | None:
        try:
            call(config | {"log_level": 0})
        except KafkaException as fault:
            return fault.args[0]
        return None

    calls = [*calls]
    with ThreadPoolExecutor(len(calls)) as threads:
        return dict(zip(calls, threads.map(answer, calls), strict=True))


def test_each_user_has_exactly_its_permissions(secured: Broker, created_topic: None):
    produce(secured.client("producer"))  # messages for the consume calls
    produce_encounter(secured.client("finder"))
    with ThreadPoolExecutor(len(MAY)) as threads:  # a refused call waits for its timeout
        found = threads.map(lambda user: concurrently(CALLS, secured.client(user)), MAY)
        answers = dict(zip(MAY, found, strict=True))
    for user, errors in answers.items():
        assert {call for call, error in errors.items() if error is None} == MAY[user], user
        assert {error.code() for error in errors.values() if error is not None} <= NOT_ALLOWED, user


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "admin",
            "sasl.password": WRONG,
        },
    ],
    ids=["without a user", "with a wrong password"],
)
@pytest.mark.parametrize("port", ["port", "controller_port"])
def test_unauthenticated_clients_have_no_permissions(
    credentials: Config, port: str, secured: Broker, created_topic: None
):
    address = f"127.0.0.1:{getattr(secured, port)}"
    answers = concurrently(
        (produce, consume, describe, create, alter), {"bootstrap.servers": address, **credentials}
    )
    assert not [call for call, error in answers.items() if error is None]


def test_files_with_passwords_are_private(secured: Broker):
    for file in secured.home.iterdir():
        if file.is_file() and any(password in file.read_text() for password in secured.passwords.values()):
            assert file.stat().st_mode & 0o077 == 0, file
    assert not list(secured.home.glob("format.*"))


# --- the processes -------------------------------------------------------------------------------


def test_pings_are_stored_with_each_process_as_its_own_user(
    secured: Broker, created_topic: None, act_as: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(producer, "person_cache", PersonCache())
    act_as("producer")
    assert missing_dependency() is None
    assert producer.submit([at(1, 0), at(2, 0)]).refused == []
    act_as("observer")
    observer = Observer()
    assert observer.look().unwritten >= 2
    with WriterProcess(**secured.settings_of("writer")) as writer:
        until(lambda: stored() == [at(1, 0), at(2, 0)])
        until(lambda: observer.look().unwritten == 0)
        assert writer.stop() == 0
    observer.close()


def test_a_writer_with_a_wrong_password_exits_with_the_reason(secured: Broker, created_topic: None):
    with WriterProcess(KAFKA_USER="writer", KAFKA_PASSWORD=WRONG, KAFKA_TIMEOUT_S="3") as writer:
        assert writer.wait_for_exit() == 2
        assert "The broker refuses this writer, nothing is lost: " in writer.output()
        assert "Authentication failed" in writer.output()
        assert WRONG not in writer.output()


def test_a_starting_writer_waits_for_its_permissions(
    secured: Broker, settings: Any, act_as: Callable[[str], None]
):
    settings.KAFKA_TOPIC = "made-later"
    settings.KAFKA_GROUP = "writers-of-made-later"
    act_as("writer")
    with WriterProcess(**secured.settings_of("writer")) as writer:
        writer.until_output("broker: ")
        act_as("admin")
        topic.ensure(3)
        writer.until_output("Writes the partitions [0, 1, 2].", at_most_s=40)
        assert writer.stop() == 0


def test_a_writer_that_loses_its_permissions_exits_with_the_reason(
    secured: Broker, settings: Any, act_as: Callable[[str], None]
):
    settings.KAFKA_TOPIC = "taken-away"
    settings.KAFKA_GROUP = "writers-of-taken-away"
    act_as("admin")
    topic.ensure(3)
    with WriterProcess(**secured.settings_of("writer")) as writer:
        writer.until_output("Writes the partitions [0, 1, 2].", at_most_s=40)
        rules = AclBindingFilter(
            ResourceType.ANY,
            None,
            ResourcePatternType.ANY,
            "User:writer",
            None,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        client = topic.admin()
        client.delete_acls([rules])[rules].result(20)
        assert writer.wait_for_exit() == 2
        assert "AUTHORIZATION_FAILED" in writer.output()


def test_a_user_of_encounters_that_exists_gets_its_password_again(
    secured: Broker, created_topic: None, settings: Any
):
    settings.KAFKA_USERS = {"live": WRONG}
    topic.ensure_encounters(3)
    guessing = secured.client("live") | {"sasl.password": WRONG}
    until(lambda: is_allowed(consume_nothing, guessing))
    settings.KAFKA_USERS = {"live": secured.passwords["live"]}
    topic.ensure_encounters(3)
    until(lambda: is_allowed(consume_nothing, secured.client("live")))
    assert not is_allowed(consume_nothing, guessing)


def consume_nothing(config: Config) -> None:
    AdminClient(config | {"log_level": 0}).list_topics(timeout=SHORT_MS / 1000)


def test_creating_the_topic_needs_the_super_user(secured: Broker, act_as: Callable[[str], None]):
    act_as("writer")
    with pytest.raises(CommandError, match="The brokers refuse") as refused:
        call_command("make_topic")
    assert refused.value.returncode == 2


def test_credentials_in_the_address_are_refused_without_printing_them(settings: Any):
    settings.PINGS_URL = "kafka://writer:secret@127.0.0.1:9092"
    with pytest.raises(ImproperlyConfigured) as refused:
        topic.brokers()
    assert "secret" not in str(refused.value)


def test_a_producer_with_a_wrong_password_fails(
    secured: Broker, created_topic: None, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(producer, "person_cache", PersonCache())
    settings.KAFKA_USER, settings.KAFKA_PASSWORD, settings.KAFKA_TIMEOUT_S = "producer", WRONG, 2.0
    with pytest.raises(NeighbourUnavailable):
        producer.submit([at(1, 0)])


def test_an_observer_may_check_the_broker(
    secured: Broker, created_topic: None, act_as: Callable[[str], None]
):
    """The check creates no producer: without the WRITE permission it would have a fatal error."""
    before = polling_threads()
    act_as("observer")
    assert producer.is_alive(secured.url)
    assert polling_threads() == before


def test_a_producer_with_a_fatal_error_is_replaced(
    secured: Broker, created_topic: None, act_as: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(producer, "person_cache", PersonCache())
    act_as("observer")  # may not write
    with pytest.raises(NeighbourUnavailable):
        producer.submit([at(1, 0)])
    act_as("producer")
    until(is_accepted)


def is_accepted() -> bool:
    try:
        return producer.submit([at(1, 0)]).refused == []
    except NeighbourUnavailable:
        return False


def polling_threads() -> int:
    return sum(thread.name == producer.POLLING_THREAD for thread in threading.enumerate())
