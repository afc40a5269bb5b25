"""Ingest at the last stage: broker, database, server, writer and load, real processes on the same cores.

Beside each figure stands what a bare COPY of the same rows into the same table reaches in the same run.
"""

import csv
import io
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import grpc
import psutil
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from bench import load
from bench.event import Event
from bench.report import Part, Spread, in_turn, seconds
from consumers import topic
from consumers.standing import Observer
from consumers.tests.process import WriterProcess
from grpc_server import locations_pb2 as pb
from grpc_server.locations_pb2_grpc import LocationServiceStub
from grpc_server.messages import to_timestamp
from grpc_server.tests.process import LocationProcess
from local import kafka
from locations import partitions
from locations.pings import MAX_BATCH, Ping
from locations.services import record
from persons.models import Person
from tests.serving import Server, until

WHOLE = 1000  # people at the event; with fewer everything is smaller and over sooner
ROUNDS = 3
BATCH = 1000  # pings that a client hands in at once
LIVE_PER_S = 5000
UDACONNECT_PER_S = 295  # POST /api/locations of a UdaConnect API with two workers on two cores
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
        return load.walk(self.person_ids, _start(month))

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


def parts(event: Event) -> Iterator[Part]:
    with kafka.throwaway_storage() as storage, ExitStack() as stack:
        broker = replace(storage, options=kafka.HEAP)
        running = stack.enter_context(kafka.running(broker))
        settings.PINGS_URL = broker.url
        settings.KAFKA_TIMEOUT_S = 60.0
        people = list(Person.objects.order_by("id").values_list("id", flat=True))
        system = System(event, people, broker, {"broker": running.pid})
        partitions.ensure((_start(month).year, _start(month).month) for month in range(8))
        yield _writer(system)
        yield _doors(system)
        yield _live(system)
        yield _end_to_end(system)
        yield _files(system)
        yield _growth(system)


# --- the writer ----------------------------------------------------------------------------------


def _writer(system: System) -> Part:
    part = Part("Ingest: the writer, beside a bare COPY")
    count = int(1_000_000 * system.whole)
    pings = list(islice(system.walk(0), count))
    system.new_topic()
    with system.door() as door:
        load.send(door.address, [load.request(each) for each in load.batches(iter(pings), BATCH)])

    def write() -> float:
        """From the first that is written, so without the start of the process, to the last."""
        settings.KAFKA_GROUP = f"bench-{time.time_ns()}"
        observer = Observer()
        with system.writer():
            until(lambda: _unwritten(observer) < count, at_most_s=60)
            left = _unwritten(observer)
            took = seconds(lambda: until(lambda: not _unwritten(observer), at_most_s=600))
        observer.close()
        truncate(0)
        return left / took

    found = in_turn({"copy": lambda: copied(pings, 0), "writer": write}, ROUNDS)
    ratio = found["writer"].median / found["copy"].median
    part.target(
        "the writer, from a full topic",
        "at least 0.7 x a bare COPY of the same rows",
        f"{ratio:.2f} x",
        met=ratio >= 0.7,
    )
    part.table(
        ("way in", "locations/s"),
        [("bare COPY, batches of 10,000", found["copy"].rate()), ("the writer", found["writer"].rate())],
    )
    part.text(
        f"{count:,} locations, {ROUNDS} rounds in turn. The COPY is sent ready-made text on one connection "
        f"and commits each batch. {_durability()}"
    )
    return part


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


# --- the doors -----------------------------------------------------------------------------------


def _doors(system: System) -> Part:
    part = Part("Ingest: the doors, acknowledged by the broker")
    system.new_topic()
    batch_count = max(10, int(500 * system.whole))
    single_count, bulk_count = max(200, int(8000 * system.whole)), max(10, int(100 * system.whole))
    pings = system.walk(1)
    batches = [load.request(each) for each in islice(load.batches(pings, BATCH), batch_count)]
    singles = [load.wire(list(islice(pings, 1))) for _ in range(single_count)]
    bulks = [load.wire(list(islice(pings, BATCH))) for _ in range(bulk_count)]
    told = {"PINGS_URL": system.broker.url, "KAFKA_TOPIC": settings.KAFKA_TOPIC, "SERVED_APPS": "locations"}
    with system.door() as door, Server(**told) as web:
        load.post(web.port, singles[:100])
        found = in_turn(
            {
                "gRPC": lambda: load.send(door.address, batches),
                "single": lambda: load.post(web.port, singles),
                "bulk": lambda: load.post(web.port, bulks) * BATCH,
            },
            ROUNDS,
        )
    batch, single, bulk = (found[name].median for name in ("gRPC", "single", "bulk"))
    part.target(
        "gRPC, batches of 1,000, at the door alone",
        "at least 60,000 locations/s",
        f"{batch:,.0f}/s",
        met=batch >= 60_000,
    )
    part.target(
        "REST, single pings",
        f"at least 3 x the {UDACONNECT_PER_S}/s of a UdaConnect API",
        f"{single:,.0f}/s, {single / UDACONNECT_PER_S:.1f} x",
        met=single >= 3 * UDACONNECT_PER_S,
    )
    part.target(
        "REST, bulk of 1,000", "at least 20 x single", f"{bulk / single:.0f} x", met=bulk >= 20 * single
    )
    part.table(
        ("door", "locations/s"),
        [
            ("gRPC, two streams of batches of 1,000", found["gRPC"].rate()),
            ("REST, single pings, eight clients", found["single"].rate()),
            ("REST, arrays of 1,000, eight clients", found["bulk"].rate()),
        ],
    )
    part.text("No writer runs meanwhile. The REST door is gunicorn with its two workers of eight threads.")
    return part


