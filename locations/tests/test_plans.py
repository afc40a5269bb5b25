"""The query plans at a million rows: they use the indexes made for them and scan no whole table."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from locations import partitions, presence_sql, proximity_sql, storage
from locations.tests.test_presence import polygon
from persons.models import Person

DAY = {"start": datetime(2026, 5, 11, tzinfo=UTC), "end": datetime(2026, 5, 12, tzinfo=UTC)}
NEXT_DAY = {"start": datetime(2026, 5, 12, tzinfo=UTC), "end": datetime(2026, 5, 13, tzinfo=UTC)}
TABLE = "locations_location"
APRIL, MONTH = f"{TABLE}_2026_04", f"{TABLE}_2026_05"

# A thousand people, two days of eight hours, one ping per 57 s, sixty booths in a hall of 300 x 200 m.
MILLION = """
INSERT INTO persons_person (id, first_name, last_name, company_name)
SELECT id, 'A', 'B', 'C' FROM generate_series(1, 1000) AS id;
INSERT INTO locations_location (person_id, creation_time, latitude, longitude, accuracy)
SELECT id, timestamptz '2026-05-11 09:00Z' + day * interval '1 day'
           + n * interval '57 s' + id * interval '50 ms',
       52.5 + (booth / 10 * 33 + 4 * random()) / 111250, 13.4 + (booth % 10 * 30 + 4 * random()) / 67800,
       10 * nullif(n % 4, 0)
  FROM generate_series(0, 1) AS day, generate_series(0, 499) AS n, generate_series(1, 1000) AS id,
       LATERAL (SELECT abs(hashint8(id * 1000 + n / 20 + day * 77)) % 60 AS booth) AS place;
ANALYZE persons_person;
"""
HALL = polygon([[(13.399, 52.499), (13.405, 52.499), (13.405, 52.502), (13.399, 52.502)]])
BOOTH = polygon([[(13.4, 52.5), (13.40006, 52.5), (13.40006, 52.50004), (13.4, 52.50004)]])


def make_a_million_pings():
    partitions.ensure([(2026, 4), (2026, 5), (2026, 6)])
    with connection.cursor() as cursor:
        cursor.execute(MILLION)
        cursor.execute("SELECT count(*) FROM locations_location")
        assert cursor.fetchone() == (1_000_000,)


def nodes(plan: dict):
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def explain(sql: str, values: dict) -> list[dict]:
    """All nodes of the plan, with their actual rows and loops."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}", values)
        return list(nodes(cursor.fetchone()[0][0]["Plan"]))


def indexes_used(plan: list[dict]) -> set[str]:
    names = [node["Index Name"] for node in plan if "Index Name" in node]
    # April is empty.
    return {name.removeprefix(f"{MONTH}_") for name in names if not name.startswith(APRIL)}


def tables_touched(plan: list[dict]) -> set[str]:
    return {node["Relation Name"] for node in plan if "Relation Name" in node}


def rows_by_cell(plan: list[dict]) -> int:
    """The number of rows from the index of cubes."""
    return sum(
        node["Actual Rows"] * node["Actual Loops"]
        for node in plan
        if node.get("Index Name", "").endswith("locations_cell_creation_time_idx")
    )


def check_plausible_plan(all_encounters, plausible):
    """With plausible_only a plan reads no more pings of others, and one own ping before the range."""
    whole, restricted = explain(*all_encounters), explain(*plausible)
    assert rows_by_cell(restricted) <= rows_by_cell(whole)
    [limit] = [node for node in restricted if node["Node Type"] == "Limit"]
    assert (limit["Actual Loops"], limit["Actual Rows"]) == (1, 1)
    scans = [node for node in nodes(limit) if "Scan" in node["Node Type"]]
    assert sum(node["Actual Rows"] for node in scans) == 1
    assert not any(node.get("Rows Removed by Filter") for node in scans)
    # The position of each meeting comes from a hash join, not from all own pings again.
    assert [node for node in restricted if "own.nth" in node.get("Hash Cond", "")]


def rows_read(plan: list[dict]) -> int:
    """The number of rows that all scans of May return or filter out."""
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in plan
        if node.get("Relation Name") == MONTH
    )


def check_presence_plans():
    """Days read two pings per day, the others the pings of their range, by time or by person."""
    by_time, by_person = {"creation_time_person_id_idx", "person_hidden"}, {"pkey"}
    noon = datetime(2026, 5, 11, 12, tzinfo=UTC)
    hour = {"start": noon, "end": noon + timedelta(hours=1)}
    visit = {"areas": [(1, HALL), (2, BOOTH)], "max_gap_s": 120, "min_duration_s": 60}
    minutes = {"at": noon, "max_age_s": 120, "bounds": None}
    everybody, one, berlin = {"person_id": None}, {"person_id": 17}, {"time_zone": "Europe/Berlin"}
    two_days = 6  # two pings each; EXPLAIN rounds the rows of a loop up
    # The positions are looked up again, after their times.
    for statement, indexes, most in (
        (presence_sql.days_sql(**everybody, **berlin), by_time, two_days),
        (presence_sql.days_sql(**one, **berlin), by_person, two_days),
        (presence_sql.positions_sql(**everybody, **minutes), by_time | by_person, 2 * 2130),
        (presence_sql.positions_sql(**one, **minutes), by_time | by_person, 2 * 3),
        (presence_sql.heat_sql(**everybody, **hour, cell_m=5), by_time, 63_200),
        (presence_sql.heat_sql(**one, **hour, cell_m=5), by_person, 64),
        (presence_sql.visits_sql(**everybody, **hour, **visit), by_time, 63_200),
        (presence_sql.visits_sql(**one, **hour, **visit), by_person, 64),
    ):
        plan = [node for node in explain(*statement) if node["Actual Loops"]]
        assert {name for name in indexes_used(plan) if not name.startswith(TABLE)} <= indexes
        assert 0 < rows_read(plan) <= most
        assert not [node for node in plan if node["Node Type"] == "Seq Scan"]
    # Pings in cells that no border crosses are united before they are joined with areas.
    plan = explain(*presence_sql.visits_sql(**everybody, **hour, **visit))
    [united] = [node for node in plan if "pings.kind" in node.get("Group Key", ())]
    assert 0 < united["Actual Rows"] < rows_read(plan) / 10
    # Without findable people the days read few pings.
    Person.objects.update(findable=False)
    assert 0 < rows_read(explain(*presence_sql.days_sql(**everybody, **berlin))) <= 2 * 1_001
    Person.objects.update(findable=True)


