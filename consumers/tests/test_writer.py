"""Steps of the writer: store a batch, commit it, set bad messages aside, store nothing twice."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from django.conf import settings as django_settings
from django.db import OperationalError, connection

from connect.errors import NeighbourUnavailable
from consumers import batch_store, topic
from consumers import writer as writer_module
from consumers.batch_store import UNKNOWN, Tally
from consumers.lag import Lag, Observer, Statistics
from consumers.models import RejectedPing
from consumers.replay import replay
from consumers.tests.conftest import NOON, at, stored
from consumers.writer import CONFIG, Writer, missing_dependency
from local import kafka as local_kafka
from persons import services as persons
from tests.gunicorn_server import until

pytestmark = pytest.mark.usefixtures("people")

POISON = b"\xff\xff no location"


def rejected() -> set[tuple[int | None, str]]:
    return set(RejectedPing.objects.values_list("person_id", "reason"))


def first_step(writer: Writer) -> Tally:
    """The first step with messages, which comes after the assignment of partitions."""
    return until(lambda: tally if (tally := writer.step()).messages else None)


def test_a_step_stores_and_commits_a_batch(send: Callable, writer: Writer, observer: Observer):
    send(at(1, 0), at(2, 0), at(1, 1))
    assert observer.look().unwritten == 3

    assert until(lambda: writer.step() and writer.total == Tally(good=3, stored=3))

    assert stored() == [at(1, 0), at(1, 1), at(2, 0)]
    all_written = Lag(partitions=3, unwritten=0, oldest_s=None)
    until(lambda: writer.step() == Tally() and observer.look() == all_written)


def test_a_step_without_messages(kafka: str, writer: Writer):
    assert writer.step() == Tally()


def test_messages_sent_before_the_first_writer_are_written(send: Callable, write_all: Callable):
    send(*(at(1 + n % 9, n) for n in range(3000)))

    assert write_all() == Tally(good=3000, stored=3000)


def test_redelivered_pings_are_stored_once(send: Callable, write_all: Callable):
    send(at(1, 0), at(1, 0), at(1, 0, latitude=9))
    send(at(1, 0))

    assert write_all() == Tally(good=4, stored=1)
    assert stored() == [at(1, 0)]


def test_the_first_of_repeated_pings_is_kept_across_batches(send: Callable, new_writer: Callable):
    first = [at(1 + n % 9, n) for n in range(300)]
    send(*first, *(ping._replace(latitude=9.0) for ping in first))
    writer = new_writer(size=20)

    until(lambda: writer.step() and writer.total.messages == 600)

    assert writer.total == Tally(good=600, stored=300)
    assert stored() == sorted(first)


def test_the_lag_has_the_age_of_the_oldest_unwritten_ping(
    send: Callable, observer: Observer, write_all: Callable
):
    now_ms = int(time.time() * 1000)
    send(at(1, 0), timestamp=now_ms - 60_000)
    send(at(2, 0), at(3, 0), timestamp=now_ms - 5000)

    lag = observer.look()
    assert lag.unwritten == 3
    assert lag.oldest_s == pytest.approx(60, abs=10)

    write_all()
    assert observer.look().oldest_s is None


# --- rejected messages ---------------------------------------------------------------------------


def test_poison_messages_are_set_aside_unchanged(send: Callable, write_all: Callable):
    good = [at(1 + n % 9, n) for n in range(500)]
    for n in range(0, 500, 5):
        send(*good[n : n + 5], (b"7", POISON + bytes([n % 256])), (None, None))

    tally = write_all()

    assert tally == Tally(good=500, stored=500, rejected=200)
    assert stored() == sorted(good)
    assert RejectedPing.objects.count() == 200
    first = RejectedPing.objects.filter(person_id=7).order_by("value").first()
    assert first is not None
    assert (bytes(first.key or b""), bytes(first.value or b"")) == (b"7", POISON + b"\x00")
    assert rejected() == {(7, "The value is not a location."), (None, "There is no value.")}


def test_a_long_message_is_kept_truncated_and_stays_rejected(send: Callable, write_all: Callable):
    ping = topic.encode(at(1, 0))[1]
    send((b"7" * 5000, POISON * 2000), (b"1", ping * 100))  # protobuf takes the last of repeated fields

    assert write_all() == Tally(rejected=2)

    for row in RejectedPing.objects.all():
        assert row.reason == "The value has more than 1,024 bytes, which no ping has."
        assert len(bytes(row.value or b"")) == topic.MAX_VALUE + 1
        assert len(bytes(row.key or b"")) <= 64
    [*_, summary] = replay(RejectedPing.objects.all())
    assert (summary.read, summary.recorded) == (2, 0)


def test_a_full_table_of_rejected_pings_does_not_stop_good_pings(
    send: Callable, write_all: Callable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(batch_store, "MAX_ROWS", 5)
    send(*((b"7", POISON + b"%d" % n) for n in range(8)), at(1, 0))

    assert write_all() == Tally(good=1, stored=1, rejected=5, not_kept=3)

    assert RejectedPing.objects.count() == 5
    assert stored() == [at(1, 0)]
    assert "3 rejected pings are not kept: {'The value is not a location.': 3}, offsets" in caplog.text
    RejectedPing.objects.filter(id__lte=RejectedPing.objects.order_by("id")[2].id).delete()
    send((b"7", POISON))
    assert write_all() == Tally(rejected=1)


def test_invalid_pings_are_set_aside_with_the_reason(send: Callable, write_all: Callable):
    send(at(1, 0), at(1, 1, latitude=91), at(2, 1, longitude=float("inf")))

    assert write_all() == Tally(good=1, stored=1, rejected=2)
    assert rejected() == {
        (1, "latitude: Must be a number from -90 to 90."),
        (2, "longitude: Must be a number from -180 to 180."),
    }


def test_pings_of_unknown_persons_are_set_aside(send: Callable, write_all: Callable):
    send(at(1, 0), at(10, 0), at(0, 0), at(-3, 0), at(2**63 - 1, 0))

    assert write_all() == Tally(good=1, stored=1, rejected=4)
    assert rejected() == {(each, UNKNOWN) for each in (10, 0, -3, 2**63 - 1)}


def test_pings_of_a_deleted_person_are_dropped(send: Callable, write_all: Callable):
    send(at(1, 0), at(5, 0), at(5, 1, latitude=91), (b"5", POISON), at(2, 0))
    persons.delete(5)

    assert write_all() == Tally(good=2, stored=2, dropped=3)
    assert not RejectedPing.objects.exists()


def test_deleting_a_person_deletes_their_rejected_pings(send: Callable, write_all: Callable):
    send(at(5, 1, latitude=91), (b"5", POISON), at(6, 1, latitude=91), (None, POISON))
    write_all()
    assert RejectedPing.objects.count() == 4

    persons.delete(5)

    assert set(RejectedPing.objects.values_list("person_id", flat=True)) == {6, None}


def test_a_rejected_message_that_is_redelivered_is_kept_once(
    send: Callable, settings: Any, new_writer: Callable
):
    send((b"7", POISON), at(10, 0), at(1, 0))
    for _ in range(2):
        settings.KAFKA_GROUP += "-again"  # a group without committed offsets
        writer = new_writer()
        until(lambda: writer.step() and writer.total.messages == 3)  # noqa: B023 - called at once
        writer.close()

    assert RejectedPing.objects.count() == 2
    assert stored() == [at(1, 0)]


def test_equal_offsets_of_a_recreated_topic_do_not_collide(
    send: Callable, settings: Any, new_writer: Callable
):
    for _ in range(2):
        writer = new_writer()
        send((b"7", POISON))
        until(lambda: writer.step() and writer.total.rejected == 1)  # noqa: B023 - called at once
        writer.close()
        # Another topic stands in for the recreated one: its offsets start at 0, too.
        settings.KAFKA_TOPIC += "-anew"
        topic.ensure(3)

    rows = list(RejectedPing.objects.values_list("partition", "offset"))
    assert len(rows) == 2
    assert rows[0] == rows[1]


@pytest.fixture
def picky_database(people: None) -> Iterator[None]:
    """The database refuses one latitude that the project's rules accept."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE locations_location ADD CONSTRAINT picky CHECK (latitude <> 13) NOT VALID")
    yield
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE locations_location DROP CONSTRAINT picky")


