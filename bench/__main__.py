"""All parts of the bench in one run, for `make bench`. Writes docs/benchmarks.md.

Run on a database of its own, which it fills. Nothing here asserts a time.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import django
from django.db import connection

from bench.event import WHOLE
from bench.report import Part, machine, table

TARGET = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
LARGER = 20  # days, of which two are asked about; with 1,000 people ten million pings
SETTINGS = [
    "effective_cache_size",
    "jit",
    "max_parallel_workers_per_gather",
    "random_page_cost",
    "shared_buffers",
    "work_mem",
]
NAMES = ("question", "scale", "doors", "page_load", "ingest")


def main() -> None:
    parser = argparse.ArgumentParser("make bench", description=__doc__)
    parser.add_argument("people", nargs="?", type=int, default=WHOLE, help="at the event; fewer are a trial")
    parser.add_argument("--only", choices=NAMES, action="append", help="a part, and nothing is written")
    parser.add_argument(
        "--days", type=int, action="append", help="stored in a larger database; 200: 100 million pings"
    )
    options = parser.parse_args()
    names = options.only or NAMES
    found: list[Part] = []
    for part in measured(options.people, names, options.days or [LARGER]):
        print(part.markdown(), flush=True)
        found.append(part)
    if options.people == WHOLE and names == NAMES:
        TARGET.write_text(report(found))
        print(f"{TARGET} is written.", file=sys.stderr)


def measured(people: int, names: list[str] | tuple[str, ...], days: list[int]) -> Iterator[Part]:
    from bench import doors, event, ingest, page_load, plans, question, scale  # noqa: PLC0415 - the settings come first

    if "question" in names:
        yield from question.parts(event.store(people // 10), judged=False)
        event.clear()
    stored = event.store(people)
    if "question" in names:
        yield from question.parts(stored)
        yield from plans.parts(stored)
    if "scale" in names:
        yield from scale.parts(stored, days)
    for each in (doors, page_load, ingest):
        if each.__name__.rpartition(".")[2] in names:
            yield from each.parts(stored)


def report(parts: list[Part]) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version'), postgis_lib_version()")
        postgresql, postgis = cursor.fetchone()
        cursor.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s) ORDER BY name",
            [SETTINGS],
        )
        settings = ", ".join(f"{name} = {value}" for name, value in cursor.fetchall())
    targets = [
        (each.what, each.target, each.measured, "met" if each.met else "**missed**")
        for part in parts
        for each in part.targets
    ]
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "Made by one run of `make bench`. Absolute times drift with the machine; ratios are of one run,",
            "in which the ways were asked in turn. Medians, and in brackets from least to most.",
            "",
            f"{machine(postgresql.split()[0], postgis)}; {settings}.",
            "",
            "## Targets",
            "",
            *table(("what", "target", "measured", ""), targets),
            "What is missed, and why, [decisions/0006](decisions/0006-what-makes-it-fast.md) says.",
            "",
            *(part.markdown() for part in parts),
        ]
    )


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connect.settings")
    django.setup()
    main()
