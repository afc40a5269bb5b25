"""Real writers: how they stop, start in a broken world, share the work, and what they say meanwhile."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection, transaction

from consumers import topic
from consumers.lag import Observer
from consumers.models import RejectedPing
from consumers.state_file import STUCK_S, Said, read, write
from consumers.tests.conftest import at
from consumers.tests.process import WriterProcess
from consumers.writer import SIZE
from local import kafka as local_kafka
from tests.gunicorn_server import database_url, until
from tests.system import at as database_at

pytestmark = pytest.mark.usefixtures("people")


def count() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM locations_location")
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_batch_in_hand(send: Callable, observer: Observer, number: signal.Signals):
    send(*(at(1 + n % 9, n) for n in range(3 * SIZE)))
    with WriterProcess() as writer:
        until(count)
        writer.process.send_signal(number)
        assert writer.ended() == 0, writer.output()
        assert "Stopped." in writer.output()
    # What is committed is stored, and what is stored is committed.
    assert count() + observer.look().unwritten == 3 * SIZE


def test_killed_in_the_midst_nothing_is_lost_and_nothing_doubled(send: Callable, observer: Observer):
    # So many that most is unwritten when the first of them are seen.
    send(*(at(1 + n % 9, n) for n in range(4 * SIZE)), *((b"7", b"\xff%d" % n) for n in range(100)))
    with WriterProcess() as writer:
        until(count)
        writer.process.kill()
    with WriterProcess() as writer:
        writer.until_said("Writing.")
        until(lambda: not observer.look().unwritten, at_most_s=40)
        assert writer.stop() == 0
    assert count() == 4 * SIZE
    assert RejectedPing.objects.count() == 100


def test_until_empty_ends_when_everything_that_was_there_is_written(send: Callable, observer: Observer):
    send(*(at(1 + n % 9, n) for n in range(12_000)))
    with WriterProcess("--until-empty") as writer:
        assert writer.ended() == 0, writer.output()
        assert "Everything is written." in writer.output()
        assert "12,000 stored, 0 repeats, 0 rejected, 0 dropped" in writer.output()
    assert count() == 12_000
    assert observer.look().unwritten == 0
    with WriterProcess("--until-empty") as writer:
        assert writer.ended() == 0
    assert "0 stored, 0 repeats" in writer.output()


def test_until_empty_of_a_topic_that_never_held_anything_ends(kafka: str):
    with WriterProcess("--until-empty") as writer:
        assert writer.ended() == 0, writer.output()


def test_until_empty_does_not_wait_for_what_is_away(kafka: str, free_port: int):
    with WriterProcess(
        "--until-empty", PINGS_URL=f"kafka://127.0.0.1:{free_port}", KAFKA_TIMEOUT_S="1"
    ) as writer:
        assert writer.ended() == 1
        assert "Out of reach: broker: " in writer.output()


def test_it_waits_for_a_database_and_stops_when_asked_to(kafka: str, free_port: int):
    away = urlsplit(database_url())._replace(netloc=f"connect:x@127.0.0.1:{free_port}").geturl()
    with WriterProcess(DATABASE_URL=away) as writer:
        writer.until_said("Waiting 1.0 s: database: ")
        said = writer.says_of_itself()
        assert said is not None
        assert said.doing == "waiting"
        assert writer.ask("--check").returncode == 0
        assert writer.stop() == 0


def test_it_begins_when_the_topic_is_made(kafka: str, settings: Any, send: Callable):
    settings.KAFKA_TOPIC += "-later"
    with WriterProcess() as writer:
        writer.until_said("Waiting 0.5 s: broker: ")
        topic.ensure(3)
        writer.until_said("Writing.")
        send(at(1, 0))
        until(count)


@pytest.fixture
def closed_database(people: None) -> Iterator[Callable[[], None]]:
    """Call it, and the database throws everybody else out and lets nobody in."""
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


def test_a_database_that_goes_ends_it_uncommitted(
    send: Callable, observer: Observer, closed_database: Callable
):
    with WriterProcess() as writer:
        send(at(1, 0))
        until(count)
        closed_database()
        send(at(1, 1), (b"7", b"\xff"))
        assert writer.ended() == 1
        assert "Out of reach, nothing is lost" in writer.output()
    assert observer.look().unwritten == 2
    assert count() == 1
    assert not RejectedPing.objects.exists()


def test_it_waits_for_a_broker_that_goes_and_comes_again(
    kafka: str, settings: Any, sender: Callable[[], Callable]
):
    with local_kafka.throwaway_storage() as broker:
        settings.PINGS_URL = broker.url
        with WriterProcess() as writer:
            writer.until_said("broker: ")
            for times in (1, 2):
                with local_kafka.running(broker):
                    topic.ensure(3)
                    sender()(*(at(1 + n % 9, 5000 * times + n) for n in range(5000)))
                    until(lambda: count() > 5000 * (times - 1), at_most_s=60)  # noqa: B023 - called at once
                until(lambda: is_waiting(writer), at_most_s=60)
            with local_kafka.running(broker):
                observer = Observer()
                until(lambda: not observer.look().unwritten, at_most_s=60)
                observer.close()
                assert writer.stop() == 0, writer.output()
    assert count() == 10_000
    assert not RejectedPing.objects.exists()


def test_it_waits_for_a_broker_that_is_frozen(kafka: str, settings: Any, sender: Callable[[], Callable]):
    with local_kafka.throwaway_storage() as broker:
        settings.PINGS_URL = broker.url
        # So long it asks for its lag at most: that once ended it.
        with local_kafka.running(broker) as process, WriterProcess(KAFKA_TIMEOUT_S="1") as writer:
            topic.ensure(3)
            writer.until_said("Writes the partitions [0, 1, 2].")
            process.send_signal(signal.SIGSTOP)
            until(lambda: is_waiting(writer), at_most_s=60)
            process.send_signal(signal.SIGCONT)
            sender()(at(1, 0))
            until(lambda: count() == 1, at_most_s=60)
            assert writer.stop() == 0, writer.output()


@pytest.mark.parametrize("waits_before", [True, False])
def test_a_broker_that_dies_before_it_answers_a_commit_does_not_keep_it_from_stopping(
    kafka: str, settings: Any, sender: Callable[[], Callable], waits_before: bool
):
    with local_kafka.throwaway_storage() as broker:
        settings.PINGS_URL = broker.url
        with local_kafka.running(broker) as process, WriterProcess() as writer:
            topic.ensure(3)
            writer.until_said("Writes the partitions [0, 1, 2].")
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("LOCK TABLE locations_location IN EXCLUSIVE MODE")
                sender()(at(1, 0))
                until(is_anybody_locked_out)
                process.send_signal(signal.SIGSTOP)
            until(lambda: count() == 1)
            process.kill()
            if waits_before:
                until(lambda: is_waiting(writer), at_most_s=60)
            assert writer.stop() == 0, writer.output()


def is_anybody_locked_out() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return bool(cursor.fetchone()[0])


def is_waiting(writer: WriterProcess) -> bool:
    assert writer.process.poll() is None, writer.output()
    said = writer.says_of_itself()
    return said is not None and said.doing == "waiting"


def test_a_state_file_that_cannot_be_written_does_not_end_it(send: Callable, tmp_path: Path):
    with WriterProcess(WRITER_STATE_FILE=str(tmp_path / "missing" / "state")) as writer:
        send(at(1, 0))
        writer.until_said("The state file is not written: ")
        until(lambda: count() == 1)
        assert writer.stop() == 0


def test_two_writers_share_the_work_and_what_one_leaves_the_other_takes(send: Callable, observer: Observer):
    with WriterProcess() as one:
        one.until_said("Writes the partitions [0, 1, 2].")
        with WriterProcess() as other:
            other.until_said("Writes the partitions [")
            until(lambda: "Writes the partitions [0, 1, 2]." not in other.output())
            send(*(at(1 + n % 9, n) for n in range(5000)))
            until(lambda: not observer.look().unwritten)
            assert other.stop() == 0
        send(*(at(1 + n % 9, 10_000 + n) for n in range(5000)))
        until(lambda: not observer.look().unwritten)
        assert one.stop() == 0
    assert count() == 10_000
    assert one.output().count("Writes the partitions") >= 3
    assert "0 repeats" in other.output()


def test_a_writer_that_was_frozen_for_too_long_wakes_up_and_joins_again(send: Callable, observer: Observer):
    send(*(at(1 + n % 9, n) for n in range(20_000)))
    with WriterProcess() as frozen:
        # With a batch in hand it would find that thrown out, and end: tests/test_faults.py.
        until(lambda: not observer.look().unwritten)
        frozen.process.send_signal(signal.SIGSTOP)
        send(*(at(1 + n % 9, 20_000 + n) for n in range(5000)))
        with WriterProcess() as other:
            # Only then has the broker given the frozen one up.
            other.until_said("Writes the partitions [0, 1, 2].", at_most_s=60)
            until(lambda: not observer.look().unwritten)
            before = frozen.output().count("Writes the partitions [")
            frozen.process.send_signal(signal.SIGCONT)
            until(lambda: frozen.output().count("Writes the partitions [") > before + 1, at_most_s=60)
            send(*(at(1 + n % 9, 30_000 + n) for n in range(5000)))
            until(lambda: not observer.look().unwritten)
            assert frozen.stop() == 0
            assert other.stop() == 0
    assert count() == 30_000
    assert not RejectedPing.objects.exists()


# --- what they say -------------------------------------------------------------------------------


def test_a_writer_says_how_far_it_is(send: Callable):
    with WriterProcess() as writer:
        send(at(1, 0), (b"7", b"\xff"))

        def has_said() -> Said | None:
            said = writer.says_of_itself()
            return said if said and said.stored == 1 and said.rejected == 1 else None

        said = until(has_said)
        assert said.doing == "writing"
        assert said.pid == writer.process.pid
        check = writer.ask("--check")
        assert check.returncode == 0
        assert check.stdout.startswith("writing, said ")
        until(lambda: writer.ask("--status").stdout == "0 unwritten in 3 partitions\n")


def test_a_stuck_writer_is_told_from_a_live_one(kafka: str):
    with WriterProcess() as writer:
        until(writer.says_of_itself)
        writer.process.send_signal(signal.SIGSTOP)
        said = read(writer.state_file)
        assert said is not None
        said.at -= STUCK_S  # time passes
        write(writer.state_file, said)

        check = writer.ask("--check")

        assert check.returncode == 1
        assert "has said nothing for 6" in check.stderr
        writer.process.send_signal(signal.SIGCONT)
        until(lambda: writer.ask("--check").returncode == 0)


def test_where_no_writer_ever_was_there_is_none(kafka: str):
    writer = WriterProcess()
    assert writer.ask("--check").returncode == 1


def test_what_is_unwritten_is_told_without_a_writer(send: Callable):
    send(at(1, 0), at(2, 0))
    answer = WriterProcess().ask("--status")
    assert answer.returncode == 0
    assert answer.stdout.startswith("2 unwritten in 3 partitions, the oldest since ")


def test_without_brokers_there_is_no_status(kafka: str, free_port: int):
    answer = WriterProcess(PINGS_URL=f"kafka://127.0.0.1:{free_port}", KAFKA_TIMEOUT_S="1").ask("--status")
    assert answer.returncode == 1
    assert "out of reach" in answer.stderr