def test_a_batch_with_a_bad_row_is_bisected(picky_database: None, send: Callable, write_all: Callable):
    good = [at(1 + n % 9, n) for n in range(300)]
    culprits = [at(3, 1000, latitude=13), at(4, 1000, latitude=13)]
    send(*good[:100], culprits[0], *good[100:200], culprits[1], (b"7", POISON), *good[200:])

    assert write_all() == Tally(good=300, stored=300, rejected=3)
    assert stored() == sorted(good)
    culprit = RejectedPing.objects.get(person_id=3)
    assert "picky" in culprit.reason
    assert topic.decode(None, bytes(culprit.value or b"")).ping == culprits[0]


# --- failures ------------------------------------------------------------------------------------


def test_an_unavailable_database_commits_and_rejects_nothing(
    send: Callable, writer: Writer, new_writer: Callable, observer: Observer, toggle_database: Callable
):
    writer.step()
    send(at(1, 0), (b"7", POISON), at(10, 0))
    toggle_database()

    with pytest.raises(OperationalError):
        until(lambda: writer.step().messages)
    assert observer.look().unwritten == 3
    assert (missing_dependency() or "").startswith("database: ")

    toggle_database()
    assert missing_dependency() is None
    writer.close()
    another = new_writer()
    until(lambda: another.step() and another.total == Tally(good=1, stored=1, rejected=2))
    another.close()
    assert stored() == [at(1, 0)]


