"""Writer processes: stop, start without dependencies, sharing of partitions, state file and status."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection, transaction

from consumers import topic
from consumers.lag import Observer
from consumers.models import RejectedPing
from consumers.state_file import STUCK_S, WorkerState, read, write
from consumers.tests.conftest import at
from consumers.tests.process import WriterProcess
from local import kafka as local_kafka
from locations.pings import Ping
from tests.gunicorn_server import database_url, until
from tests.system import at as database_at

pytestmark = pytest.mark.usefixtures("people")


MANY, POISON = 90, 10  # messages


def pings(number: int) -> list[Ping]:
    """The pings of one batch of several."""
    return [at(1 + n % 9, MANY * number + n) for n in range(MANY)]


def poison(number: int) -> list[tuple[bytes, bytes]]:
    return [(b"7", b"\xff%d" % n) for n in range(POISON * number, POISON * (number + 1))]


@contextmanager
def blocked_table() -> Iterator[None]:
    """A writer that stores a batch waits until the end."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE locations_location IN EXCLUSIVE MODE")
        yield


def count() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM locations_location")
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_writer_after_its_current_batch(
    send: Callable, observer: Observer, number: signal.Signals
):
    with WriterProcess() as writer:
        with blocked_table():
            send(*pings(0))
            until(is_any_lock_awaited)  # the current batch
            send(*pings(1))
            writer.process.send_signal(number)
        assert writer.wait_for_exit() == 0, writer.output()
        assert "Stopped." in writer.output()
    assert 0 < count() <= MANY
    # All stored messages are committed, and no others.
    assert count() + observer.look().unwritten == 2 * MANY


def test_a_killed_writer_loses_and_duplicates_nothing(send: Callable, observer: Observer):
    with WriterProcess() as writer:
        send(*pings(0), *poison(0))
        until(lambda: count() == MANY)
        with blocked_table():
            send(*pings(1), *poison(1))
            until(is_any_lock_awaited)
            writer.process.kill()
            writer.process.wait()
    assert observer.look().unwritten >= 1
    with WriterProcess() as writer:
        writer.until_output("Writing.")
        until(lambda: not observer.look().unwritten, at_most_s=40)
        assert writer.stop() == 0
    assert count() == 2 * MANY
    assert RejectedPing.objects.count() == 2 * POISON


def test_until_empty_ends_when_everything_is_written(send: Callable, observer: Observer):
    send(*(at(1 + n % 9, n) for n in range(2000)))
    with WriterProcess("--until-empty") as writer:
        assert writer.wait_for_exit() == 0, writer.output()
        assert "Everything is written." in writer.output()
        assert "2,000 stored, 0 repeats, 0 rejected, 0 dropped" in writer.output()
    assert count() == 2000
    assert observer.look().unwritten == 0
    with WriterProcess("--until-empty") as writer:
        assert writer.wait_for_exit() == 0
    assert "0 stored, 0 repeats" in writer.output()


def test_until_empty_ends_on_an_empty_topic(kafka: str):
    with WriterProcess("--until-empty") as writer:
        assert writer.wait_for_exit() == 0, writer.output()


def test_until_empty_does_not_wait_for_the_broker(kafka: str, free_port: int):
    with WriterProcess(
        "--until-empty", PINGS_URL=f"kafka://127.0.0.1:{free_port}", KAFKA_TIMEOUT_S="1"
    ) as writer:
        assert writer.wait_for_exit() == 1
        assert "Out of reach: broker: " in writer.output()


def test_a_writer_that_waits_for_its_database_can_be_stopped(kafka: str, free_port: int):
    unavailable = urlsplit(database_url())._replace(netloc=f"connect:x@127.0.0.1:{free_port}").geturl()
    with WriterProcess(DATABASE_URL=unavailable) as writer:
        writer.until_output("Waiting 1.0 s: database: ")
        state = writer.state()
        assert state is not None
        assert state.doing == "waiting"
        assert writer.run_command("--check").returncode == 0
        assert writer.stop() == 0


