"""Measures questions at a million encounters: `make test ARGS="encounters/tests/measure_questions.py -s"`.

For each the shortest time of three, and the CPU time of PostgreSQL, which depends less on other work.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from bench import cpu
from encounters import queries
from encounters.tests.stored import store_crowd
from encounters.tests.test_plans import HALL

pytestmark = pytest.mark.usefixtures("everything_served")

MILLION, TIMES = 1_000_000, 3
START = datetime(2026, 5, 11, tzinfo=UTC)
DAY, ALL = ({"start": START, "end": START + timedelta(days=days)} for days in (1, 10))
BY_DAY, BY_ALL = (f"start_date=2026-05-11&end_date=2026-05-{day}" for day in (11, 20))


def report(name: str, ask: Callable[[], int]) -> None:
    """Prints what an answer takes; `ask` returns its size."""
    elapsed, sizes = [], set()

    def all_times() -> None:
        for _ in range(TIMES):
            begin = time.perf_counter()
            sizes.add(ask())
            elapsed.append(time.perf_counter() - begin)

    here, database = (seconds / TIMES * 1000 for seconds in cpu.of_work(all_times))
    print(
        f"{name:32} {min(elapsed) * 1000:7.0f} ms; CPU {database:6.0f} + {here:5.0f} ms; size {max(sizes):,}"
    )


@pytest.mark.parametrize("days", [10, 1])
def test_questions_at_a_million_encounters(transactional_db: None, api: APIClient, days: int) -> None:
    store_crowd(MILLION, days=days)
    print(f"\n{MILLION:,} encounters in {days} days; {MILLION // days:,} in a day")

    lists: dict[str, Any] = {
        "a page of all": {},
        "a late page": {"after": (START + timedelta(hours=16), 5, 400)},
        "a page of a person": {"person_id": 7},
        "a page of a company": {"company": "Company 7"},
        "a page of an unknown company": {"company": "Nobody"},
        "a page of a zone": {"area": HALL},
    }
    for name, asked in lists.items():
        report(name, lambda asked=asked: len(list(queries.encounters(**ALL, **asked, limit=101))))
    for by in queries.BY:
        report(f"a day by {by}", lambda by=by: len(list(queries.summary(by=by, **DAY))))
    report("the graph of a day", lambda: len(list(queries.graph(**DAY))))
    for depth in (1, 2, 3, 5):
        asked = {"person_id": 7, "depth": depth, "min_duration_s": 900}
        report(f"a cascade of depth {depth}", lambda asked=asked: len(list(queries.cascade(**ALL, **asked))))

    paths = {
        "a page of 100": f"?{BY_DAY}&limit=100",
        "a day by person": f"/summary?{BY_DAY}&by=person",
        "a day by hour": f"/summary?{BY_DAY}&by=hour",
        "the graph of a day as JSON": f"/graph?{BY_DAY}",
        "the graph of a day as GEXF": f"/graph?{BY_DAY}&format=gexf",
        "a cascade of depth 2": f"/cascade?{BY_ALL}&person_id=7",
    }
    print("Answers over REST, in bytes:")
    for name, path in paths.items():
        report(name, lambda path=path: len(b"".join(api.get(f"/api/encounters{path}"))))