def test_the_next_step_replaces_a_lost_database_connection(
    send: Callable, writer: Writer, observer: Observer
):
    send(at(1, 0))
    first_step(writer)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchone()[0]
    send(at(1, 1))

    first_step(writer)

    assert stored() == [at(1, 0), at(1, 1)]
    until(lambda: writer.step() == Tally() and not observer.look().unwritten)


@pytest.fixture
def frequent_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIG, "statistics.interval.ms", 100)


def test_a_writer_waits_for_its_broker_and_closes_without_it(
    settings: Any, frequent_statistics: None, new_writer: Callable
):
    with local_kafka.throwaway_storage() as broker:
        settings.PINGS_URL = broker.url
        settings.KAFKA_TIMEOUT_S = 3.0
        with local_kafka.running(broker):
            topic.ensure(1)
            writer = new_writer()
            until(lambda: writer.step() == Tally() and writer.partitions == {0} and writer.lag())
            assert writer.is_connected
        until(lambda: writer.step() == Tally() and not writer.is_connected)
        assert (missing_dependency() or "").startswith("broker: ")
        with local_kafka.running(broker):
            until(lambda: writer.step() == Tally() and writer.is_connected)
        writer.close()


def test_a_writer_finds_a_topic_created_later(settings: Any, frequent_statistics: None, new_writer: Callable):
    settings.KAFKA_TOPIC += "-later"
    assert "UNKNOWN_TOPIC" in (missing_dependency() or "")
    writer = new_writer()
    until(lambda: writer.step() == Tally() and writer.lag())

    topic.ensure(3)

    until(lambda: writer.step() == Tally() and writer.partitions == {0, 1, 2}, at_most_s=40)


def test_a_deleted_topic_ends_the_writer(kafka: str, settings: Any, new_writer: Callable):
    writer = new_writer()
    until(lambda: writer.step() == Tally() and writer.partitions == {0, 1, 2})
    client = topic.admin()
    client.delete_topics([settings.KAFKA_TOPIC])[settings.KAFKA_TOPIC].result(20)

    # For some seconds the client assumes that the topic is being created: topic.metadata.propagation.max.ms.
    with pytest.raises(NeighbourUnavailable, match="UNKNOWN_TOPIC"):
        until(lambda: not writer.step(), at_most_s=60)


# --- lag ------------------------------------------------------------------------------------------


def test_the_lag_comes_from_the_statistics(send: Callable, frequent_statistics: None, new_writer: Callable):
    writer = new_writer(size=20)
    assert writer.lag() is None
    send(*(at(1 + n % 9, n) for n in range(900)))

    def behind() -> bool:
        writer.step()
        return bool(writer.lag() and writer.lag().unwritten)

    until(behind)
    assert writer.lag().partitions == 3
    assert 0 < writer.lag().unwritten <= 900 - writer.total.messages
    assert writer.lag().oldest_s is not None

    until(lambda: writer.step() and writer.total.messages == 900 and not writer.lag().unwritten)
    assert writer.lag().oldest_s is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"topics": {}, "brokers": {"one": 1}}'])