@pytest.mark.django_db
@pytest.mark.parametrize("statistics", ["", "ANALYZE locations_location"])
def test_plans_use_the_indexes_at_a_million_rows(statistics):
    """With and without statistics: right after an import the planner has none."""
    make_a_million_pings()
    if statistics:
        with connection.cursor() as cursor:
            cursor.execute(statistics)
    page = {"after": None, "limit": None}
    met = {"within_s": 60, "max_gap_s": 75, "min_duration_s": 0}
    near, far, any_time, far_any_time = (
        proximity_sql.connections_sql(17, **DAY, distance_m=distance_m, within_s=within_s, **page)
        for within_s in (60, None)
        for distance_m in (5, 100)
    )
    all_encounters = proximity_sql.encounters_sql(17, **DAY, distance_m=5, **met, **page)
    plausible = proximity_sql.encounters_sql(17, **NEXT_DAY, distance_m=5, **met, max_speed_m_s=10, **page)
    good = {"distance_m": 5, "max_accuracy_m": 20, **page}
    good_near, good_any_time = (
        proximity_sql.connections_sql(17, **DAY, within_s=within_s, **good) for within_s in (60, None)
    )
    good_encounters, good_plausible = (
        proximity_sql.encounters_sql(17, **day, **met, **good, max_speed_m_s=speed)
        for day, speed in ((DAY, None), (NEXT_DAY, 10))
    )

    by_cell = {"pkey", "locations_cell_creation_time_idx", "person_hidden"}
    by_time = {"pkey", "creation_time_person_id_idx", "person_hidden"}
    for question, indexes in (
        (near, by_cell),
        (all_encounters, by_cell),
        (plausible, by_cell),
        (far, by_time),
        (any_time, by_cell | by_time),
        (far_any_time, by_time),
        (good_near, by_cell),
        (good_encounters, by_cell),
        (good_plausible, by_cell),
        (good_any_time, by_cell | by_time),
    ):
        plan = explain(*question)
        assert indexes_used(plan) == indexes
        assert plan[0]["Actual Rows"] > 100
        # April: the own ping before the range.
        months = {MONTH, APRIL} if question in (plausible, good_plausible) else {MONTH}
        assert tables_touched(plan) == months | {"persons_person"}
        assert not [node for node in plan if node["Node Type"] == "Seq Scan"]
    check_plausible_plan(proximity_sql.encounters_sql(17, **NEXT_DAY, distance_m=5, **met, **page), plausible)
    check_plausible_plan(proximity_sql.encounters_sql(17, **NEXT_DAY, **met, **good), good_plausible)
    # A page of the list is read from an index in its order, forward or backward.
    order = {"creation_time_person_id_idx"}
    noon = datetime(2026, 5, 11, 12, tzinfo=UTC)
    for person_id, index in ((None, order), (17, {"pkey"})):
        for newest_first, after in ((False, None), (True, None), (False, (noon, 17)), (True, (noon, 17))):
            within = {**DAY, "bounds": None, "limit": 101, "after": after, "newest_first": newest_first}
            plan = explain(*storage.list_between_sql(person_id=person_id, **within))
            assert indexes_used(plan) - {"person_hidden"} == index
            [scan] = [node for node in plan if node.get("Relation Name") == MONTH]
            assert scan["Scan Direction"] == ("Backward" if newest_first else "Forward")
            assert scan["Actual Rows"] == plan[0]["Actual Rows"] == 101
            assert not [node for node in plan if node["Node Type"] in ("Seq Scan", "Sort")]
    # Without a time tolerance a hash join compares each candidate with the own pings near it, not with all.
    # The hash is made once, and the first rows are returned before the last are searched.
    for question in (any_time, far_any_time):
        plan = explain(*question)
        assert plan[0]["Node Type"] == "Incremental Sort"
        [semi] = [node for node in plan if node.get("Join Type") == "Semi" and "Hash Cond" in node]
        assert semi["Actual Loops"] > 10
        [reach] = [node for node in semi["Plans"] if node["Node Type"] == "Hash"]
        assert reach["Actual Loops"] == 1
        # The check whether a slice has rows reads at most one row.
        slices = [node for node in plan if node["Node Type"] == "Index Only Scan"]
        assert max(node["Actual Rows"] for node in slices) <= 1
    sql, values = any_time
    assert 0 < rows_by_cell(explain(f"{sql} LIMIT 10", values)) < rows_by_cell(explain(sql, values)) / 10
    check_presence_plans()
    # Hidden people are read once, and no other person is.
    Person.objects.filter(id__in=range(100, 120)).update(findable=False)
    for question in (near, all_encounters, plausible, far, any_time, far_any_time):
        plan = explain(*question)
        [hidden] = [node for node in plan if node.get("Index Name") == "person_hidden"]
        assert (hidden["Actual Loops"], hidden["Actual Rows"]) == (1, 20)
        assert [node for node in plan if "hashed SubPlan" in node.get("Filter", "")]