def test_a_writer_waits_for_its_topic(kafka: str, settings: Any, send: Callable):
    settings.KAFKA_TOPIC += "-later"
    with WriterProcess() as writer:
        writer.until_output("Waiting 0.5 s: broker: ")
        topic.ensure(3)
        writer.until_output("Writing.")
        send(at(1, 0))
        until(count)


@pytest.fixture
def close_database(people: None) -> Iterator[Callable[[], None]]:
    """A function that ends all other sessions of the database and refuses new ones."""
    name = connection.settings_dict["NAME"]

    def close() -> None:
        with database_at(os.environ["DATABASE_URL"]) as other, other.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> %s",
                [name, connection.connection.info.backend_pid],
            )

    yield close
    with database_at(os.environ["DATABASE_URL"]) as other, other.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def test_a_database_failure_ends_a_writer_without_a_commit(
    send: Callable, observer: Observer, close_database: Callable
):
    with WriterProcess() as writer:
        send(at(1, 0))
        until(count)
        close_database()
        send(at(1, 1), (b"7", b"\xff"))
        assert writer.wait_for_exit() == 1
        assert "Out of reach, nothing is lost" in writer.output()
    assert observer.look().unwritten == 2
    assert count() == 1
    assert not RejectedPing.objects.exists()


def test_a_writer_waits_for_a_stopped_broker(kafka: str, settings: Any, sender: Callable[[], Callable]):
    with local_kafka.throwaway_storage() as broker:
        settings.PINGS_URL = broker.url
        with WriterProcess() as writer:
            writer.until_output("broker: ")
            for times in (1, 2):
                with local_kafka.running(broker):
                    topic.ensure(3)
                    sender()(*(at(1 + n % 9, 500 * times + n) for n in range(500)))
                    until(lambda: count() > 500 * (times - 1), at_most_s=60)  # noqa: B023 - called at once
                until(lambda: is_waiting(writer), at_most_s=60)
            with local_kafka.running(broker):
                observer = Observer()
                until(lambda: not observer.look().unwritten, at_most_s=60)
                observer.close()
                assert writer.stop() == 0, writer.output()
    assert count() == 1000
    assert not RejectedPing.objects.exists()


def test_a_writer_waits_for_a_frozen_broker(kafka: str, settings: Any, sender: Callable[[], Callable]):
    with local_kafka.throwaway_storage() as broker:
        settings.PINGS_URL = broker.url
        # The timeout of a lag request, which once ended the writer.
        with local_kafka.running(broker) as process, WriterProcess(KAFKA_TIMEOUT_S="1") as writer:
            topic.ensure(3)
            writer.until_output("Writes the partitions [0, 1, 2].")
            process.send_signal(signal.SIGSTOP)
            until(lambda: is_waiting(writer), at_most_s=60)
            process.send_signal(signal.SIGCONT)
            sender()(at(1, 0))
            until(lambda: count() == 1, at_most_s=60)
            assert writer.stop() == 0, writer.output()


@pytest.mark.parametrize("waits_before", [True, False])
def test_a_writer_stops_although_the_broker_died_before_it_answered_a_commit(
    kafka: str, settings: Any, sender: Callable[[], Callable], waits_before: bool
):
    with local_kafka.throwaway_storage() as broker:
        settings.PINGS_URL = broker.url
        with local_kafka.running(broker) as process, WriterProcess() as writer:
            topic.ensure(3)
            writer.until_output("Writes the partitions [0, 1, 2].")
            with blocked_table():
                sender()(at(1, 0))
                until(is_any_lock_awaited)
                process.send_signal(signal.SIGSTOP)
            until(lambda: count() == 1)
            process.kill()
            if waits_before:
                until(lambda: is_waiting(writer), at_most_s=60)
            assert writer.stop() == 0, writer.output()


def is_any_lock_awaited() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return bool(cursor.fetchone()[0])


def is_waiting(writer: WriterProcess) -> bool:
    assert writer.process.poll() is None, writer.output()
    state = writer.state()
    return state is not None and state.doing == "waiting"