def test_unreadable_statistics_do_not_end_the_writer(
    send: Callable,
    frequent_statistics: None,
    new_writer: Callable,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
):
    parse, parsed = Statistics.parse, []

    def parse_other_text(_: str) -> Statistics:
        parsed.append(text)
        return parse(text)

    monkeypatch.setattr(Statistics, "parse", parse_other_text)
    writer = new_writer()
    until(lambda: writer.step() == Tally() and parsed)

    assert writer.lag() is None
    assert writer.is_connected
    send(at(1, 0))
    assert first_step(writer).stored == 1


# --- rebalances ----------------------------------------------------------------------------------


def test_writers_share_the_partitions_and_a_leaving_one_returns_its_own(
    send: Callable, writer: Writer, new_writer: Callable, observer: Observer
):
    until(lambda: writer.step() == Tally() and len(writer.partitions) == 3)
    other = new_writer()

    def shared() -> bool:
        writer.step()
        other.step()
        return bool(other.partitions) and sorted([*writer.partitions, *other.partitions]) == [0, 1, 2]

    until(shared)

    send(*(at(1 + n % 9, n) for n in range(900)))
    until(lambda: writer.step() and other.step() and not observer.look().unwritten)
    assert writer.total.stored + other.total.stored == 900
    assert writer.total.stored
    assert other.total.stored

    other.close()
    send(*(at(1 + n % 9, 1000 + n) for n in range(900)))
    until(lambda: writer.step() and not observer.look().unwritten)
    assert len(stored()) == 1800
    assert len(writer.partitions) == 3


class LosesPartition0(Consumer):
    """Loses partition 0 within the first consume() that returns messages of it."""

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        self._on_lost = callbacks["on_lost"]
        self.has_lost = False
        super().subscribe(topics, **callbacks)

    def consume(self, *args: Any, **kwargs: Any) -> list[Message]:
        found = super().consume(*args, **kwargs)
        if not self.has_lost and any(message.partition() == 0 for message in found):
            self.has_lost = True
            self._on_lost(self, [TopicPartition(django_settings.KAFKA_TOPIC, 0)])
        return found


def test_messages_of_a_partition_lost_during_consume_are_ignored(
    send: Callable, new_writer: Callable, observer: Observer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writer_module, "Consumer", LosesPartition0)
    writer = new_writer()
    until(lambda: writer.step() == Tally() and len(writer.partitions) == 3)
    send(*(at(1 + n % 9, n) for n in range(90)))
    _, lost = observer.positions()[0]
    assert 0 < lost < 90

    until(lambda: writer.step() and writer.total.messages == 90 - lost and observer.look().unwritten == lost)

    assert writer.partitions == {1, 2}
    assert observer.positions()[0] == (0, lost)
    assert len(stored()) == 90 - lost


class AnswersNoFirstCommit(Consumer):
    """Never answers the first commit request, so the writer's steps request no other."""

    is_first = True

    def commit(self, **kwargs: Any) -> None:
        if self.is_first:
            self.is_first = False
        else:
            super().commit(**kwargs)


def test_closing_commits_what_is_stored(
    send: Callable, new_writer: Callable, observer: Observer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writer_module, "Consumer", AnswersNoFirstCommit)
    writer = new_writer(size=20)
    send(*(at(1 + n % 9, n) for n in range(90)))
    until(lambda: writer.step() and writer.total.messages >= 40)
    assert observer.look().unwritten == 90

    writer.close()

    assert len(stored()) == writer.total.messages
    assert observer.look().unwritten == 90 - writer.total.messages


def test_a_timestamp_out_of_range_can_be_kept(people: None):
    row = RejectedPing.objects.create(reason="x", partition=0, offset=0, sent_ms=2**63 - 1, rejected_at=NOON)
    assert row.sent is None
    row.sent_ms = 1000
    assert row.sent is not None
    assert row.sent.timestamp() == 1
