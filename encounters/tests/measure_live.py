"""Measures the finder at 5,000 pings/s: `make test ARGS="encounters/tests/measure_live.py -s"`. Needs Linux.

The crowd is the crowded hall of measure.py at its busiest time, many halls side by side, so that the rate is
reached with the density of one. The sender, a writer and a finder are processes of their own.
"""

import json
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import quantiles

import pytest
from confluent_kafka import Consumer, TopicPartition
from django.conf import settings
from django.db import connection

from connect.wire_format import parse_instant
from consumers import topic
from consumers.tests.conftest import new_sender
from consumers.tests.process import WriterProcess
from encounters.models import Encounter
from encounters.tests.measure import _TICKS, _stat
from encounters.tests.test_stream import FinderProcess, read_topic
from locations.pings import Ping
from simulation.event import Event
from simulation.people import make_people
from tests.gunicorn_server import until

RATE = 5_000  # pings per second
SECONDS = 60
PEOPLE, INTERVAL_S = 1000, 52  # of one hall
BUSY = datetime(2026, 5, 11, 11, tzinfo=UTC)
STEP_S = 0.1

pytestmark = pytest.mark.django_db(transaction=True)


def halls(seconds: int) -> list[Ping]:
    """The pings of so many seconds of the busy time, RATE per second, in order of time."""
    people = list(make_people(PEOPLE, seed=1))
    event = Event(people, start=date(2026, 5, 11), days=1, interval_s=INTERVAL_S, halls=1, seed=1)
    end = BUSY + timedelta(seconds=seconds)
    one = [ping for ping in event.pings() if BUSY <= ping.creation_time < end]
    copies = round(RATE * seconds / len(one))
    first = min(each.id for each in people)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO persons_person (id, first_name, last_name, company_name) "
            "SELECT id, 'A', 'B', 'C' FROM generate_series(1, %s) AS id;"
            "SELECT setval('persons_person_id_seq', %s)",
            [copies * PEOPLE, copies * PEOPLE],
        )
    return [
        ping._replace(
            person_id=ping.person_id - first + 1 + copy * PEOPLE, longitude=ping.longitude + copy * 0.02
        )
        for ping in one
        for copy in range(copies)
    ]


def in_steps(pings: list[Ping]) -> Iterator[tuple[float, list[Ping]]]:
    """(seconds from the beginning, the pings of the next STEP_S)."""
    first, due = 0, STEP_S
    while first < len(pings):
        last = first
        while last < len(pings) and (pings[last].creation_time - BUSY).total_seconds() < due:
            last += 1
        yield due, pings[first:last]
        first, due = last, due + STEP_S


def cpu_s(process: WriterProcess) -> float:
    return sum(map(int, _stat(process.process.pid)[11:13])) / _TICKS


def memory_mb(process: WriterProcess) -> float:
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def committed() -> int:
    """Messages before the checkpoint of the finder."""
    consumer = Consumer(topic.client_config(group_id=settings.KAFKA_FINDER_GROUP))
    found = consumer.committed([TopicPartition(settings.KAFKA_TOPIC, each) for each in range(3)], timeout=10)
    consumer.close()
    return sum(max(0, each.offset) for each in found)


def test_the_finder_at_full_load(kafka: str) -> None:
    topic.ensure_encounters(3)
    pings = halls(SECONDS)
    send = new_sender()
    with WriterProcess() as writer:
        with FinderProcess() as finder:
            finder.until_output("Finding.")
            begin, cpu = time.monotonic(), (cpu_s(finder), cpu_s(writer))
            for due, batch in in_steps(pings):
                time.sleep(max(0.0, begin + due - time.monotonic()))
                now = datetime.now(UTC)
                send(
                    *(
                        ping._replace(creation_time=now - timedelta(microseconds=n))
                        for n, ping in enumerate(batch)
                    )
                )
            took = time.monotonic() - begin
            used = [after - before for after, before in zip((cpu_s(finder), cpu_s(writer)), cpu, strict=True)]
            try:
                until(lambda: committed() == len(pings), at_most_s=60)
            finally:
                print(committed(), len(pings), cpu_s(finder), finder.output()[-3000:])
            memory = memory_mb(finder)
        told = [(each.timestamp()[1], json.loads(each.value())) for each in read_topic()]
        late_s = [
            sent_ms / 1e3 - parse_instant(value["start"]).timestamp()
            for sent_ms, value in told
            if value["state"] == "ongoing"
        ]
        print(f"\n{len(pings):,} pings in {took:.0f} s, {Encounter.objects.count():,} encounters")
        print(
            f"finder {used[0] / took:.2f} cores, writer {used[1] / took:.2f}; finder at most {memory:.0f} MB"
        )
        cuts = quantiles(late_s, n=100)
        print(f"from ping to message: median {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s")

        sent_at = datetime.now(UTC)
        for _, batch in in_steps(pings):
            moved = [
                ping._replace(creation_time=sent_at + (ping.creation_time - BUSY) / 10) for ping in batch
            ]
            send(*moved)
        until(lambda: "0 unwritten" in writer.run_command("--status").stdout, at_most_s=300)
        begin = time.monotonic()
        with FinderProcess():
            until(lambda: committed() == 2 * len(pings), at_most_s=300)
        took = time.monotonic() - begin
        print(f"backlog: {len(pings) / took:,.0f} pings/s, its start of the process included")
    assert told
