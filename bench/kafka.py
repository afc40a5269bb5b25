"""Pings per second through the producer and through the writer, on a real broker and a PostGIS of its own.

`python -m bench.kafka [PINGS]`. Prints tables; asserts nothing. Sizes and compression were chosen by it.
"""

import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import django

from local import kafka
from local.postgis import throwaway_cluster

Kind = TypeVar("Kind", int, str)

PEOPLE = 1000
EVERY_S = 5
BATCHES = (1, 10, 100, 1000, 10_000)
SIZES = (250, 1000, 2500, 5000, 10_000, 20_000)
COMPRESSIONS = ("none", "lz4", "snappy", "zstd")
IN_FLIGHT = (1, 5)
ROUNDS = 3  # of each measurement, taken in turn; the medians are printed
MOST_S = 4.0  # a measurement is cut off after that


def walk(count: int) -> list[Any]:
    """Pings in the order in which they would come in: everybody every five seconds, a few steps on."""
    from locations.pings import Ping  # noqa: PLC0415 - the settings come first

    start = datetime(2026, 5, 11, 9, tzinfo=UTC)
    chance = random.Random(0)  # noqa: S311 - the same walk in each run
    places = [[52.5 + chance.random() / 400, 13.4 + chance.random() / 250] for _ in range(PEOPLE)]
    pings = []
    for n in range(count):
        place = places[n % PEOPLE]
        place[0] += chance.gauss(0, 2e-5)
        place[1] += chance.gauss(0, 3e-5)
        moment = start + timedelta(
            seconds=n // PEOPLE * EVERY_S, microseconds=chance.randrange(EVERY_S * 10**6)
        )
        pings.append(Ping(1 + n % PEOPLE, moment, round(place[0], 7), round(place[1], 7)))
    return pings


def in_turn(
    kinds: Sequence[Kind], measure: Callable[[Kind], tuple[float, ...]]
) -> Iterator[tuple[Kind, Any]]:
    """For each kind the medians of what was measured."""
    found: dict[Kind, list[tuple[float, ...]]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind in kinds:
            found[kind].append(measure(kind))
    for kind, rounds in found.items():
        yield kind, tuple(map(statistics.median, zip(*rounds, strict=True)))


def new_topic(name: str) -> None:
    from django.conf import settings  # noqa: PLC0415

    from consumers import topic  # noqa: PLC0415

    settings.KAFKA_TOPIC = settings.KAFKA_GROUP = name
    topic.ensure(settings.KAFKA_PARTITIONS)


@contextmanager
def producing_with(name: str, value: str | int) -> Iterator[None]:
    """The process's producer is made anew for it."""
    from consumers import producer  # noqa: PLC0415

    before = producer.CONFIG[name]
    producer.CONFIG[name] = value
    close_producers()
    yield
    producer.CONFIG[name] = before
    close_producers()


def close_producers() -> None:
    from consumers import producer  # noqa: PLC0415

    producer.close_all()


def hand_in(pings: Sequence[Any], size: int) -> tuple[float, float]:
    """Pings per second, and milliseconds a batch."""
    from consumers import producer  # noqa: PLC0415

    producer.submit(pings[:size])
    begun = time.perf_counter()
    batches = 0
    for first in range(0, len(pings), size):
        producer.submit(pings[first : first + size])
        batches += 1
        if time.perf_counter() - begun > MOST_S:
            break
    took = time.perf_counter() - begun
    return min(batches * size, len(pings)) / took, took / batches * 1e3


def hand_in_together(pings: Sequence[Any], threads: int) -> tuple[float, float]:
    """The same for single pings, sent by so many at once."""
    from consumers import producer  # noqa: PLC0415

    def some(nth: int) -> None:
        for ping in pings[nth:4000:threads]:
            producer.submit([ping])

    producer.submit(pings[:PEOPLE])
    begun = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(some, range(threads)))
    took = time.perf_counter() - begun
    return 4000 / took, took / 4000 * threads * 1e3


def compressed(pings: Sequence[Any], kind: str) -> tuple[float, float, float]:
    """Pings per second in large batches and alone, and the bytes of one in the topic."""
    with producing_with("compression.type", kind):
        name = f"compressed-{kind}-{time.time_ns()}"
        new_topic(name)
        many, _ = hand_in(pings[:100_000], 10_000)
        held = sum(file.stat().st_size for file in _broker.data.glob(f"{name}-*/*.log"))
        one, _ = hand_in(pings[:2000], 1)
        return many, one, held / 110_000


