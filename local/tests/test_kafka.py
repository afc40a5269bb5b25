"""The private broker and the throw-away one, on real Kafka; and the jars that they are made of."""

import json
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from local import jars, kafka
from local.instance import Instance, Refused, read_json, write
from local.postgis import is_free


def make_topic(broker: kafka.Broker, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker.address})
    admin.create_topics([NewTopic(name, 1)])[name].result(20)


def send(broker: kafka.Broker, value: bytes, *, within_ms: int = 20_000) -> KafkaError | None:
    """What the broker says to it."""
    said: list[KafkaError | None] = []
    producer = Producer({"bootstrap.servers": broker.address, "acks": "all", "message.timeout.ms": within_ms})
    producer.produce("kept", value, on_delivery=lambda error, _: said.append(error))
    assert producer.flush(30) == 0
    return said[0]


def first(broker: kafka.Broker) -> bytes | None:
    consumer = Consumer(
        {"bootstrap.servers": broker.address, "group.id": "none", "enable.auto.commit": False}
    )
    try:
        consumer.assign([TopicPartition("kept", 0, 0)])
        found = consumer.poll(20)
        assert found is not None
        assert found.error() is None
        return found.value()
    finally:
        consumer.close()


def test_a_throwaway_broker_answers_makes_no_topic_by_itself_and_leaves_nothing() -> None:
    with kafka.throwaway_storage() as broker, kafka.running(broker):
        assert broker.is_ready()
        assert send(broker, b"too early", within_ms=1000) is not None
        make_topic(broker, "kept")
        assert send(broker, b"here") is None
        assert first(broker) == b"here"
    assert not broker.home.exists()
    assert not broker.is_ready()
    assert is_free(broker.port)


def test_a_broker_goes_also_when_the_tests_fail() -> None:
    with pytest.raises(ZeroDivisionError), kafka.throwaway_storage() as broker, kafka.running(broker):
        raise ZeroDivisionError
    assert not broker.home.exists()


@pytest.mark.parametrize("ask_to_end", [subprocess.Popen.terminate, subprocess.Popen.kill])
def test_what_was_acknowledged_outlives_the_broker(ask_to_end: Callable) -> None:
    with kafka.throwaway_storage() as broker:
        with kafka.running(broker) as process:
            make_topic(broker, "kept")
            assert send(broker, b"still here") is None
            ask_to_end(process)
            process.wait(30)
        with kafka.running(broker):
            assert first(broker) == b"still here"


def test_it_is_not_ready_where_nobody_or_somebody_else_listens(free_port: int) -> None:
    def broker(port: int) -> kafka.Broker:
        return kafka.Broker(Path("/nowhere"), port, port, "", {})

    assert not broker(free_port).is_ready(timeout_s=0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert not broker(mute.getsockname()[1]).is_ready(timeout_s=0.5)


def test_the_private_broker_is_made_once(instance: Instance) -> None:
    made = kafka.private_broker(instance, running=False)
    formatted = (made.data / "meta.properties").stat().st_mtime_ns
    again = kafka.private_broker(instance, running=False)
    assert again == made
    assert (again.data / "meta.properties").stat().st_mtime_ns == formatted
    assert made.home.stat().st_mode & 0o077 == 0
    assert made.port != made.controller_port
    assert f"listeners=CLIENTS://127.0.0.1:{made.port}," in made.properties.read_text()


def test_a_broker_of_before_knows_the_passwords_of_later_users_and_keeps_its_own(instance: Instance) -> None:
    made = kafka.private_broker(instance, running=False)
    known = read_json(made.home / "kafka.json")
    known["passwords"] = {user: made.passwords[user] for user in kafka.FIRST_USERS}
    write(made.home / "kafka.json", json.dumps(known))
    later = kafka.private_broker(instance, running=False)
    assert later.passwords.keys() == {*kafka.USERS}
    assert later.passwords.items() >= known["passwords"].items()
    assert kafka.private_broker(instance, running=False) == later


def test_an_interrupted_making_is_begun_again(instance: Instance) -> None:
    unfinished = instance.state / "kafka" / "data.unfinished"
    unfinished.mkdir(parents=True, mode=0o700)
    (instance.state / "kafka").chmod(0o700)
    (unfinished / "meta.properties").write_text("half")
    made = kafka.private_broker(instance, running=False)
    assert made.cluster_id in (made.data / "meta.properties").read_text()
    assert not unfinished.exists()


def test_a_port_that_somebody_took_is_given_up_and_the_data_stay(instance: Instance) -> None:
    made = kafka.private_broker(instance, running=False)
    with kafka.running(made):
        make_topic(made, "kept")
        assert send(made, b"still here") is None
    with socket.create_server(("127.0.0.1", made.port)):
        moved = kafka.private_broker(instance, running=False)
    assert moved.port != made.port
    assert read_json(moved.home / "kafka.json")["port"] == moved.port
    with kafka.running(moved):
        assert first(moved) == b"still here"


def test_the_program_that_the_supervisor_keeps_is_stopped_in_order(instance: Instance) -> None:
    made = kafka.private_broker(instance, running=False)
    program = made.program()
    assert program.command == made.command()
    assert "-Xmx512m" in program.command
    with kafka.running(made) as process:
        process.send_signal(signal.Signals[f"SIG{program.stop_signal}"])
        process.wait(program.stop_s)
    assert (made.data / ".kafka_cleanshutdown").exists()


def test_a_jar_that_is_not_the_pinned_one_is_named(tmp_path: Path) -> None:
    for jar in jars.FOLDER.glob("*.jar"):
        (tmp_path / jar.name).symlink_to(jar)
    assert jars.unpinned(tmp_path) == []
    changed, missing, *_ = sorted(tmp_path.iterdir())
    changed.unlink()
    changed.write_bytes(b"something else")
    missing.unlink()
    (tmp_path / "more.jar").touch()
    assert jars.unpinned(tmp_path) == sorted([changed.name, missing.name, "more.jar"])


def test_jars_that_cannot_be_fetched_are_said_to_be_in_one_line(tmp_path: Path) -> None:
    nowhere = ("-o", f"-Dmaven.repo.local={tmp_path / 'empty'}")
    with pytest.raises(Refused, match=r"Maven could not fetch the broker.s jars") as said:
        jars.fetch(tmp_path / "jars", *nowhere)
    assert "\n" not in str(said.value)
    assert not jars.are_fetched(tmp_path / "jars")
    assert jars.are_fetched()


def test_java_is_told_by_its_version(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "java"
    program.touch()
    assert jars.java_version(program) == 0
    (tmp_path / "release").write_text('IMPLEMENTOR="X"\nJAVA_VERSION="21.0.9"\n')
    assert jars.java_version(program) == 21
    found = jars.java()
    assert found is not None
    assert jars.java_version(found) >= jars.OLDEST_JAVA
