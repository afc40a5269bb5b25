"""Ingest at the last stage: broker, database, server, writer and load as real processes on the same cores.

Rates are compared with a bare COPY of the same rows into the same table, measured in the same run.
"""

import io
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.conf import settings
from django.db import connection

from bench.event import Event, rows
from bench.report import Part, Spread, alternately, seconds
from connect.errors import NeighbourUnavailable
from connect.request_body import BODIES_PER_CALLER
from consumers import topic
from consumers.lag import Observer
from consumers.tests.process import WriterProcess
from grpc_server import locations_pb2 as pb
from grpc_server.tests.process import LocationProcess
from local import kafka
from locations import partitions
from locations.pings import MAX_BATCH, Ping
from tests.gunicorn_server import Server, until
from tests.load import Http, Stream, batches, closed_loop, walk

ROUNDS = 3
BATCH = 1000  # pings that a client sends at once
CLIENTS = 8  # by REST
UDACONNECT_PER_S = 295  # POST /api/locations of a UdaConnect API with two workers on two cores
START = datetime(2030, 1, 1, tzinfo=UTC)  # of a month that is empty before and after each measurement
COPY = "COPY locations_location (person_id, creation_time, latitude, longitude) FROM STDIN"


def parts(event: Event) -> Iterator[Part]:
    with kafka.throwaway_storage() as storage:
        broker = replace(storage, options=kafka.HEAP)
        settings.PINGS_URL = broker.url
        settings.KAFKA_TIMEOUT_S = 60.0
        partitions.ensure([(START.year, START.month)])
        with kafka.running(broker):
            for part in (writer, doors, end_to_end):
                yield part(event)


def truncate() -> None:
    rows(f"TRUNCATE {partitions.PARTITIONS.table}_{START:%Y_%m}")


def to_the_topic() -> dict[str, Any]:
    """The environment of a process that accepts pings."""
    return {"PINGS_URL": settings.PINGS_URL, "KAFKA_TOPIC": settings.KAFKA_TOPIC, "LOG_LEVEL": "WARNING"}


@contextmanager
def grpc_door() -> Iterator[LocationProcess]:
    """The gRPC server, with a new topic."""
    settings.KAFKA_TOPIC = settings.KAFKA_GROUP = f"bench-{time.time_ns()}"
    topic.ensure(settings.KAFKA_PARTITIONS)
    with LocationProcess(**to_the_topic()) as door:
        yield door


def unwritten(observer: Observer) -> int:
    """Pings in the topic that are not in the database yet."""
    while True:
        try:
            return sum(end - next_ for next_, end in observer.positions().values())
        except NeighbourUnavailable as fault:
            if "NOT_COORDINATOR" not in str(fault):  # for a moment, after a group is created
                raise


def drain(observer: Observer) -> None:
    until(lambda: not unwritten(observer), at_most_s=600)


def copy_rate(pings: Sequence[Ping]) -> float:
    """Rows per second of a COPY of ready-made text. The rows are deleted afterwards."""
    lines = [
        f"{ping.person_id}\t{ping.creation_time}\t{ping.latitude!r}\t{ping.longitude!r}\n" for ping in pings
    ]
    texts = ["".join(lines[first : first + MAX_BATCH]) for first in range(0, len(lines), MAX_BATCH)]

    def copy() -> None:
        for text in texts:
            with connection.cursor() as cursor:
                cursor.copy_expert(COPY, io.StringIO(text))

    took = seconds(copy)
    truncate()
    return len(pings) / took


def send(address: str, requests: Sequence[pb.RecordLocationsRequest]) -> float:
    """Acknowledged pings per second, by two streams, so that the server never waits for its client."""

    def both() -> None:
        with Stream(address, requests[0::2]) as one, Stream(address, requests[1::2]) as other:
            one.wait()
            other.wait()

    return sum(len(each.locations) for each in requests) / seconds(both)


def post(port: int, bodies: Sequence[bytes], clients: int = CLIENTS) -> float:
    """Acknowledged requests per second."""
    requests = [("POST", "/api/locations", body) for body in bodies]
    connections = [Http(port, None, keep=True) for _ in range(clients)]
    return len(bodies) / seconds(lambda: closed_loop(connections, requests))


def as_json(pings: Iterator[Ping], count: int) -> bytes:
    """The body of a request: a ping, or an array of them."""
    items = [
        {name: value for name, value in ping.to_wire().items() if name != "id"}
        for ping in islice(pings, count)
    ]
    return json.dumps(items if count > 1 else items[0]).encode()