def test_a_writer_survives_an_unwritable_state_file(send: Callable, tmp_path: Path):
    with WriterProcess(WORKER_STATE_FILE=str(tmp_path / "missing" / "state")) as writer:
        send(at(1, 0))
        writer.until_output("Cannot write the state file: ")
        until(lambda: count() == 1)
        assert writer.stop() == 0


def test_two_writers_share_the_partitions_and_one_takes_over_from_the_other(
    send: Callable, observer: Observer
):
    with WriterProcess() as one:
        one.until_output("Writes the partitions [0, 1, 2].")
        with WriterProcess() as other:
            other.until_output("Writes the partitions [")
            until(lambda: "Writes the partitions [0, 1, 2]." not in other.output())
            send(*(at(1 + n % 9, n) for n in range(500)))
            until(lambda: not observer.look().unwritten)
            assert other.stop() == 0
        send(*(at(1 + n % 9, 1000 + n) for n in range(500)))
        until(lambda: not observer.look().unwritten)
        assert one.stop() == 0
    assert count() == 1000
    assert one.output().count("Writes the partitions") >= 3
    assert "0 repeats" in other.output()


def test_a_writer_that_lost_its_session_while_frozen_rejoins(send: Callable, observer: Observer):
    send(*(at(1 + n % 9, n) for n in range(500)))
    with WriterProcess() as frozen:
        # Frozen within a batch, it would lose its database session and end: see tests/test_faults.py.
        until(lambda: not observer.look().unwritten)
        frozen.process.send_signal(signal.SIGSTOP)
        send(*(at(1 + n % 9, 1000 + n) for n in range(500)))
        with WriterProcess() as other:
            # The broker removes the frozen writer first.
            other.until_output("Writes the partitions [0, 1, 2].", at_most_s=60)
            until(lambda: not observer.look().unwritten)
            before = frozen.output().count("Writes the partitions [")
            frozen.process.send_signal(signal.SIGCONT)
            until(lambda: frozen.output().count("Writes the partitions [") > before + 1, at_most_s=60)
            send(*(at(1 + n % 9, 2000 + n) for n in range(500)))
            until(lambda: not observer.look().unwritten)
            assert frozen.stop() == 0
            assert other.stop() == 0
    assert count() == 1500
    assert not RejectedPing.objects.exists()


# --- state and status ----------------------------------------------------------------------------


def test_the_state_file_has_the_counts_of_a_writer(send: Callable):
    with WriterProcess() as writer:
        send(at(1, 0), (b"7", b"\xff"))

        def counted() -> WorkerState | None:
            state = writer.state()
            return state if state and state.stored == 1 and state.rejected == 1 else None

        state = until(counted)
        assert state.doing == "writing"
        assert state.pid == writer.process.pid
        check = writer.run_command("--check")
        assert check.returncode == 0
        assert check.stdout.startswith("writing, updated ")
        until(lambda: writer.run_command("--status").stdout == "0 unwritten in 3 partitions\n")


def test_check_detects_a_stuck_writer(kafka: str):
    with WriterProcess() as writer:
        until(writer.state)
        writer.process.send_signal(signal.SIGSTOP)
        state = read(writer.state_file)
        assert state is not None
        state.at -= STUCK_S
        write(writer.state_file, state)

        check = writer.run_command("--check")

        assert check.returncode == 1
        assert "its state file is 6" in check.stderr
        writer.process.send_signal(signal.SIGCONT)
        until(lambda: writer.run_command("--check").returncode == 0)


def test_check_fails_without_a_state_file(kafka: str):
    writer = WriterProcess()
    assert writer.run_command("--check").returncode == 1


def test_status_reports_the_lag_without_a_writer(send: Callable):
    send(at(1, 0), at(2, 0))
    answer = WriterProcess().run_command("--status")
    assert answer.returncode == 0
    assert answer.stdout.startswith("2 unwritten in 3 partitions, the oldest sent ")


def test_status_fails_without_a_broker(kafka: str, free_port: int):
    answer = WriterProcess(PINGS_URL=f"kafka://127.0.0.1:{free_port}", KAFKA_TIMEOUT_S="1").run_command(
        "--status"
    )
    assert answer.returncode == 1
    assert "out of reach" in answer.stderr