# --- while it is in use --------------------------------------------------------------------------


def _live(system: System) -> Part:
    part = Part(f"Ingest: in use, at {LIVE_PER_S:,} locations/s")
    turns, turn_s = (4, 30.0) if system.whole == 1 else (1, 4.0)
    seen = _Visible()
    quiet: list[float] = []
    busy: list[float] = []
    system.new_topic()
    pings = system.walk(2)
    with system.door() as door, system.writer(), grpc.insecure_channel(door.address) as channel:
        stub = LocationServiceStub(channel)
        ask = _question(stub, system.event)
        with load.Stream(door.address, pings, LIVE_PER_S, 100):  # everything is warm afterwards
            _asked_for(ask, 2.0)
        for _ in range(turns):
            _drained()
            quiet += _asked_for(ask, turn_s)
            with seen.looking(stub), load.Stream(door.address, pings, LIVE_PER_S, 100, seen.acknowledged):
                busy += _asked_for(ask, turn_s)
    visible = Spread(seen.took).quantile(0.99)
    part.target(
        "from accepted to visible in an answer",
        "p99 under 1 s at 5,000/s",
        f"p99 {visible * 1e3:,.0f} ms, median {Spread(seen.took).median * 1e3:,.0f} ms",
        met=visible < 1,
    )
    before, during = Spread(quiet).quantile(0.95), Spread(busy).quantile(0.95)
    part.target(
        "the question while it ingests at 5,000/s",
        "p95 at most 2 x its quiet value",
        f"{during / before:.2f} x: {during * 1e3:,.0f} ms, quiet {before * 1e3:,.0f} ms",
        met=during <= 2 * before,
    )
    part.text(
        f"{turns} turns of {turn_s:.0f} s quiet and {turn_s:.0f} s in use. Batches of 100; the last ping of "
        f"{len(seen.took):,} was looked for by its id. One person's day, within 60 s, was asked for "
        f"{len(quiet) + len(busy):,} times, by gRPC, each 100 ms after the answer before."
    )
    return part


class _Visible:
    """How long the last ping of a batch, once acknowledged, takes to be found by its id."""

    def __init__(self) -> None:
        self.took: list[float] = []
        self._latest: tuple[float, Ping] | None = None

    def acknowledged(self, ping: Ping) -> None:
        self._latest = (time.monotonic(), ping)

    @contextmanager
    def looking(self, stub: LocationServiceStub) -> Iterator[None]:
        over = threading.Event()
        thread = threading.Thread(target=self._look, args=(stub, over))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _look(self, stub: LocationServiceStub, over: threading.Event) -> None:
        while not over.wait(0.01):
            if self._latest is None:
                continue
            (since, ping), self._latest = self._latest, None
            while not self._found(stub, ping) and not over.wait(0.01):
                pass
            if not over.is_set():
                self.took.append(time.monotonic() - since)

    def _found(self, stub: LocationServiceStub, ping: Ping) -> bool:
        with suppress(grpc.RpcError):
            stub.GetLocation(pb.GetLocationRequest(id=ping.id), timeout=20)
            return True
        return False


def _question(stub: LocationServiceStub, event: Event) -> Callable[[], object]:
    request = pb.FindConnectionsRequest(
        person_id=event.person_id,
        start=to_timestamp(event.start),
        end=to_timestamp(event.end),
        distance_m=5,
        within_s=60,
    )
    return lambda: [len(answer.locations) for answer in stub.FindConnections(request, timeout=60)]


def _asked_for(ask: Callable[[], object], lasting_s: float) -> list[float]:
    """Seconds of each answer."""
    took, over, pause = [], time.monotonic() + lasting_s, threading.Event()
    while time.monotonic() < over:
        took.append(seconds(ask))
        pause.wait(0.1)
    return took


# --- end to end ----------------------------------------------------------------------------------


