"""Runs clients with and without an attack, and compares what they saw."""

import json
import re
import statistics
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from local.instance import CHECKOUT, Instance
from local.polling import poll
from local.supervision import Supervisor
from tests.attacks.footprint import OTHERS, Footprint, footprint
from tests.attacks.target import Target
from tests.system import System

SUCCESS = 0.999
TIMES = 3  # the p99 under attack may be so many times the quiet one
NOISE_S = 0.05  # a quiet p99 below this counts as this: on a busy machine it is noise
BUILD_UP_S = 2  # from the start of an attack until the calls of the clients count
AFTER_S = 4
MEMORY_MB = 200  # what may come on top during an attack: a hundred bodies of 5 MB do not fit
TEMPORARY_MB = 1
KINDS = {"pings": ("ping", "gRPC ping"), "questions": ("question", "gRPC question", "page")}


@dataclass(frozen=True)
class Seen:
    """What the clients saw in one run."""

    calls: list[tuple[str, float, float, str | None]]  # kind, when it began, seconds, fault

    @property
    def success(self) -> float:
        return sum(fault is None for *_, fault in self.calls) / len(self.calls)

    @property
    def faults(self) -> str:
        """The most frequent ones, each with how often it was seen."""
        faults = [(kind, fault) for kind, _, _, fault in self.calls if fault]
        kinds = Counter(f"{kind}: {re.sub('[0-9]{7,}', 'N', fault)}" for kind, fault in faults)
        return "; ".join(f"{count} x {fault[:200]}" for fault, count in kinds.most_common(6))

    def p99_s(self, group: str) -> float:
        """Of the calls that succeeded; infinite if none did."""
        took = [took_s for kind, _, took_s, fault in self.calls if kind in KINDS[group] and fault is None]
        if len(took) < 2:
            return float("inf")
        return statistics.quantiles(took, n=100, method="inclusive")[98]


@dataclass(frozen=True)
class Result:
    names: tuple[str, ...]
    quiet: Seen
    during: Seen
    after: Seen
    before: Footprint
    peak: Footprint
    end: Footprint

    def limit_s(self, group: str) -> float:
        return TIMES * max(self.quiet.p99_s(group), NOISE_S)

    def failures(self) -> list[str]:
        """What of the requirement does not hold."""
        found = []
        for when, seen in (("before", self.quiet), ("during", self.during), ("after", self.after)):
            if seen.success < SUCCESS:
                found.append(f"{seen.success:.2%} of the calls succeed {when} it: {seen.faults}")
        for group in KINDS:
            p99_s, limit_s = self.during.p99_s(group), self.limit_s(group)
            if p99_s > limit_s:
                found.append(f"p99 of {group} is {p99_s * 1000:.0f} ms, the limit {limit_s * 1000:.0f} ms")
        if self.peak.memory_mb > self.before.memory_mb + MEMORY_MB:
            found.append(f"memory grows from {self.before.memory_mb:.0f} to {self.peak.memory_mb:.0f} MB")
        if self.peak.temporary_mb > self.before.temporary_mb + TEMPORARY_MB:
            found.append(f"{self.peak.temporary_mb:.0f} MB lie in the temporary folder")
        if self.end.pids != self.before.pids:
            found.append(f"{len(self.before.pids - self.end.pids)} processes were restarted")
        return found


class Trial:
    """One system, one quiet run of the clients, and any number of attacks."""

    def __init__(self, system: System, target: Target, *, seconds: float) -> None:
        self.system, self.target, self.seconds = system, target, seconds
        # The first calls of all fill caches and pools, and Kafka's Java compiles what runs often.
        self.clients(2 + len(target.phones) // 4)
        self.quiet = self.clients(seconds)

    def look(self) -> None:
        """Measures the quiet system anew: on a machine that others use, what was measured before is old."""
        self.quiet = self.clients(self.seconds)

    def clients(self, seconds: float, *, build_up_s: float = 0) -> Seen:
        """What they see in so many seconds, after others that do not count."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.attacks.clients", str(build_up_s + seconds)],
            cwd=CHECKOUT,
            input=self.target.to_json(),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        calls = [tuple(call) for call in json.loads(done.stdout)]
        first = min(began for _, began, *_ in calls)
        return Seen([call for call in calls if call[1] >= first + build_up_s])

    def under(self, *names: str) -> Result:
        """The clients' run while these attacks go on, and another one afterwards."""
        before = footprint(self.system.instance)
        with self._attacks(names, most_s=self.seconds + 60), self._watched(before) as watched:
            during = self.clients(self.seconds, build_up_s=BUILD_UP_S)
        after = self.clients(AFTER_S)
        return Result(names, self.quiet, during, after, before, watched.peak, footprint(self.system.instance))

    def together(self, names: Collection[str], *, slices: int) -> Iterator[Result]:
        """The clients' runs one after the other while all these attacks go on; each run is a result."""
        before = footprint(self.system.instance)
        with self._attacks(names, most_s=slices * (self.seconds + 60)):
            for _ in range(slices):
                with self._watched(before) as watched:
                    during = self.clients(self.seconds)
                yield Result(
                    (*names,),
                    self.quiet,
                    during,
                    during,
                    before,
                    watched.peak,
                    footprint(self.system.instance),
                )

    def restart(self) -> None:
        """Connect's processes and HAProxy anew, after an attack that they do not recover from."""
        supervisor = Supervisor(self.system.instance)
        for name in set(supervisor.programs()) - {*OTHERS}:
            with suppress(ProcessLookupError):
                supervisor.rpc.signalProcess(name, "KILL")
        assert poll(lambda: self.clients(1).success == 1, 120, every_s=1)

    @contextmanager
    def _attacks(self, names: Collection[str], *, most_s: float) -> Iterator[None]:
        processes = []
        try:
            for name in names:
                command = [sys.executable, "-m", "tests.attacks.attacks", name, str(most_s)]
                process = subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, text=True)
                processes.append(process)
                assert process.stdin is not None
                process.stdin.write(self.target.to_json() + "\n")
                process.stdin.flush()
            yield
            ended = [name for name, one in zip(names, processes, strict=True) if one.poll() is not None]
            assert not ended, f"These attacks ended too early: {ended}"
        finally:
            for process in processes:
                process.kill()
                process.wait()

    @contextmanager
    def _watched(self, before: Footprint) -> Iterator["Watch"]:
        watch = Watch(self.system.instance, before)
        watch.start()
        try:
            yield watch
        finally:
            watch.ending.set()
            watch.join()


class Watch(threading.Thread):
    """Looks at the footprint again and again and keeps the peaks."""

    def __init__(self, instance: Instance, before: Footprint) -> None:
        super().__init__(daemon=True)
        self.instance, self.peak, self.ending = instance, before, threading.Event()

    def run(self) -> None:
        while not self.ending.wait(0.5):
            seen = footprint(self.instance)
            self.peak = Footprint(
                max(self.peak.memory_mb, seen.memory_mb),
                max(self.peak.threads, seen.threads),
                max(self.peak.temporary_mb, seen.temporary_mb),
                seen.pids,
            )
