"""One step of the writer: a batch into the database, then committed; what is bad set aside; nothing twice."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection

from connect.errors import NeighbourUnavailable
from consumers import batch_store, topic
from consumers.batch_store import UNKNOWN, Tally, read, store
from consumers.lag import Observer, Standing
from consumers.models import RejectedPing
from consumers.replay import replay
from consumers.tests.conftest import NOON, at, stored
from consumers.writer import CONFIG, Writer, what_is_missing
from local import kafka as local_kafka
from persons import services as persons
from tests.gunicorn_server import until

pytestmark = pytest.mark.usefixtures("people")

POISON = b"\xff\xff no location"


def rejected() -> set[tuple[int | None, str]]:
    return set(RejectedPing.objects.values_list("person_id", "reason"))


def first_step(writer: Writer) -> Tally:
    """The first that found something: a member of a group has to be given its partitions before."""
    return until(lambda: tally if (tally := writer.step()).messages else None)


def test_a_step_stores_what_came_and_commits_it(send: Callable, writer: Writer, observer: Observer):
    send(at(1, 0), at(2, 0), at(1, 1))
    assert observer.look().unwritten == 3

    assert until(lambda: writer.step() and writer.total == Tally(good=3, stored=3))

    assert stored() == [at(1, 0), at(1, 1), at(2, 0)]
    all_written = Standing(partitions=3, unwritten=0, oldest_s=None)
    until(lambda: writer.step() == Tally() and observer.look() == all_written)


def test_a_step_with_nothing_to_do_does_nothing(kafka: str, writer: Writer):
    assert writer.step() == Tally()


def test_what_was_sent_before_there_was_a_writer_is_written(send: Callable, write_all: Callable):
    send(*(at(1 + n % 9, n) for n in range(3000)))

    assert write_all() == Tally(good=3000, stored=3000)


def test_redelivered_pings_are_stored_once(send: Callable, write_all: Callable):
    send(at(1, 0), at(1, 0), at(1, 0, latitude=9))
    send(at(1, 0))

    assert write_all() == Tally(good=4, stored=1)
    assert stored() == [at(1, 0)]


def test_of_a_persons_pings_at_one_time_the_first_stays_in_whichever_batches_they_are(
    send: Callable, new_writer: Callable
):
    first = [at(1 + n % 9, n) for n in range(300)]
    send(*first, *(ping._replace(latitude=9.0) for ping in first))
    writer = new_writer(size=20)

    until(lambda: writer.step() and writer.total.messages == 600)

    assert writer.total == Tally(good=600, stored=300)
    assert stored() == sorted(first)


def test_how_old_the_oldest_unwritten_is(send: Callable, observer: Observer, write_all: Callable):
    now_ms = int(time.time() * 1000)
    send(at(1, 0), timestamp=now_ms - 60_000)
    send(at(2, 0), at(3, 0), timestamp=now_ms - 5000)

    standing = observer.look()
    assert standing.unwritten == 3
    assert standing.oldest_s == pytest.approx(60, abs=10)

    write_all()
    assert observer.look().oldest_s is None


# --- what cannot be stored -----------------------------------------------------------------------


def test_poison_among_good_pings_is_set_aside_as_it_came(send: Callable, write_all: Callable):
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


def test_of_a_long_message_little_is_kept_and_it_is_never_a_ping(send: Callable, write_all: Callable):
    ping = topic.encode(at(1, 0))[1]
    send((b"7" * 5000, POISON * 2000), (b"1", ping * 100))  # protobuf reads the last of repeated fields

    assert write_all() == Tally(rejected=2)

    for row in RejectedPing.objects.all():
        assert row.reason == "The value has more than 1,024 bytes, which no ping has."
        assert len(bytes(row.value or b"")) == topic.MAX_VALUE + 1
        assert len(bytes(row.key or b"")) <= 64
    [*_, summary] = replay(RejectedPing.objects.all())
    assert (summary.read, summary.recorded) == (2, 0)


def test_when_the_table_is_full_more_are_logged_and_counted_and_good_pings_go_on(
    send: Callable, write_all: Callable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(batch_store, "MAX_ROWS", 5)
    send(*((b"7", POISON + b"%d" % n) for n in range(8)), at(1, 0))

    assert write_all() == Tally(good=1, stored=1, rejected=5, not_kept=3)

    assert RejectedPing.objects.count() == 5
    assert stored() == [at(1, 0)]
    assert "Rejected and not kept are 3: {'The value is not a location.': 3}, at the offsets" in caplog.text
    RejectedPing.objects.filter(id__lte=RejectedPing.objects.order_by("id")[2].id).delete()
    send((b"7", POISON))
    assert write_all() == Tally(rejected=1)


def test_pings_that_break_the_rules_are_set_aside_with_the_reason(send: Callable, write_all: Callable):
    send(at(1, 0), at(1, 1, latitude=91), at(2, 1, longitude=float("inf")))

    assert write_all() == Tally(good=1, stored=1, rejected=2)
    assert rejected() == {
        (1, "latitude: Must be a number from -90 to 90."),
        (2, "longitude: Must be a number from -180 to 180."),
    }


def test_pings_of_somebody_who_never_was_are_set_aside(send: Callable, write_all: Callable):
    send(at(1, 0), at(10, 0), at(0, 0), at(-3, 0), at(2**63 - 1, 0))

    assert write_all() == Tally(good=1, stored=1, rejected=4)
    assert rejected() == {(each, UNKNOWN) for each in (10, 0, -3, 2**63 - 1)}


def test_pings_of_a_deleted_person_are_dropped_and_kept_nowhere(send: Callable, write_all: Callable):
    send(at(1, 0), at(5, 0), at(5, 1, latitude=91), (b"5", POISON), at(2, 0))
    persons.delete(5)

    assert write_all() == Tally(good=2, stored=2, dropped=3)
    assert not RejectedPing.objects.exists()


def test_deleting_a_person_takes_its_rejected_pings_along(send: Callable, write_all: Callable):
    send(at(5, 1, latitude=91), (b"5", POISON), at(6, 1, latitude=91), (None, POISON))
    write_all()
    assert RejectedPing.objects.count() == 4

    persons.delete(5)

    assert set(RejectedPing.objects.values_list("person_id", flat=True)) == {6, None}


def test_what_is_rejected_and_delivered_again_is_there_once(
    send: Callable, settings: Any, new_writer: Callable
):
    send((b"7", POISON), at(10, 0), at(1, 0))
    for _ in range(2):
        settings.KAFKA_GROUP += "-again"  # which has committed nothing
        writer = new_writer()
        until(lambda: writer.step() and writer.total.messages == 3)  # noqa: B023 - called at once
        writer.close()

    assert RejectedPing.objects.count() == 2
    assert stored() == [at(1, 0)]


def test_a_topic_made_anew_counts_from_nought_and_hides_nothing(
    send: Callable, settings: Any, new_writer: Callable
):
    for _ in range(2):
        writer = new_writer()
        send((b"7", POISON))
        until(lambda: writer.step() and writer.total.rejected == 1)  # noqa: B023 - called at once
        writer.close()
        # Another topic stands for the same one made anew: its partitions count from 0, too.
        settings.KAFKA_TOPIC += "-anew"
        topic.ensure(3)

    rows = list(RejectedPing.objects.values_list("partition", "offset"))
    assert len(rows) == 2
    assert rows[0] == rows[1]


@pytest.fixture
def picky_database(people: None) -> Iterator[None]:
    """It refuses one latitude, for a reason that no rule knows."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE locations_location ADD CONSTRAINT picky CHECK (latitude <> 13) NOT VALID")
    yield
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE locations_location DROP CONSTRAINT picky")


