"""Walks a system from stage to stage under load, and tells for each step what its clients noticed.

tests/test_walk.py walks a short way. `make walk` walks there and back and writes the table into
docs/migration.md.
"""

import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local import manifests
from local.instance import CHECKOUT, Instance
from local.polling import poll
from local.tests.terminal import Terminal, an_instance
from tests.load import Api, Call, Load

GRPC_FROM = 5
CALLS_BETWEEN = 2000  # between two steps: enough for a p99
TARGET = CHECKOUT / "docs" / "migration.md"
BEGIN, END = "<!-- walk: begin -->", "<!-- walk: end -->"
HEAD = (
    "| step to | took | calls | failed | lost | doubled "
    "| ping before | during | after | encounters before | during | after |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


@dataclass(frozen=True)
class Step:
    """A move, on the clock of time.monotonic, and how long the load went on before and after it."""

    to: str
    before: float
    began: float
    ended: float
    after: float

    def row(self, calls: list[Call], pings: list[tuple[float, str]], stored: Counter[str]) -> str:
        own = [one for one in calls if self.before <= one.began < self.after]
        acknowledged = {ping for when, ping in pings if self.before <= when < self.after}
        failed = sum(one.fault is not None for one in own)
        lost = sum(stored[ping] == 0 for ping in acknowledged)
        doubled = sum(stored[ping] > 1 for ping in acknowledged)
        cells = [self.to, f"{self.ended - self.began:.1f} s", len(own), failed, lost, doubled]
        for kind in ("ping", "encounters"):
            for start, end in (
                (self.before, self.began),
                (self.began, self.ended),
                (self.ended, self.after),
            ):
                took = [one.took_s for one in own if one.kind == kind and start <= one.began < end]
                cells.append(percentiles(took))
        return f"| {' | '.join(map(str, cells))} |"


def percentiles(took_s: list[float]) -> str:
    """The median and the 99th percentile in milliseconds."""
    if len(took_s) < 2:
        return "-"
    hundredths = statistics.quantiles(took_s, n=100, method="inclusive")
    return f"{hundredths[49] * 1000:.0f} / {hundredths[98] * 1000:.0f} ms"


class Walk:
    """One system that is up, and what its clients have seen while it moved."""

    def __init__(self, terminal: Terminal, *, calls_between: int) -> None:
        self.terminal, self.instance = terminal, terminal.instance
        self.calls_between = calls_between
        self.token = terminal.staff_token() if terminal.environ["ACCESS"] == "tokens" else None
        people = [person["id"] for person in self.api().ask("GET", "/api/persons?limit=100")]
        ports = self.instance.node_port(30001), self.instance.node_port(30003)
        self.load = Load(*ports, people, token=self.token)
        self.noted = self.load.noted
        self.steps: list[Step] = []

    def go(self, numbers: list[int], arrived: Callable[[Instance, str], None] = lambda *_: None) -> None:
        """Along these stages, while the load goes on; `arrived` is called at each."""
        with self.load:
            times = [time.monotonic(), self.linger()]
            moves = []
            for number in numbers:
                name = manifests.find_stage(self.instance, str(number))
                if number < GRPC_FROM:
                    self.load.stop_calls()
                began = time.monotonic()
                moved = self.terminal.make("up", f"STAGE={name}")
                moves.append((name, began, time.monotonic()))
                if moved.returncode:
                    raise AssertionError(moved.stdout)
                arrived(self.instance, name)
                if number >= GRPC_FROM and not self.load.callers:
                    self.load.start_calls()
                times.append(self.linger())
        for position, (name, began, ended) in enumerate(moves):
            before = times[0] if position == 0 else moves[position - 1][2]
            self.steps.append(Step(name, before, began, ended, times[position + 2]))

    def api(self) -> Api:
        return Api(self.instance.node_port(30001), token=self.token)

    def linger(self) -> float:
        """Until so many calls more have been made; gives the time."""
        enough = len(self.noted.calls) + self.calls_between
        if not poll(lambda: len(self.noted.calls) >= enough, 10 + self.calls_between):
            raise AssertionError("The load has come to a halt.")
        return time.monotonic()

    @property
    def faults(self) -> list[str]:
        return [one.fault for one in self.noted.calls if one.fault is not None]

    def stored(self) -> Counter[str]:
        """How often each location of the movers is in the system's answer."""
        api = self.api()
        found: Counter[str] = Counter()
        for person in self.load.movers:
            found.update(one["id"] for one in api.ask("GET", f"/api/locations?person_id={person}"))
        return found

    def table(self) -> str:
        stored = self.stored()
        rows = [step.row(self.noted.calls, self.noted.pings, stored) for step in self.steps]
        return "\n".join([HEAD, *rows])

    def summary(self) -> str:
        kinds = Counter(one.kind for one in self.noted.calls)
        made = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
        stored = self.stored()
        lost = sum(stored[ping] == 0 for _, ping in self.noted.pings)
        doubled = sum(count > 1 for count in stored.values())
        return (
            f"{sum(kinds.values()):,} calls ({made}): {len(self.faults)} failed. "
            f"{len(self.noted.pings):,} pings acknowledged: {lost} lost, {doubled} doubled."
        )


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, an_instance(Path(folder)) as instance:
        terminal = Terminal(instance)
        first = terminal.make("up", "STAGE=0")
        if first.returncode:
            print(first.stdout)
            return 1
        walk = Walk(terminal, calls_between=CALLS_BETWEEN)
        numbers = [int(name.split("-")[0]) for name in manifests.stage_names(instance)]
        walk.go([*numbers[1:], *reversed(numbers[:-1])])
        table = f"{walk.table()}\n\n{walk.summary()}"
    print(table)
    for fault in walk.faults[:20]:
        print(fault)
    before, _, rest = TARGET.read_text().partition(BEGIN)
    TARGET.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.partition(END)[2]}")
    return 1 if walk.faults else 0


if __name__ == "__main__":
    sys.exit(main())
