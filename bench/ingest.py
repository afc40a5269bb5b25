"""Ingest at the last stage: broker, database, server, writer and load as real processes on the same cores.

Rates are compared with a bare COPY of the same rows into the same table, measured in the same run.
"""

import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeVar

import grpc
import psutil
from django.conf import settings
from django.db import connection

from bench.doors import Question
from bench.event import WITHIN_S, Event, rows
from bench.report import Part, Spread, alternately, seconds
from connect.errors import NeighbourUnavailable
from connect.request_body import BODIES_PER_CALLER
from consumers import topic
from consumers.lag import Observer
from consumers.tests.process import WriterProcess
from grpc_server import locations_pb2 as pb
from grpc_server.locations_pb2_grpc import LocationServiceStub
from grpc_server.tests.process import LocationProcess
from local import kafka
from local.polling import poll
from locations import partitions
from locations.pings import MAX_BATCH, Ping, make_id
from tests.gunicorn_server import Server, until
from tests.load import Http, Stream, batches, closed_loop, walk

ROUNDS = 3
BATCH = 1000  # pings that a client sends at once
CLIENTS = 8  # by REST
LIVE_PER_S, LIVE_BATCH = 5000, 100
UDACONNECT_PER_S = 295  # POST /api/locations of a UdaConnect API with two workers on two cores
COPY = "COPY locations_location (person_id, creation_time, latitude, longitude) FROM STDIN"

Result = TypeVar("Result")


@dataclass
class System:
    """The broker, and the processes that run with it."""

    event: Event
    person_ids: Sequence[int]
    broker: kafka.Broker
    pids: dict[str, int] = field(default_factory=dict)

    def count(self, whole: int, least: int = 0) -> int:
        """As many as in the whole bench, or fewer in a trial."""
        return max(least, int(whole * min(1.0, self.event.share)))

    def walk(self, month: int) -> Iterator[Ping]:
        """Pings of the event's people in an empty month."""
        return walk(self.person_ids, month_start(month))

    @contextmanager
    def door(self) -> Iterator[LocationProcess]:
        """The gRPC server, with a new topic."""
        settings.KAFKA_TOPIC = settings.KAFKA_GROUP = f"bench-{time.time_ns()}"
        topic.ensure(settings.KAFKA_PARTITIONS)
        environ = {"PINGS_URL": self.broker.url, "KAFKA_TOPIC": settings.KAFKA_TOPIC, "LOG_LEVEL": "WARNING"}
        with LocationProcess(**environ) as door:
            self.pids["gRPC server"] = door.process.pid
            yield door

    @contextmanager
    def writer(self) -> Iterator[Observer]:
        """The writer, with an observer of its lag."""
        observer = Observer()
        with WriterProcess() as writer:
            self.pids["writer"] = writer.process.pid
            yield observer
        observer.close()


def parts(event: Event) -> Iterator[Part]:
    with kafka.throwaway_storage() as storage, ExitStack() as stack:
        broker = replace(storage, options=kafka.HEAP)
        running = stack.enter_context(kafka.running(broker))
        settings.PINGS_URL = broker.url
        settings.KAFKA_TIMEOUT_S = 60.0
        people = [person_id for (person_id,) in rows("SELECT id FROM persons_person ORDER BY id")]
        system = System(event, people, broker, {"broker": running.pid})
        partitions.ensure((month_start(month).year, month_start(month).month) for month in range(5))
        for part in (writer, doors, live, end_to_end):
            yield part(system)


def month_start(month: int) -> datetime:
    return datetime(2030, 1 + month, 1, tzinfo=UTC)


def truncate(month: int) -> None:
    rows(f"TRUNCATE {partitions.TABLE}_{month_start(month):%Y_%m}")


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


def copy_rate(pings: Sequence[Ping], month: int) -> float:
    """Rows per second of a COPY of ready-made text. The rows are deleted afterwards."""
    texts = [
        "".join(
            f"{ping.person_id}\t{ping.creation_time}\t{ping.latitude!r}\t{ping.longitude!r}\n"
            for ping in some
        )
        for some in (pings[first : first + MAX_BATCH] for first in range(0, len(pings), MAX_BATCH))
    ]

    def copy() -> None:
        for text in texts:
            with connection.cursor() as cursor:
                cursor.copy_expert(COPY, io.StringIO(text))

    took = seconds(copy)
    truncate(month)
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