def test_a_batch_that_fails_for_one_ping_is_halved_until_it_stands_alone(
    picky_database: None, send: Callable, write_all: Callable
):
    good = [at(1 + n % 9, n) for n in range(300)]
    culprits = [at(3, 1000, latitude=13), at(4, 1000, latitude=13)]
    send(*good[:100], culprits[0], *good[100:200], culprits[1], (b"7", POISON), *good[200:])

    assert write_all() == Tally(good=300, stored=300, rejected=3)
    assert stored() == sorted(good)
    culprit = RejectedPing.objects.get(person_id=3)
    assert "picky" in culprit.reason
    assert topic.read(None, bytes(culprit.value or b"")).ping == culprits[0]


# --- a broken world ------------------------------------------------------------------------------


def test_while_the_database_is_away_nothing_is_committed_or_rejected(
    send: Callable, writer: Writer, new_writer: Callable, observer: Observer, database: Callable
):
    writer.step()
    send(at(1, 0), (b"7", POISON), at(10, 0))
    database()

    with pytest.raises(OperationalError):
        until(lambda: writer.step().messages)
    assert observer.look().unwritten == 3
    assert (what_is_missing() or "").startswith("database: ")

    database()
    assert what_is_missing() is None
    writer.close()
    another = new_writer()
    until(lambda: another.step() and another.total == Tally(good=1, stored=1, rejected=2))
    another.close()
    assert stored() == [at(1, 0)]


