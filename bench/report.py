"""What the bench says: tables, the targets that it met and missed, and the machine that it ran on."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

Way = TypeVar("Way")  # what tells the ways of a comparison apart


@dataclass(frozen=True)
class Spread:
    """Of one measurement, taken several times: seconds, or anything else."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def quantile(self, part: float) -> float:
        """The value that this part of all does not exceed."""
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]

    def ms(self) -> str:
        """Median, and from least to most."""
        least, most = min(self.values) * 1e3, max(self.values) * 1e3
        return f"{self.median * 1e3:,.1f} ms ({least:,.1f} to {most:,.1f})"

    def rate(self) -> str:
        """The same of things a second."""
        return f"{self.median:,.0f}/s ({min(self.values):,.0f} to {max(self.values):,.0f})"


def seconds(act: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def in_turn(ways: Mapping[Way, Callable[[], float]], rounds: int) -> dict[Way, Spread]:
    """What each way measures, all of them in each round, so that a slow minute of the machine hits all."""
    found: dict[Way, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, measure in ways.items():
            found[name].append(measure())
    return {name: Spread(values) for name, values in found.items()}


@dataclass(frozen=True)
class Target:
    what: str
    target: str
    measured: str
    met: bool


@dataclass
class Part:
    """One part of the bench, as Markdown; its targets come first."""

    title: str
    targets: list[Target] = field(default_factory=list)
    _lines: list[str] = field(default_factory=list)

    def target(self, what: str, target: str, measured: str, *, met: bool) -> None:
        self.targets.append(Target(what, target, measured, met))

    def text(self, text: str) -> None:
        self._lines += [text, ""]

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._lines += table(head, rows)

    def markdown(self) -> str:
        rows = [
            (each.what, each.target, each.measured, "met" if each.met else "**missed**")
            for each in self.targets
        ]
        head = table(("what", "target", "measured", ""), rows) if rows else []
        return "\n".join([f"## {self.title}", "", *head, *self._lines])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]


def machine(postgresql: str, postgis: str) -> str:
    """Where it ran, in a line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, PostgreSQL {postgresql}, PostGIS {postgis}"
    )