def writer(system: System) -> Part:
    part = Part("Ingest: the writer, beside a bare COPY")
    count = system.count(1_000_000)
    pings = list(islice(system.walk(0), count))
    with system.door() as door:
        send(door.address, list(batches(iter(pings), BATCH)))

    def write() -> float:
        """Rows per second from the first stored one to the last, without the start of the process."""
        settings.KAFKA_GROUP = f"bench-{time.time_ns()}"
        with system.writer() as observer:
            until(lambda: unwritten(observer) < count, at_most_s=60)
            left = unwritten(observer)
            took = seconds(lambda: drain(observer))
        truncate(0)
        return left / took

    found = alternately({"copy": lambda: copy_rate(pings, 0), "writer": write}, ROUNDS)
    ratio = found["writer"].median / found["copy"].median
    target = "at least 0.7 x a bare COPY of the same rows"
    part.target("the writer, from a full topic", target, f"{ratio:.2f} x", met=ratio >= 0.7)
    copied, written = found["copy"].rate(), found["writer"].rate()
    part.table(("way", "locations/s"), [("bare COPY, batches of 10,000", copied), ("the writer", written)])
    [durability] = rows(
        "SELECT string_agg(name || ' ' || setting, ', ') FROM pg_settings "
        "WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes')"
    )
    part.text(
        f"{count:,} locations, {ROUNDS} rounds, alternately. The COPY is sent ready-made text on one "
        f"connection and commits each batch. PostgreSQL has {durability[0]}."
    )
    return part


def doors(system: System) -> Part:
    part = Part("Ingest: the doors, acknowledged by the broker")
    pings = system.walk(1)
    requests = list(islice(batches(pings, BATCH), system.count(500, 10)))
    singles = [as_json(pings, 1) for _ in range(system.count(8000, 200))]
    bulks = [as_json(pings, BATCH) for _ in range(system.count(100, 10))]
    with system.door() as door:
        environ = {"PINGS_URL": system.broker.url, "KAFKA_TOPIC": settings.KAFKA_TOPIC}
        with Server(SERVED_APPS="locations", **environ) as web:
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


def live(system: System) -> Part:
    part = Part(f"Ingest: in use, at {LIVE_PER_S:,} locations/s")
    turns, turn_s = (4, 30.0) if system.event.share >= 1 else (1, 4.0)
    quiet, busy, visible = list[float](), list[float](), list[float]()
    request = Question.connections(system.event, WITHIN_S).request
    requests = batches(system.walk(2), LIVE_BATCH)
    with (
        system.door() as door,
        system.writer() as observer,
        grpc.insecure_channel(door.address) as channel,
    ):
        stub = LocationServiceStub(channel)

        def ask() -> float:
            return seconds(lambda: [len(one.locations) for one in stub.FindConnections(request, timeout=60)])

        def both(stream: Stream) -> tuple[float, float]:
            return ask(), visible_s(stub, stream)

        with Stream(door.address, requests, per_s=LIVE_PER_S) as stream:  # caches and pools are filled
            repeat(partial(both, stream), 2.0)
        for _ in range(turns):
            drain(observer)
            quiet += repeat(ask, turn_s)
            with Stream(door.address, requests, per_s=LIVE_PER_S) as stream:
                pairs = repeat(partial(both, stream), turn_s)
            busy += [took for took, _ in pairs]
            visible += [seen for _, seen in pairs]
    p99, median = Spread(visible).quantile(0.99), Spread(visible).median
    measured = f"p99 {p99 * 1e3:,.0f} ms, median {median * 1e3:,.0f} ms"
    part.target("from accepted to visible in an answer", "p99 under 1 s at 5,000/s", measured, met=p99 < 1)
    before, during = Spread(quiet).quantile(0.95), Spread(busy).quantile(0.95)
    part.target(
        "the question while it ingests at 5,000/s",
        "p95 at most 2 x its quiet value",
        f"{during / before:.2f} x: {during * 1e3:,.0f} ms, quiet {before * 1e3:,.0f} ms",
        met=during <= 2 * before,
    )
    part.text(
        f"{turns} turns of {turn_s:.0f} s quiet and {turn_s:.0f} s in use, batches of {LIVE_BATCH}. One "
        f"person's day, within 60 s, is asked {len(quiet) + len(busy):,} times by gRPC. In use, the last "
        "ping of the next acknowledged batch is looked up by its id after each answer, until it is found."
    )
    return part


