"""The query plans of questions about everybody's encounters: they use the indexes, sums nothing but these."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.gis.geos import Polygon
from django.db import connection, transaction

from encounters import cascade_sql, queries_sql
from encounters.tests.stored import NINE, store_crowd
from locations.tests.test_plans import explain

MONTH = "encounters_encounter_2026_05"
KEY = f"{MONTH}_pkey"
DAY = {"start": datetime(2026, 5, 12, tzinfo=UTC), "end": datetime(2026, 5, 13, tzinfo=UTC)}
ALL: dict[str, Any] = {"person_id": None, "company": None, "area": None, "after": None, "min_duration_s": 0}
HALL = bytes(Polygon.from_bbox((13.4, 52.5, 13.402, 52.501)).wkb)


@pytest.fixture
def crowd(transactional_db: None) -> Iterator[None]:
    """A day has 10,000 encounters. Plans are not parallel, as those of the cursors that read answers."""
    store_crowd(100_000, days=10)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        yield


def scans(plan: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """How encounters are read: the type of each scan, and the index or table."""
    for node in plan:
        name = node.get("Index Name", node.get("Relation Name", ""))
        if name.startswith("encounters_encounter"):
            yield node["Node Type"], name


def test_questions_use_the_indexes(crowd: None) -> None:
    for asked in (
        {},
        {"after": (NINE.replace(day=12, hour=11), 5, 400)},
        {"company": "Company 7"},
        {"area": HALL},
        {"min_duration_s": 900},
    ):
        plan = explain(*queries_sql.list_sql(**ALL | DAY | asked, limit=100))
        assert {*scans(plan)} == {("Index Scan", KEY)}, asked
        assert "Sort" not in {node["Node Type"] for node in plan}, asked
        [scan] = [node for node in plan if node.get("Index Name") == KEY]
        assert scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) < 6000, asked

    plan = explain(*queries_sql.list_sql(**ALL | DAY | {"person_id": 7}, limit=100))
    assert {name for _, name in scans(plan)} <= {*of_people()}

    for by in queries_sql.SUMMARIES:
        plan = explain(*queries_sql.summary_sql(by=by, **DAY, min_duration_s=0, limit=10))
        assert {*scans(plan)} == {("Index Only Scan", KEY)}, by
    plan = explain(*queries_sql.graph_sql(**DAY, min_duration_s=60))
    assert {*scans(plan)} == {("Index Only Scan", KEY)}

    plan = explain(*cascade_sql.cascade_sql(person_id=7, **DAY, depth=2, min_duration_s=900))
    assert {kind for kind, _ in scans(plan)} == {"Index Only Scan"}
    assert {name for _, name in scans(plan)} == {*of_people()}


def of_people() -> Iterator[str]:
    """PostgreSQL names the indexes of a partition by their columns; not all fit."""
    for own, other in ("ab", "ba"):
        yield f"{MONTH}_person_{own}_id_start_person_{other}_id__idx"
