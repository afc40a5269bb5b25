"""Everybody's encounters: a day found at once, and encounters found as pings arrive."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition
from django.conf import settings

from bench import cpu
from bench.event import INTERVAL_S, Event, rows
from bench.report import Part, Spread
from connect.wire_format import parse_instant, to_microseconds
from consumers import topic
from consumers.tests.conftest import new_sender
from consumers.tests.process import WriterProcess
from encounters import backfill
from encounters.backfill import SLICE_US
from encounters.engine import Engine, Parameters
from encounters.models import Encounter
from encounters.tests.process import FinderProcess
from local import kafka
from locations import columns, storage
from locations.pings import Ping
from simulation.event import Event as Simulation
from simulation.people import make_people
from tests.gunicorn_server import until

ASKED = 25  # one of so many people is asked about
RATES = (5000, 2500, 1250)  # pings per second, until the finder keeps up
BUSY = datetime(2026, 5, 11, 11, tzinfo=UTC)
HALL = 1000  # people
FILL_S, LASTING_S = 180, 60  # the halls fill one after the other; then it is measured
STEP_S = 0.1


def parts(event: Event) -> Iterator[Part]:
    yield a_day(event)
    with kafka.throwaway_storage() as held:
        broker = replace(held, options=kafka.HEAP)
        settings.PINGS_URL = broker.url
        settings.KAFKA_TIMEOUT_S = 60.0
        with kafka.running(broker):
            yield as_pings_arrive(event)


# --- a day ---------------------------------------------------------------------------------------------


def a_day(event: Event) -> Part:
    part = Part("Everybody's encounters: a day found at once")
    first, last = to_microseconds(event.start), to_microseconds(event.end)
    begins = range(first, last, SLICE_US)
    slices = [columns.read(start=begin, end=begin + SLICE_US) for begin in begins]

    def in_memory() -> None:
        engine = Engine()
        for begin, each in zip(begins, slices, strict=True):
            engine.feed(each, until=begin + SLICE_US)
        engine.finish()

    def find() -> None:
        for _ in backfill.find(start=event.start, end=event.end):
            pass

    engine_s = sum(cpu.of_work(in_memory))
    ways = {
        "`find_encounters`, nothing stored before": cpu.of_work(find),
        "`find_encounters` again, nothing changed": cpu.of_work(find),
        "asking for each person by SQL": tuple(each * ASKED for each in cpu.of_work(lambda: ask(event))),
    }
    found, _, asked = (sum(each) for each in ways.values())
    times = found / engine_s
    part.target("everybody's day, stored", "at most 2 x the engine alone", f"{times:.1f} x", met=times <= 2)
    times = asked / found
    part.target("the same", "at least 8 x cheaper than asking for each", f"{times:.1f} x", met=times >= 8)
    part.table(
        ("work", "this process", "PostgreSQL", "sum", "engine = 1"),
        [
            ("the engine, on pings in memory", f"{engine_s:.1f}", "-", f"{engine_s:.1f}", "1"),
            *(
                (
                    name,
                    f"{here:.1f}",
                    f"{there:.1f}",
                    f"{here + there:.1f}",
                    f"{(here + there) / engine_s:.1f}",
                )
                for name, (here, there) in ways.items()
            ),
        ],
    )
    part.text(
        f"Seconds of CPU. {sum(map(len, slices)):,} pings of {len(event.person_ids):,} people, "
        f"{Encounter.objects.count():,} encounters. One of {ASKED} people was asked about."
    )
    return part


def ask(event: Event) -> None:
    asked = Parameters()
    for person_id in event.person_ids[::ASKED]:
        for _ in storage.encounters(
            person_id,
            start=event.start,
            end=event.end,
            distance_m=asked.distance_m,
            within_s=asked.within_s,
            max_gap_s=asked.max_gap_s,
        ):
            pass


# --- as pings arrive -------------------------------------------------------------------------------------


@dataclass
class Run:
    """The measurements at one rate, taken after the halls were full."""

    per_s: int
    going_on: int  # encounters, at the end
    finder: float  # cores
    writer: float
    postgresql: float
    memory_mb: float  # of the finder, at most
    told_s: Spread  # from the ping to the message of a start
    lag_s: float  # at the end, of the finder
    sent_late_s: float

    @property
    def keeps_up(self) -> bool:
        return self.lag_s < 5 and self.sent_late_s < 5


def as_pings_arrive(event: Event) -> Part:
    part = Part("Everybody's encounters: as pings arrive")
    runs: list[Run] = []
    for rate in RATES:
        runs.append(run(event.scaled(rate, 200), event.share))
        if runs[-1].keeps_up:
            break
    best = runs[-1]
    part.target(
        "the finder keeps up with", f"{RATES[0]:,} pings/s", f"{best.per_s:,}/s", met=best.per_s >= RATES[0]
    )
    told = best.told_s.quantile(0.99)
    part.target("from a ping to the message of a start, p99", "under 2 s", f"{told:.2f} s", met=told < 2)
    share = best.finder * RATES[0] / best.per_s
    part.target(
        f"the finder at {RATES[0]:,} pings/s", "at most 0.5 of a core", f"{share:.2f}", met=share <= 0.5
    )
    part.table(
        (
            "pings/s",
            "go on",
            "finder",
            "writer",
            "PostgreSQL",
            "memory of the finder",
            "told, median",
            "p99",
            "lag",
        ),
        [
            (
                f"{each.per_s:,}",
                f"{each.going_on:,}",
                f"{each.finder:.2f}",
                f"{each.writer:.2f}",
                f"{each.postgresql:.2f}",
                f"{each.memory_mb:,.0f} MB",
                f"{each.told_s.median:.2f} s",
                f"{each.told_s.quantile(0.99):.2f} s",
                f"{each.lag_s:.1f} s",
            )
            for each in runs
        ],
    )
    part.text(
        f"Crowded halls of {HALL:,} people side by side at their busiest time, a ping of each phone in "
        f"{INTERVAL_S} s. They fill within {FILL_S} s, then {LASTING_S} s are measured: processors used, and "
        "the seconds from the time of a ping to the message that an encounter has started, which is sent "
        "before the transaction ends. Sender, broker, writer, finder and PostgreSQL share the machine."
    )
    return part


def run(per_s: int, share: float) -> Run:
    fill_s, lasting_s = (max(10.0, each * min(1.0, share)) for each in (FILL_S, LASTING_S))
    name = f"bench-{time.time_ns()}"
    settings.KAFKA_TOPIC, settings.KAFKA_GROUP = name, f"{name}-writers"
    settings.KAFKA_FINDER_GROUP, settings.KAFKA_ENCOUNTERS_TOPIC = f"{name}-finders", f"{name}-encounters"
    topic.ensure(settings.KAFKA_PARTITIONS)
    topic.ensure_encounters(settings.KAFKA_PARTITIONS)
    rows("TRUNCATE encounters_encounter")
    pings = crowd(per_s, fill_s, lasting_s)
    send = new_sender()
    begin, late_s, full_at = time.monotonic(), 0.0, datetime.now(UTC)
    with WriterProcess() as writer, FinderProcess() as finder:
        finder.until_output("Finding.")
        processes = (finder.process.pid, writer.process.pid)
        before: list[float] = []
        begin = time.monotonic()
        for due_s, batch in in_steps(pings):
            if due_s > fill_s and not before:
                before, full_at = [*map(cpu.of_process, processes), cpu.of_postgresql()], datetime.now(UTC)
            wait_s = begin + due_s - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
            late_s = max(late_s, -wait_s)
            now = datetime.now(UTC)
            send(
                *(
                    ping._replace(creation_time=now - timedelta(microseconds=n))
                    for n, ping in enumerate(batch)
                )
            )
        took = (datetime.now(UTC) - full_at).total_seconds()
        after = [*map(cpu.of_process, processes), cpu.of_postgresql()]
        sent_until = time.time()
        told_until = max((sent for sent, _ in told()), default=0.0)
        used = [(last - first) / took for first, last in zip(before, after, strict=True)]
        memory_mb = cpu.peak_memory_mb(finder.process.pid)
        until(lambda: checkpoint() == len(pings), at_most_s=900)
        going_on = Encounter.objects.filter(ongoing=True).count()
    starts = [
        sent - parse_instant(value["start"]).timestamp()
        for sent, value in told()
        if value["state"] == "ongoing" and parse_instant(value["start"]) >= full_at
    ]
    finder_cores, writer_cores, database_cores = used
    return Run(
        per_s=per_s,
        going_on=going_on,
        finder=finder_cores,
        writer=writer_cores,
        postgresql=database_cores,
        memory_mb=memory_mb,
        told_s=Spread(starts),
        lag_s=max(0.0, sent_until - told_until),
        sent_late_s=late_s,
    )


def crowd(per_s: int, fill_s: float, lasting_s: float) -> list[Ping]:
    """The pings of halls that fill one after the other; `per_s` when all are full. Stores their people."""
    people = list(make_people(HALL, seed=1))
    simulation = Simulation(people, start=BUSY.date(), days=1, interval_s=INTERVAL_S, halls=1, seed=1)
    end = BUSY + timedelta(seconds=fill_s + lasting_s)
    hall = [ping for ping in simulation.pings() if BUSY <= ping.creation_time < end]
    halls = max(1, round(per_s * INTERVAL_S / HALL))
    first = min(each.id for each in people)
    rows("DELETE FROM persons_person WHERE id <= %s", [halls * HALL])
    rows(
        "INSERT INTO persons_person (id, first_name, last_name, company_name) "
        "SELECT id, 'A', 'B', 'C' FROM generate_series(1, %s) AS id",
        [halls * HALL],
    )
    found = [
        ping._replace(
            person_id=ping.person_id - first + 1 + nth * HALL,
            longitude=ping.longitude + nth * 0.02,
            creation_time=ping.creation_time + timedelta(seconds=fill_s * nth / halls),
        )
        for nth in range(halls)
        for ping in hall
    ]
    return sorted((each for each in found if each.creation_time < end), key=lambda each: each.creation_time)


def in_steps(pings: Sequence[Ping]) -> Iterator[tuple[float, Sequence[Ping]]]:
    """(seconds from the beginning, the pings of the next STEP_S)."""
    first, due_s = 0, STEP_S
    while first < len(pings):
        last = first
        while last < len(pings) and (pings[last].creation_time - BUSY).total_seconds() < due_s:
            last += 1
        yield due_s, pings[first:last]
        first, due_s = last, due_s + STEP_S


def told() -> Iterator[tuple[float, dict[str, Any]]]:
    """The messages of encounters so far: (seconds since 1970, value)."""
    consumer = Consumer(topic.client_config(group_id="bench", enable_partition_eof=True))
    partitions = range(settings.KAFKA_PARTITIONS)
    consumer.assign([TopicPartition(settings.KAFKA_ENCOUNTERS_TOPIC, each, 0) for each in partitions])
    ended: set[int | None] = set()
    while len(ended) < len(partitions):
        for message in consumer.consume(10_000, timeout=1):
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name
                    ended.add(message.partition())
            elif value := message.value():
                yield message.timestamp()[1] / 1000, json.loads(value)
    consumer.close()


def checkpoint() -> int:
    """The number of pings before the checkpoint of the finder."""
    consumer = Consumer(topic.client_config(group_id=settings.KAFKA_FINDER_GROUP))
    partitions = [TopicPartition(settings.KAFKA_TOPIC, each) for each in range(settings.KAFKA_PARTITIONS)]
    found = consumer.committed(partitions, timeout=10)
    consumer.close()
    return sum(max(0, each.offset) for each in found)