def repeat(act: Callable[[], Result], lasting_s: float) -> list[Result]:
    """The results of an act that is repeated 100 ms after it ends."""
    end, pause, found = time.monotonic() + lasting_s, threading.Event(), list[Result]()
    while time.monotonic() < end:
        found.append(act())
        pause.wait(0.1)
    return found


def visible_s(stub: LocationServiceStub, stream: Stream) -> float:
    """Seconds from the next acknowledgement until its last ping can be read."""
    before = stream.latest
    if not poll(lambda: stream.latest != before, 20, every_s=0.001) or stream.latest is None:
        raise RuntimeError("No batch is acknowledged.")
    since, ping = stream.latest
    asked = pb.GetLocationRequest(id=make_id(ping.person_id, ping.creation_time.ToDatetime(UTC)))

    def is_found() -> bool:
        with suppress(grpc.RpcError):
            stub.GetLocation(asked, timeout=20)
            return True
        return False

    if not poll(is_found, 20, every_s=0.01):
        raise RuntimeError(f"{asked.id} is acknowledged and not stored.")
    return time.monotonic() - since


def end_to_end(system: System) -> Part:
    part = Part("Ingest: end to end, for ten minutes")
    lasting_s = 600.0 if system.event.share >= 1 else 10.0
    pings = list(islice(system.walk(3), system.count(500_000, 20_000)))
    copies = [copy_rate(pings, 3) for _ in range(ROUNDS)]
    per_s = 0.3 * Spread(copies).median
    lags, uses = list[float](), list[dict[str, Use]]()
    with system.door() as door, system.writer() as observer:
        with Stream(door.address, batches(system.walk(4), BATCH), per_s=per_s) as stream:
            pause, begun = threading.Event(), time.monotonic()
            for nth in range(1, 21):
                pause.wait(max(0.0, begun + nth * lasting_s / 20 - time.monotonic()))
                lags.append(unwritten(observer) / per_s)
                uses.append(all_uses(system))
            rate = stream.taken / (time.monotonic() - begun)
        drain(observer)
    bare = Spread(copies + [copy_rate(pings, 3) for _ in range(ROUNDS)])
    times, first, last = rate / bare.median, max(lags[4:12]), max(lags[12:])
    part.target(
        "gRPC batches to stored rows, ten minutes",
        "lag not growing at 0.25 x a bare COPY or more",
        f"{times:.2f} x ({rate:,.0f}/s), lag at most {first:.1f} s, later {last:.1f} s",
        met=times >= 0.25 and last <= first + 1,
    )
    start, end = uses[3], uses[-1]
    flat = all(end[name].mib <= 1.1 * start[name].mib + 8 for name in start)
    part.target("memory of each process", "flat", "flat" if flat else "growing: see below", met=flat)
    part.table(
        ("process", "MiB after a fifth", "MiB at the end", "cores"),
        [
            (
                name,
                f"{one.mib:,.0f}",
                f"{end[name].mib:,.0f}",
                f"{(end[name].cpu_s - one.cpu_s) / (0.8 * lasting_s):.2f}",
            )
            for name, one in start.items()
        ],
    )
    part.text(
        f"{stream.taken:,} locations in {lasting_s:,.0f} s, sent at most {stream.late_s:.1f} s late; a bare "
        f"COPY reached {bare.rate()} before and after. The lag is what is in the topic and not yet stored, "
        "in seconds of that rate. Memory is resident, without shared memory; of PostgreSQL, of all processes."
    )
    truncate(4)
    return part


class Use(NamedTuple):
    """Unshared resident memory and CPU time of some processes."""

    mib: float
    cpu_s: float


def all_uses(system: System) -> dict[str, Use]:
    [(backend,)] = rows("SELECT pg_backend_pid()")
    postmaster = psutil.Process(backend).ppid()
    pids = system.pids | {"postgis": postmaster, "clients": psutil.Process().pid}
    found = {}
    for name, pid in pids.items():
        mib = cpu_s = 0.0
        for process in [psutil.Process(pid), *(psutil.Process(pid).children() if name == "postgis" else ())]:
            with suppress(psutil.NoSuchProcess):  # a backend that has just ended
                memory, times = process.memory_info(), process.cpu_times()
                mib += (memory.rss - memory.shared) / 2**20
                cpu_s += times.user + times.system
        found[name] = Use(mib, cpu_s)
    return found
