"""All parts of the bench in one run, for `make bench`. Writes docs/benchmarks.md.

Run on a database of its own, which it fills. Nothing here asserts a time.
"""

import os
import sys
from pathlib import Path

import django

TARGET = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
WHOLE = 1000  # people at the event; fewer are a trial, whose figures say little


def main(people: int, names: list[str]) -> None:
    from bench import doors, feel, ingest, question  # noqa: PLC0415 - the settings come first
    from bench.event import store  # noqa: PLC0415

    event = store(people)
    parts = []
    for measure in (question, doors, feel, ingest):
        name = measure.__name__.removeprefix("bench.")
        if names and name not in names:
            continue
        for part in measure.parts(event):
            print(part.markdown(), flush=True)
            parts.append(part)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connect.settings")
    django.setup()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else WHOLE, sys.argv[2:])