def writer(event: Event) -> Part:
    part = Part("Ingest: the writer, beside a bare COPY")
    pings = list(islice(walk(event.person_ids, START), event.scaled(1_000_000, BATCH)))
    with grpc_door() as door:
        send(door.address, list(batches(iter(pings), BATCH)))

    def write() -> float:
        """Rows per second from the first stored one to the last, without the start of the process."""
        settings.KAFKA_GROUP = f"bench-{time.time_ns()}"
        with WriterProcess(), closing(Observer()) as observer:
            until(lambda: unwritten(observer) < len(pings), at_most_s=60)
            left = unwritten(observer)
            took = seconds(lambda: drain(observer))
        truncate()
        return left / took

    found = alternately({"copy": lambda: copy_rate(pings), "writer": write}, ROUNDS)
    ratio = found["writer"].median / found["copy"].median
    target = "at least 0.7 x a bare COPY of the same rows"
    part.target("the writer, from a full topic", target, f"{ratio:.2f} x", met=ratio >= 0.7)
    copied, written = found["copy"].rate(), found["writer"].rate()
    part.table(("way", "locations/s"), [("bare COPY, batches of 10,000", copied), ("the writer", written)])
    part.text(
        f"{len(pings):,} locations, {ROUNDS} rounds, alternately. The COPY is sent ready-made text on one "
        "connection and commits each batch."
    )
    return part


def doors(event: Event) -> Part:
    part = Part("Ingest: the doors, acknowledged by the broker")
    pings = walk(event.person_ids, START)
    requests = list(islice(batches(pings, BATCH), event.scaled(500, 10)))
    singles = [as_json(pings, 1) for _ in range(event.scaled(8000, 200))]
    bulks = [as_json(pings, BATCH) for _ in range(event.scaled(100, 10))]
    with grpc_door() as door, Server(SERVED_APPS="locations", **to_the_topic()) as web:
        post(web.port, singles[:100])
        found = alternately(
            {
                "gRPC, two streams of batches of 1,000": lambda: send(door.address, requests),
                "REST, single pings, eight clients": lambda: post(web.port, singles),
                "REST, arrays of 1,000, three clients": lambda: (
                    post(web.port, bulks, BODIES_PER_CALLER) * BATCH
                ),
            },
            ROUNDS,
        )
    batch, single, bulk = (spread.median for spread in found.values())
    target = "at least 60,000 locations/s"
    part.target("gRPC, batches of 1,000, at the door alone", target, f"{batch:,.0f}/s", met=batch >= 60_000)
    times = single / UDACONNECT_PER_S
    target = f"at least 3 x the {UDACONNECT_PER_S}/s of a UdaConnect API"
    part.target("REST, single pings", target, f"{single:,.0f}/s, {times:.1f} x", met=times >= 3)
    times = bulk / single
    part.target("REST, arrays of 1,000", "at least 20 x single", f"{times:.0f} x", met=times >= 20)
    part.table(("door", "locations/s"), [(name, spread.rate()) for name, spread in found.items()])
    part.text("No writer runs meanwhile. The REST door is gunicorn with two workers of eight threads.")
    return part


def end_to_end(event: Event) -> Part:
    part = Part("Ingest: end to end, for ten minutes")
    lasting_s = 600.0 if event.share >= 1 else 10.0
    pings = list(islice(walk(event.person_ids, START), event.scaled(500_000, 20_000)))
    copies = [copy_rate(pings) for _ in range(ROUNDS)]
    per_s = 0.3 * Spread(copies).median
    lags = list[float]()
    with grpc_door() as door, WriterProcess(), closing(Observer()) as observer:
        with Stream(door.address, batches(walk(event.person_ids, START), BATCH), per_s=per_s) as stream:
            pause, begun = threading.Event(), time.monotonic()
            for nth in range(1, 21):
                pause.wait(max(0.0, begun + nth * lasting_s / 20 - time.monotonic()))
                lags.append(unwritten(observer) / per_s)
            rate = stream.taken / (time.monotonic() - begun)
        drain(observer)
    truncate()
    bare = Spread(copies + [copy_rate(pings) for _ in range(ROUNDS)])
    times, first, last = rate / bare.median, max(lags[4:12]), max(lags[12:])
    part.target(
        "gRPC batches to stored rows, ten minutes",
        "lag not growing at 0.25 x a bare COPY or more",
        f"{times:.2f} x ({rate:,.0f}/s), lag at most {first:.1f} s, later {last:.1f} s",
        met=times >= 0.25 and last <= first + 1,
    )
    part.text(
        f"{stream.taken:,} locations in {lasting_s:,.0f} s, sent at most {stream.late_s:.1f} s late; a bare "
        f"COPY reached {bare.rate()} before and after. The lag is what is in the topic and not yet stored, "
        "in seconds of that rate."
    )
    return part
