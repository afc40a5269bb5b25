"""The report of the bench: measurements, targets met and missed, tables, and the machine."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

TARGETS = ("what", "target", "measured", "")


@dataclass(frozen=True)
class Spread:
    """Several measurements of the same thing: seconds, or a rate."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def quantile(self, share: float) -> float:
        """The value that this share of all does not exceed."""
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def ms(self) -> str:
        """Median, and from least to most."""
        least, most = min(self.values) * 1e3, max(self.values) * 1e3
        return f"{self.median * 1e3:,.1f} ms ({least:,.1f} to {most:,.1f})"

    def rate(self) -> str:
        """The same of things per second."""
        return f"{self.median:,.0f}/s ({min(self.values):,.0f} to {max(self.values):,.0f})"


def seconds(act: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def alternately(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Spread]:
    """Measures each way once per round, so that a slow minute of the machine affects all of them."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, measure in ways.items():
            found[name].append(measure())
    return {name: Spread(values) for name, values in found.items()}


def timed(ways: Mapping[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, Spread], dict[str, Any]]:
    """Seconds of each way, measured alternately, and its last answer."""
    answers: dict[str, Any] = {}

    def act(name: str) -> None:
        answers[name] = ways[name]()

    return alternately({name: partial(seconds, partial(act, name)) for name in ways}, rounds), answers


@dataclass
class Part:
    """One part of the report, as Markdown. Its targets come first."""

    title: str
    targets: list[tuple[str, str, str, str]] = field(default_factory=list)
    _lines: list[str] = field(default_factory=list)

    def target(self, what: str, target: str, measured: str, *, met: bool) -> None:
        self.targets.append((what, target, measured, "met" if met else "**missed**"))

    def text(self, text: str) -> None:
        self._lines += [text, ""]

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        self._lines += table(head, rows)

    def markdown(self) -> str:
        targets = table(TARGETS, self.targets) if self.targets else []
        return "\n".join([f"## {self.title}", "", *targets, *self._lines])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]


def document(parts: Sequence[Part], database: str) -> str:
    """docs/benchmarks.md."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"
    )
    lines = [
        "# Benchmarks",
        "",
        "Written by one run of `make bench`. Absolute times drift with the machine. Ratios are of one run,",
        "in which the ways were measured alternately. Medians, with the range in brackets.",
        "",
        f"{machine}, {database}.",
        "",
        "## Targets",
        "",
        *table(TARGETS, [target for part in parts for target in part.targets]),
        "[decisions/0006](decisions/0006-what-makes-it-fast.md) gives the causes of missed targets.",
        "",
        *(part.markdown() for part in parts),
    ]
    return "\n".join(lines)