def in_flight(pings: Sequence[Any], requests: int) -> tuple[float, float, float]:
    """Pings per second in large batches, alone, and alone by eight threads; more than one may lose some."""
    with producing_with("max.in.flight", requests):
        many, _ = hand_in(pings[:100_000], 10_000)
        one, _ = hand_in(pings[:2000], 1)
        together, _ = hand_in_together(pings, 8)
        return many, one, together


def write(size: int) -> tuple[float, float]:
    """Pings per second of a writer with such batches, and milliseconds a batch; of what is in the topic."""
    from django.conf import settings  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415

    from consumers.writer import Writer  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE locations_location")
    settings.KAFKA_GROUP = f"writers-{size}-{time.time_ns()}"
    writer = Writer(size=size)
    while not writer.step().messages:  # joins the group, makes the partitions of the table
        pass
    begun = time.perf_counter()
    written = batches = 0
    while (tally := writer.step()).messages and time.perf_counter() - begun < MOST_S:
        written += tally.messages
        batches += 1
        ended = time.perf_counter()
    writer.close()
    return written / (ended - begun), (ended - begun) / batches * 1e3


def main(count: int) -> None:
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415

    from connect import gc_tuning  # noqa: PLC0415
    from consumers import producer, topic, writer  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO persons_person (first_name, last_name, company_name) "
            "SELECT 'A', 'B', 'C' FROM generate_series(1, %s)",
            [PEOPLE],
        )
    pings = walk(count)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"\nThrough the producer, a thread, {topic.brokers()}, acknowledged by the broker:\n")
    print("| pings a batch | pings/s | ms a batch |\n| --- | --- | --- |")
    new_topic("batches")
    hand_in(pings, 1)  # the broker's own code gets compiled
    for size, (rate, each_ms) in in_turn(BATCHES, lambda size: hand_in(pings, size)):
        print(f"| {size:,} | {rate:,.0f} | {each_ms:.2f} |")
    for threads, (rate, each_ms) in in_turn((8,), lambda threads: hand_in_together(pings, threads)):
        print(f"| 1, by {threads} threads | {rate:,.0f} | {each_ms:.2f} |")

    print("\n| compression | pings/s in batches of 10,000 | single pings/s | bytes a ping in the topic |")
    print("| --- | --- | --- | --- |")
    for kind, (many, one, held) in in_turn(COMPRESSIONS, lambda kind: compressed(pings, kind)):
        print(f"| {kind} | {many:,.0f} | {one:,.0f} | {held:.1f} |")

    print("\n| requests in flight | pings/s in batches of 10,000 | single pings/s | by eight threads |")
    print("| --- | --- | --- | --- |")
    for requests, rates in in_turn(IN_FLIGHT, lambda requests: in_flight(pings, requests)):
        print(f"| {requests} | " + " | ".join(f"{rate:,.0f}" for rate in rates) + " |")

    new_topic("written")
    for first in range(0, count, 10_000):  # each once: with repeats in it the writer has another way to go
        producer.submit(pings[first : first + 10_000])
    print(f"\nThrough the writer, one process, {count:,} pings of {PEOPLE:,} people waiting:\n")
    print("| messages a batch | pings/s | ms a batch |\n| --- | --- | --- |")
    with gc_tuning.raised_threshold():  # as in the writer's process
        for size, (rate, each_ms) in in_turn(SIZES, write):
            chosen = " (chosen)" if size == writer.BATCH_SIZE else ""
            print(f"| {size:,}{chosen} | {rate:,.0f} | {each_ms:.0f} |")


if __name__ == "__main__":
    with throwaway_cluster() as cluster, kafka.throwaway_storage() as storage:
        _broker = replace(storage, options=kafka.HEAP)
        with kafka.running(_broker):
            os.environ |= {
                "DATABASE_URL": cluster.url,
                "PINGS_URL": _broker.url,
                "SECRET_KEY": "for-the-bench-only",
                "LOG_LEVEL": "WARNING",
                "DJANGO_SETTINGS_MODULE": "connect.settings",
            }
            django.setup()
            main(int(sys.argv[1]) if len(sys.argv) > 1 else 300_000)