def _end_to_end(system: System) -> Part:
    part = Part("Ingest: end to end, for ten minutes")
    lasting_s = 600.0 if system.whole == 1 else 10.0
    rows = list(islice(system.walk(3), max(20_000, int(500_000 * system.whole))))
    before = [copied(rows, 3) for _ in range(ROUNDS)]
    per_s = 0.3 * Spread(before).median
    system.new_topic()
    observer, lags, sizes = Observer(), [], []
    with system.door() as door, system.writer():
        with load.Stream(door.address, system.walk(4), per_s, BATCH) as stream:
            pause, begun = threading.Event(), time.monotonic()
            for nth in range(1, 21):
                pause.wait(max(0.0, begun + nth * lasting_s / 20 - time.monotonic()))
                lags.append(_unwritten(observer) / per_s)
                sizes.append(_memory(system))
            taken, late_s = stream.taken, stream.late_s
            rate = taken / (time.monotonic() - begun)
        _drained()
    observer.close()
    copies = Spread(before + [copied(rows, 3) for _ in range(ROUNDS)])
    bare = copies.median
    first, last = max(lags[4:12]), max(lags[12:])
    grows = last > first + 1
    part.target(
        "gRPC batches to stored rows, ten minutes",
        "lag not growing at 0.25 x a bare COPY or more",
        f"{rate / bare:.2f} x ({rate:,.0f}/s), lag at most {first:.1f} s, later {last:.1f} s",
        met=rate >= 0.25 * bare and not grows,
    )
    start, end = sizes[3], sizes[-1]
    flat = all(end[name] <= 1.1 * start[name] + 8 for name in start)
    part.target("memory of each process", "flat", "flat" if flat else "growing: see below", met=flat)
    part.table(
        ("process", "MiB after a fifth", "MiB at the end"),
        [(name, f"{start[name]:,.0f}", f"{end[name]:,.0f}") for name in start],
    )
    part.text(
        f"{taken:,} locations in {lasting_s:,.0f} s, handed in at most {late_s:.1f} s late; bare COPY "
        f"reached {copies.rate()} before and after. Lag is what is in the topic and not yet written, in "
        "seconds of that rate. Memory is resident; of PostgreSQL's processes together, without shared memory."
    )
    truncate(4)
    return part


def _memory(system: System) -> dict[str, float]:
    """MiB resident."""
    found = {name: psutil.Process(pid).memory_info().rss / 2**20 for name, pid in system.processes.items()}
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone()
    postmaster = psutil.Process(backend).parent()
    own = 0.0
    for process in [postmaster, *postmaster.children()] if postmaster else []:
        with suppress(psutil.NoSuchProcess):
            memory = process.memory_info()
            own += (memory.rss - memory.shared) / 2**20
    return found | {"postgis": own}


# --- files, and a table that grows ---------------------------------------------------------------


def _files(system: System) -> Part:
    part = Part("Ingest: import_locations")
    pings = list(islice(system.walk(5), int(1_000_000 * system.whole)))

    def imported() -> float:
        took = seconds(lambda: call_command("import_locations", name, to="database", stdout=io.StringIO()))
        truncate(5)
        return len(pings) / took

    with tempfile.TemporaryDirectory() as folder:
        name = Path(folder) / "pings.csv"
        with name.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("person_id", "latitude", "longitude", "creation_time"))
            for ping in pings:
                moment = ping.to_wire()["creation_time"]
                rows.writerow((ping.person_id, ping.latitude, ping.longitude, moment))
        found = in_turn({"copy": lambda: copied(pings, 5), "import": imported}, ROUNDS)
    ratio = found["import"].median / found["copy"].median
    part.target(
        f"`import_locations` of {len(pings):,} rows",
        "at least 0.5 x a bare COPY of the finished rows",
        f"{ratio:.2f} x",
        met=ratio >= 0.5,
    )
    part.table(
        ("way in", "rows/s"),
        [("bare COPY", found["copy"].rate()), ("import_locations, from CSV", found["import"].rate())],
    )
    return part


def _growth(system: System) -> Part:
    part = Part("Ingest: a table that grows")
    most = int(10_000_000 * system.whole)
    batches = load.batches(system.walk(6), MAX_BATCH)
    rates: dict[int, float] = {}
    stored = 0
    for nth in range(1, 11):
        took = []
        while stored < nth * most // 10:
            batch = next(batches)
            took.append(seconds(lambda batch=batch: record(batch)) / len(batch))  # type: ignore[misc]
            stored += len(batch)
        rates[stored] = 1 / Spread(took).median
    truncate(6)
    first, *_, last = rates.values()
    part.target(
        f"growth: rows/s at {most:,} stored beside {most // 10:,}",
        "at least 0.9 x",
        f"{last / first:.2f} x",
        met=last >= 0.9 * first,
    )
    part.table(("rows stored", "rows/s"), [(f"{n:,}", f"{rate:,.0f}") for n, rate in rates.items()])
    part.text("All in one month's partition, by `record` in batches of 10,000; the median of each tenth.")
    return part


# --- what all of them need -----------------------------------------------------------------------


def _start(month: int) -> datetime:
    return datetime(2030, 1 + month, 1, tzinfo=UTC)


def truncate(month: int) -> None:
    moment = _start(month)
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {partitions.TABLE}_{moment.year}_{moment.month:02}")


def _unwritten(observer: Observer) -> int:
    return sum(end - next_ for next_, end in observer.positions().values())


def _drained() -> None:
    observer = Observer()
    until(lambda: not _unwritten(observer), at_most_s=600)
    observer.close()


def _durability() -> str:
    with connection.cursor() as cursor:
        values = []
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            cursor.execute(f"SHOW {name}")
            values.append(f"{name} {cursor.fetchone()[0]}")
    return f"PostgreSQL has {', '.join(values)}."
