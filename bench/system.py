"""The system that ingest is measured on: real processes, and a table that a COPY fills beside them."""

import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from django.conf import settings
from django.db import connection

from bench import load
from bench.event import WHOLE, Event
from bench.report import seconds
from connect.errors import NeighbourUnavailable
from consumers import topic
from consumers.lag import Observer
from consumers.tests.process import WriterProcess
from grpc_server.tests.process import LocationProcess
from local import kafka
from locations import partitions
from locations.pings import MAX_BATCH, Ping
from tests.gunicorn_server import until

ROUNDS = 3
BATCH = 1000  # pings that a client hands in at once
COPY = "COPY locations_location (person_id, creation_time, latitude, longitude) FROM STDIN"


@dataclass
class System:
    """Those processes that run, and the broker they share."""

    event: Event
    person_ids: Sequence[int]
    broker: kafka.Broker
    processes: dict[str, int] = field(default_factory=dict)  # their process ids

    @property
    def whole(self) -> float:
        """How much of the whole bench this is; small ones are for trying."""
        return min(1.0, self.event.people / WHOLE)

    def walk(self, month: int) -> Iterator[Ping]:
        """The event's people in a month of their own, which is empty."""
        return load.walk(self.person_ids, month_start(month))

    def new_topic(self) -> None:
        settings.KAFKA_TOPIC = settings.KAFKA_GROUP = f"bench-{time.time_ns()}"
        topic.ensure(settings.KAFKA_PARTITIONS)

    @contextmanager
    def door(self) -> Iterator[LocationProcess]:
        told = {"PINGS_URL": self.broker.url, "KAFKA_TOPIC": settings.KAFKA_TOPIC, "LOG_LEVEL": "WARNING"}
        with LocationProcess(**told) as door:
            self.processes["gRPC server"] = door.process.pid
            yield door

    @contextmanager
    def writer(self) -> Iterator[WriterProcess]:
        with WriterProcess() as writer:
            self.processes["writer"] = writer.process.pid
            yield writer


def month_start(month: int) -> datetime:
    return datetime(2030, 1 + month, 1, tzinfo=UTC)


def truncate(month: int) -> None:
    moment = month_start(month)
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {partitions.TABLE}_{moment.year}_{moment.month:02}")


def unwritten(observer: Observer) -> int:
    while True:
        try:
            return sum(end - next_ for next_, end in observer.positions().values())
        except NeighbourUnavailable as fault:
            if "NOT_COORDINATOR" not in str(fault):  # which the broker of a new group is only soon
                raise


def drained() -> None:
    observer = Observer()
    until(lambda: not unwritten(observer), at_most_s=600)
    observer.close()


def durability() -> str:
    with connection.cursor() as cursor:
        values = []
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            cursor.execute(f"SHOW {name}")
            values.append(f"{name} {cursor.fetchone()[0]}")
    return f"PostgreSQL has {', '.join(values)}."


def copied(pings: Sequence[Ping], month: int) -> float:
    """Rows per second of a COPY, which is handed its text ready-made; they are gone again afterwards."""
    texts = [as_text(pings[first : first + MAX_BATCH]) for first in range(0, len(pings), MAX_BATCH)]

    def copy() -> None:
        for text in texts:
            with connection.cursor() as cursor:
                cursor.copy_expert(COPY, io.StringIO(text))

    took = seconds(copy)
    truncate(month)
    return len(pings) / took


def as_text(pings: Sequence[Ping]) -> str:
    return "".join(
        f"{ping.person_id}\t{ping.creation_time.isoformat()}\t{ping.latitude!r}\t{ping.longitude!r}\n"
        for ping in pings
    )
