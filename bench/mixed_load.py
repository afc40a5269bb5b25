"""Ingest while it is used: how soon a ping is seen, what a question costs meanwhile, ten minutes of it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import NamedTuple, Self

import grpc
import psutil
from django.db import connection

from bench import doors, load
from bench.event import Event
from bench.report import Part, Spread, seconds
from bench.system import BATCH, ROUNDS, System, copied, drained, truncate, unwritten
from consumers.lag import Observer
from grpc_server import locations_pb2 as pb
from grpc_server.locations_pb2_grpc import LocationServiceStub
from locations.pings import Ping

LIVE_PER_S = 5000


# --- while it is in use --------------------------------------------------------------------------


def live(system: System) -> Part:
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
            drained()
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
    request = doors.connections(event, within=True).request
    return lambda: [len(answer.locations) for answer in stub.FindConnections(request, timeout=60)]


def _asked_for(ask: Callable[[], object], lasting_s: float) -> list[float]:
    """Seconds of each answer."""
    took, over, pause = [], time.monotonic() + lasting_s, threading.Event()
    while time.monotonic() < over:
        took.append(seconds(ask))
        pause.wait(0.1)
    return took


# --- end to end ----------------------------------------------------------------------------------


def end_to_end(system: System) -> Part:
    part = Part("Ingest: end to end, for ten minutes")
    lasting_s = 600.0 if system.whole == 1 else 10.0
    rows = list(islice(system.walk(3), max(20_000, int(500_000 * system.whole))))
    before = [copied(rows, 3) for _ in range(ROUNDS)]
    per_s = 0.3 * Spread(before).median
    system.new_topic()
    observer, lags, uses = Observer(), [], []
    with system.door() as door, system.writer():
        with load.Stream(door.address, system.walk(4), per_s, BATCH) as stream:
            pause, begun = threading.Event(), time.monotonic()
            for nth in range(1, 21):
                pause.wait(max(0.0, begun + nth * lasting_s / 20 - time.monotonic()))
                lags.append(unwritten(observer) / per_s)
                uses.append(_uses(system))
            taken, late_s = stream.taken, stream.late_s
            rate = taken / (time.monotonic() - begun)
        drained()
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
    start, end = uses[3], uses[-1]
    flat = all(end[name].mib <= 1.1 * start[name].mib + 8 for name in start)
    part.target("memory of each process", "flat", "flat" if flat else "growing: see below", met=flat)
    part.table(
        ("process", "MiB after a fifth", "MiB at the end", "cores"),
        [
            (
                name,
                f"{start[name].mib:,.0f}",
                f"{end[name].mib:,.0f}",
                f"{(end[name].cpu_s - start[name].cpu_s) / (0.8 * lasting_s):.2f}",
            )
            for name in start
        ],
    )
    part.text(
        f"{taken:,} locations in {lasting_s:,.0f} s, handed in at most {late_s:.1f} s late; bare COPY "
        f"reached {copies.rate()} before and after. Lag is what is in the topic and not yet written, in "
        "seconds of that rate. Memory is resident; of PostgreSQL's processes together, without shared memory."
    )
    truncate(4)
    return part


class _Use(NamedTuple):
    """What a process takes: resident memory, and processor time since it began."""

    mib: float
    cpu_s: float

    @classmethod
    def of(cls, *processes: psutil.Process, shared: bool = True) -> Self:
        """Together; without shared memory, if so asked. One that ended meanwhile is left out."""
        mib = cpu_s = 0.0
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                memory, times = process.memory_info(), process.cpu_times()
                mib += (memory.rss - (0 if shared else memory.shared)) / 2**20
                cpu_s += times.user + times.system
        return cls(mib, cpu_s)


def _uses(system: System) -> dict[str, _Use]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone()
    postmaster = psutil.Process(backend).parent()
    assert postmaster is not None  # noqa: S101 - the backend answers, so it has one
    return {name: _Use.of(psutil.Process(pid)) for name, pid in system.processes.items()} | {
        "postgis": _Use.of(postmaster, *postmaster.children(), shared=False),
        "clients": _Use.of(psutil.Process()),
    }
