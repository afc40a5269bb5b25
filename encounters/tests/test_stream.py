"""The finder processes, with real brokers: shared work, kills, late pings, messages."""

import json
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from django.conf import settings
from django.db import connection

from connect.wire_format import format_time, to_microseconds
from consumers import topic
from consumers.tests.conftest import new_sender
from consumers.tests.process import WriterProcess
from encounters import storage
from encounters.engine import Parameters
from encounters.models import Encounter
from encounters.stream import Checkpoint
from encounters.tests.asked import asked, in_order
from encounters.tests.process import FinderProcess
from locations import storage as locations
from locations.pings import Ping
from locations.tests.test_proximity import PLACES, at
from persons.models import Person
from tests.gunicorn_server import until

PEOPLE = 40
ALL_TIME = {"start": datetime(2000, 1, 1, tzinfo=UTC), "end": datetime(2100, 1, 1, tzinfo=UTC)}
HERE = at(PLACES["Berlin"], 0, 0)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def encounters_topic(kafka: str, transactional_db: None) -> Callable[..., None]:
    """People and both topics; returns a function that sends pings."""
    topic.ensure_encounters(3)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO persons_person (id, first_name, last_name, company_name, findable) "
            "SELECT id, 'A', 'B', 'C', id <> 7 FROM generate_series(1, %s) AS id;"
            "SELECT setval('persons_person_id_seq', %s)",
            [PEOPLE, PEOPLE],
        )
    return new_sender()


def walks(start: datetime, minutes: int, seed: int) -> list[Ping]:
    """People who stand in groups and change the group now and then."""
    random_ = random.Random(seed)
    pings = []
    for person_id in range(1, PEOPLE + 1):
        group = random_.randrange(8)
        for second in range(0, minutes * 60, 10):
            if random_.random() < 0.05:
                group = random_.randrange(8)
            spot = at(PLACES["Berlin"], 12.0 * group + random_.random() * 4, random_.random() * 4)
            moment = start + timedelta(
                seconds=second + random_.randrange(9), microseconds=random_.randrange(9)
            )
            pings.append(Ping(person_id, moment, *spot))
    return pings


def shuffled(pings: list[Ping], seed: int) -> Iterator[tuple[datetime, Ping]]:
    """(when it is sent, ping): 20 % are late, 5 % are sent twice."""
    random_ = random.Random(seed)
    sent = []
    for ping in pings:
        late_s = random_.choice([20, 90, 400]) if random_.random() < 0.2 else random_.random() * 3
        sent.append((ping.creation_time + timedelta(seconds=late_s), ping))
        if random_.random() < 0.05:
            sent.append((ping.creation_time + timedelta(seconds=late_s + random_.random() * 60), ping))
    yield from sorted(sent)


def views() -> dict[int, list[tuple]]:
    return in_order({each: list(storage.seen_by(each, **ALL_TIME)) for each in range(1, PEOPLE + 1)})


def asked_now() -> dict[int, list[tuple]]:
    return in_order(asked(range(1, PEOPLE + 1), Parameters(), **ALL_TIME))


def is_finished() -> bool:
    """Whether the finders have committed everything, and no encounter goes on."""
    consumer = Consumer(topic.client_config(group_id=settings.KAFKA_FINDER_GROUP))
    try:
        partitions = [TopicPartition(settings.KAFKA_TOPIC, each) for each in range(3)]
        for each in consumer.committed(partitions, timeout=10):
            _, end = consumer.get_watermark_offsets(each, timeout=10)
            if each.offset < end:
                return False
    finally:
        consumer.close()
    return not Encounter.objects.filter(ongoing=True).exists()


def messages() -> list[tuple[bytes, Any]]:
    """Everything in the topic of encounters, per partition in order."""
    return [(each.key(), json.loads(each.value()) if each.value() else None) for each in read_topic()]


def read_topic() -> list[Message]:
    consumer = Consumer(topic.client_config(group_id="reads-all", enable_partition_eof=True))
    consumer.assign([TopicPartition(settings.KAFKA_ENCOUNTERS_TOPIC, each, 0) for each in range(3)])
    found, ended = [], 0
    while ended < 3:
        for message in consumer.consume(1000, timeout=10):
            if message.error() is not None:
                ended += 1
            else:
                found.append(message)
    consumer.close()
    return found