def test_a_connection_that_was_cut_is_made_anew_by_the_next_step(
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


def test_a_broker_that_goes_away_is_waited_for_and_closing_does_not_hang(
    settings: Any, frequent_statistics: None, new_writer: Callable
):
    with local_kafka.throwaway_storage() as broker:
        settings.PINGS_URL = broker.url
        settings.KAFKA_TIMEOUT_S = 3.0
        with local_kafka.running(broker):
            topic.ensure(1)
            writer = new_writer()
            until(lambda: writer.step() == Tally() and writer._mine == {0} and writer.standing())
            assert writer.is_connected
        until(lambda: writer.step() == Tally() and not writer.is_connected)
        assert (what_is_missing() or "").startswith("broker: ")
        with local_kafka.running(broker):
            until(lambda: writer.step() == Tally() and writer.is_connected)
        writer.close()


def test_a_topic_that_is_made_after_the_writer_is_found(
    settings: Any, frequent_statistics: None, new_writer: Callable
):
    settings.KAFKA_TOPIC += "-later"
    assert "UNKNOWN_TOPIC" in (what_is_missing() or "")
    writer = new_writer()
    until(lambda: writer.step() == Tally() and writer.standing())

    topic.ensure(3)

    until(lambda: writer.step() == Tally() and writer._mine == {0, 1, 2}, at_most_s=40)


def test_a_topic_that_is_deleted_ends_the_writer(kafka: str, settings: Any, new_writer: Callable):
    writer = new_writer()
    until(lambda: writer.step() == Tally() and writer._mine == {0, 1, 2})
    client = topic.admin()
    client.delete_topics([settings.KAFKA_TOPIC])[settings.KAFKA_TOPIC].result(20)

    # For its first seconds the client takes a missing topic for one that some brokers do not know yet.
    with pytest.raises(NeighbourUnavailable, match="UNKNOWN_TOPIC"):
        until(lambda: not writer.step(), at_most_s=60)


# --- how far it is -------------------------------------------------------------------------------


def test_the_statistics_say_what_is_unwritten(
    send: Callable, frequent_statistics: None, new_writer: Callable
):
    writer = new_writer(size=20)
    assert writer.standing() is None
    send(*(at(1 + n % 9, n) for n in range(900)))

    def behind() -> bool:
        writer.step()
        return bool(writer.standing() and writer.standing().unwritten)

    until(behind)
    assert writer.standing().partitions == 3
    assert 0 < writer.standing().unwritten <= 900 - writer.total.messages
    assert writer.standing().oldest_s is not None

    until(lambda: writer.step() and writer.total.messages == 900 and not writer.standing().unwritten)
    assert writer.standing().oldest_s is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"topics": {}, "brokers": {"one": 1}}'])
def test_statistics_that_cannot_be_read_do_not_end_the_writer(send: Callable, writer: Writer, text: str):
    writer._measured(text)

    assert writer.standing() is None
    assert writer.is_connected
    send(at(1, 0))
    assert first_step(writer).stored == 1


# --- sharing -------------------------------------------------------------------------------------


def test_two_writers_share_the_partitions_and_one_that_leaves_gives_its_own_back(
    send: Callable, writer: Writer, new_writer: Callable, observer: Observer
):
    until(lambda: writer.step() == Tally() and len(writer._mine) == 3)
    other = new_writer()

    def shared() -> bool:
        writer.step()
        other.step()
        return bool(other._mine) and sorted([*writer._mine, *other._mine]) == [0, 1, 2]

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
    assert len(writer._mine) == 3


def test_what_came_of_a_partition_that_went_in_the_same_breath_is_not_taken(send: Callable, writer: Writer):
    until(lambda: writer.step() == Tally() and len(writer._mine) == 3)
    send(*(at(1 + n % 9, n) for n in range(90)))
    writer._mine.remove(0)  # as the callback does within the call that gives the messages

    taken = []
    until(lambda: taken.extend(writer._take(0.1)) or {each.partition() for each in taken} == {1, 2})

    assert len(taken) < 90


def test_what_is_stored_and_not_yet_committed_is_committed_before_a_partition_goes(
    send: Callable, writer: Writer, observer: Observer
):
    send(*(at(1 + n % 9, n) for n in range(90)))
    messages = until(lambda: writer._take(0.1))
    store(read(messages))
    for message in messages:
        writer._written[message.partition() or 0] = (message.offset() or 0) + 1
    before = observer.look().unwritten

    writer.close()

    assert observer.look().unwritten == before - len(messages)


def test_times_that_there_are_not_can_be_kept(people: None):
    row = RejectedPing.objects.create(reason="x", partition=0, offset=0, sent_ms=2**63 - 1, rejected_at=NOON)
    assert row.sent is None
    row.sent_ms = 1000
    assert row.sent is not None
    assert row.sent.timestamp() == 1
