"""Measures the backfill of a crowded day: `make test ARGS="encounters/tests/measure.py -s"`. Needs Linux.

CPU times of this process and of all PostgreSQL processes, in one run. The ratios hold on any machine.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from django.db import connection

from connect.wire_format import to_microseconds
from encounters import backfill
from encounters.backfill import SLICE_US
from encounters.engine import Engine, Parameters
from encounters.models import Encounter
from locations import columns, storage
from simulation.event import Event
from simulation.people import make_people

PEOPLE, INTERVAL_S = 1000, 52
EVERY = 25  # one of so many people is asked about
START = datetime(2026, 5, 11, tzinfo=UTC)
END = START + timedelta(days=1)
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of CPU of this process and of PostgreSQL."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    server = _parent(pid)

    def database() -> float:
        """With parallel workers: those that have ended count as children of the server."""
        ticks = sum(map(int, _stat(server)[13:15]))
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(FileNotFoundError, ProcessLookupError):
                if _parent(int(path.name)) == server:
                    ticks += sum(map(int, _stat(int(path.name))[11:13]))
        return ticks / _TICKS

    here, there = time.process_time(), database()
    work()
    return time.process_time() - here, database() - there


def _stat(pid: int) -> list[str]:
    """/proc/PID/stat after the name. 11 and 12 are utime and stime; 13 and 14 those of ended children."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


@pytest.mark.django_db(transaction=True)
def test_cpu_of_a_crowded_day() -> None:
    people = list(make_people(PEOPLE, seed=1))
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO persons_person (id, first_name, last_name, company_name) VALUES (%s, 'A', 'B', 'C')",
            [(each.id,) for each in people],
        )
    event = Event(people, start=START.date(), days=1, interval_s=INTERVAL_S, halls=1, seed=1)
    pings = event.pings()
    while batch := list(islice(pings, 10_000)):
        storage.record(batch)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE locations_location")

    first, last = to_microseconds(START), to_microseconds(END)
    begins = range(first, last, SLICE_US)
    slices = [columns.read(start=begin, end=begin + SLICE_US) for begin in begins]

    def in_memory() -> None:
        engine = Engine()
        for begin, each in zip(begins, slices, strict=True):
            engine.feed(each, until=begin + SLICE_US)
        engine.finish()

    def find() -> None:
        for _ in backfill.find(start=START, end=END):
            pass

    def ask() -> None:
        asked = Parameters()
        for each in people[::EVERY]:
            for _ in storage.encounters(
                each.id,
                start=START,
                end=END,
                distance_m=asked.distance_m,
                within_s=asked.within_s,
                max_gap_s=asked.max_gap_s,
            ):
                pass

    engine_s = sum(cpu_of(in_memory))
    first_time = cpu_of(find)
    again = cpu_of(find)
    asked_s = tuple(each * EVERY for each in cpu_of(ask))

    print(f"\n{sum(map(len, slices)):,} pings, {PEOPLE:,} people, {Encounter.objects.count():,} encounters")
    print(f"engine on pings in memory   {engine_s:6.1f} s")
    measured = {"backfill": first_time, "backfill again": again, "asking for each": asked_s}
    for name, (here, there) in measured.items():
        print(
            f"{name:27} {here + there:6.1f} s = {here:.1f} + PostgreSQL {there:.1f}; "
            f"{(here + there) / engine_s:.1f} x the engine; its own part {here / engine_s:.1f} x"
        )
    print(f"asking / backfill: {sum(asked_s) / sum(first_time):.1f}, again {sum(asked_s) / sum(again):.1f}")
    assert Encounter.objects.count() > 0