def test_three_finders_that_are_killed_store_what_the_question_answers(encounters_topic):
    send = encounters_topic
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=40)
    sent = list(shuffled(walks(start, 20, seed=1), seed=2))
    with ExitStack() as running:
        running.enter_context(WriterProcess())
        finders = [running.enter_context(FinderProcess()) for _ in range(3)]
        for each in finders:
            each.until_output("Finding.")
        for first in range(0, len(sent), 600):
            for when, ping in sent[first : first + 600]:
                send(ping, timestamp=to_microseconds(when) // 1000)
            victim = finders[first // 600 % 3]
            if first % 1200 == 0:
                victim.process.send_signal(signal.SIGKILL)
                victim.process.wait()
                finders[first // 600 % 3] = running.enter_context(FinderProcess())
        until(is_finished, at_most_s=120)
    expected = asked_now()
    assert sum(map(len, expected.values())) > 500
    assert views() == expected

    newest: dict[tuple, str] = {}
    for key, value in messages():
        a, b = value["person_ids"]
        assert key == b"%d-%d" % (a, b)
        newest[value["start"], a, b] = value["state"]
    stored = {(format_time(start), a, b) for start, a, b in Encounter.objects.values_list("pk", flat=True)}
    assert {key for key, state in newest.items() if state != "withdrawn"} == stored
    assert set(newest.values()) <= {"ended", "withdrawn"}


def test_an_encounter_is_told_when_it_starts_and_forgotten_with_a_person(encounters_topic):
    send = encounters_topic
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    locations.record([Ping(each, hour_ago, *HERE) for each in (3, 4)])  # before the first finder
    with WriterProcess(), FinderProcess() as finder:
        until(lambda: Encounter.objects.filter(person_a_id=3, person_b_id=4, ongoing=False).exists())
        now = datetime.now(UTC)
        send(Ping(1, now, *HERE), Ping(2, now, *HERE))
        until(lambda: Encounter.objects.filter(person_a_id=1, person_b_id=2, ongoing=True).exists())
        [(key, value)] = messages()  # not of what was before the first finder
        assert key == b"1-2"
        assert value == {
            "person_ids": [1, 2],
            "start": format_time(now),
            "end": format_time(now),
            "duration_s": 0.0,
            "pings": 1,
            "min_distance_m": 0.0,
            "latitude": "52.5200000",
            "longitude": "13.4050000",
            "state": "ongoing",
        }
        Person.objects.filter(id=2).delete()
        until(lambda: (b"1-2", None) in messages())
        assert finder.run_command("--alive").returncode == 0
        assert finder.stop() == 0
        assert "Stopped." in finder.output()


def test_a_probe_does_not_load_what_only_a_finder_needs():
    report = FinderProcess(PYTHONPROFILEIMPORTTIME="1").run_command("--alive")
    assert report.returncode == 1
    assert "There is no state file of a finder: " in report.stderr
    imported = {line.rpartition("|")[2].strip() for line in report.stderr.splitlines()}
    assert "consumers.worker_command" in imported
    assert not {"scipy", "encounters.engine", "encounters.stream"} & imported


def test_a_checkpoint_is_read_as_it_was_written():
    checkpoint = Checkpoint(1_700_000_000_000_000, {0: 5, 2: 0, 1: 12})
    assert Checkpoint.parse(str(checkpoint)) == checkpoint
    first = Checkpoint(1_700_000_000_000_002, {0: 9, 1: 20, 2: 9}, is_first=True)
    assert Checkpoint.parse(str(first)) == first
    assert Checkpoint.earliest([first, checkpoint]) == Checkpoint(
        1_700_000_000_000_000, {0: 5, 1: 12, 2: 0}, is_first=True
    )
    later = Checkpoint(1_700_000_000_000_001, {0: 4, 1: 13, 2: 1})
    assert Checkpoint.earliest([later, checkpoint]) == Checkpoint(1_700_000_000_000_000, {0: 4, 1: 12, 2: 0})
