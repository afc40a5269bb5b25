"""The front page of the admin site: figures are correct, cheap, and only visible with permission."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from connect import dashboard
from consumers.batch_store import UNKNOWN
from consumers.tests.conftest import at
from locations import partitions, storage
from tests.gunicorn_server import until

PAGE, FRAGMENT = "/admin/", "/admin/figures/"
ALL_KEYS = ("people", "locations", "newest", "stored", "unwritten", "rejected", "refused-points")

MANY = """
INSERT INTO locations_location (person_id, creation_time, latitude, longitude)
SELECT 1 + n % 9, timestamptz '2026-05-11 09:00Z' + n * interval '1 s', 1, 2
  FROM generate_series(1, 30000) AS n;
INSERT INTO rejected_pings (reason, partition, "offset", sent_ms, rejected_at)
SELECT 'Reason ' || n % 7, 0, n, 0, now() FROM generate_series(1, 30000) AS n;
ANALYZE locations_location, rejected_pings
"""


def figures(client: Client, path: str = PAGE) -> dict[str, dashboard.Figure]:
    answer = client.get(path)
    assert answer.status_code == 200
    return {figure.key: figure for figure in answer.context["figures"]}


def make_many(*, is_analyzed: bool = True) -> None:
    """30,000 pings and as many rejected ones."""
    partitions.ensure(partitions.months_of([at(1, 0).creation_time]))
    sql(MANY if is_analyzed else MANY.partition("ANALYZE")[0])


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


# --- values ------------------------------------------------------------------------------------


def test_small_tables_are_counted(people: None, admin_client: Client) -> None:
    storage.record([at(1, 0), at(2, 0), at(2, 1)])

    found = figures(admin_client)

    assert tuple(found) == ALL_KEYS
    assert (found["people"].value, found["locations"].value) == ("9", "3")
    assert found["newest"].url == f"/admin/locations/location/{at(2, 1).id}/"
    assert found["newest"].note.startswith("2026-05-11 12:00:01 UTC")
    assert found["rejected"] == dashboard.Figure(
        "rejected", "Rejected pings", "0", "No ping is rejected.", "/admin/consumers/rejectedping/"
    )


def test_large_tables_are_estimated_and_marked_as_estimates(people: None, admin_client: Client) -> None:
    make_many()

    found = figures(admin_client)

    assert found["locations"].value == found["rejected"].value == "about 30,000"
    assert "estimates" in found["locations"].note
    assert {part.name for part in found["rejected"].parts} <= {f"Reason {n}" for n in range(7)}
    assert all(1428 <= part.number <= 1429 for part in found["rejected"].parts)
    assert "There are more reasons. Only the newest 10,000 are counted." in found["rejected"].note


def test_an_estimate_includes_rows_inserted_after_the_last_analyze(people: None) -> None:
    make_many()
    sql(
        "INSERT INTO locations_location (person_id, creation_time, latitude, longitude) "
        "SELECT person_id, creation_time + interval '3 ms', 1, 2 FROM locations_location"
    )
    with dashboard.bounded_cursor() as cursor:
        size = dashboard.size(cursor, "locations_location")
    assert 50_000 < size.rows < 70_000


def test_a_table_that_was_never_analyzed_is_estimated(people: None) -> None:
    make_many(is_analyzed=False)

    def size() -> dashboard.Size:
        with dashboard.bounded_cursor() as cursor:
            return dashboard.size(cursor, "locations_location")

    assert until(lambda: size() if size().rows == 30_000 else None).is_exact is False


@pytest.mark.parametrize(("rows", "text"), [(995_432, "about 995,000"), (99_999_999, "about 100,000,000")])
def test_an_estimate_has_three_digits(rows: int, text: str) -> None:
    assert str(dashboard.Size(rows, is_exact=False, inserted=dashboard.Counter(0, 0))) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 days"), (1e9, "11,574 days")],
)
def test_an_age_is_shown_in_its_largest_unit(seconds: float, text: str) -> None:
    assert dashboard.format_duration(seconds) == text


def test_the_stored_counter_ignores_repeats(people: None, admin_client: Client) -> None:
    def stored() -> int:
        counter = figures(admin_client, FRAGMENT)["stored"].counter
        assert counter is not None
        return counter.number

    before = stored()
    storage.record([at(1, 0), at(2, 0)])
    storage.record([at(1, 0), at(2, 1)])
    assert until(lambda: stored() - before == 3)


def test_a_ping_of_times_to_come_is_not_the_newest(people: None, admin_client: Client) -> None:
    storage.record([at(1, 0), at(1, 365 * 86_400 * 50)])
    assert figures(admin_client)["newest"].url == f"/admin/locations/location/{at(1, 0).id}/"


# --- the topic -----------------------------------------------------------------------------------


def test_the_lag_figure_without_a_topic(people: None, admin_client: Client) -> None:
    figure = figures(admin_client)["unwritten"]
    assert figure.value == dashboard.UNKNOWN
    assert figure.note == "Pings are stored directly, without a topic."


def test_figures_of_the_lag_and_of_rejected_pings(
    people: None, send: Callable, write_all: Callable, admin_client: Client
) -> None:
    send(at(1, 0), at(10, 0), at(11, 0), (b"1", b"\xff"))
    waiting = figures(admin_client)["unwritten"]
    assert waiting.value == "4"
    assert "the oldest was sent" in waiting.note

    write_all()

    found = figures(admin_client)
    assert found["unwritten"].value == "0"
    assert found["locations"].value == "1"
    assert found["rejected"].value == "3"
    assert [(part.name, part.number) for part in found["rejected"].parts] == [
        (UNKNOWN, 2),
        ("The value is not a location.", 1),
    ]
    for part in found["rejected"].parts:
        listed = admin_client.get(part.url).context["cl"]
        assert listed.result_count == part.number
        assert {row.reason for row in listed.result_list} == {part.name}


def test_the_page_loads_while_the_broker_is_unavailable(
    people: None, settings: Any, free_port: int, admin_client: Client
) -> None:
    settings.PINGS_URL = f"kafka://127.0.0.1:{free_port}"
    found = figures(admin_client)
    assert found["unwritten"].note.startswith("Broker out of reach")
    assert found["people"].value == "9"


def test_the_page_loads_without_a_figure_whose_query_times_out(
    people: None, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "STATEMENT_TIMEOUT_S", 0.2)
    with pytest.raises(OperationalError), dashboard.bounded_cursor() as cursor:
        cursor.execute("SELECT pg_sleep(20)")
    locker = connection.copy()
    try:
        with locker.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE rejected_pings IN ACCESS EXCLUSIVE MODE")
            found = figures(admin_client)
    finally:
        locker.close()
    assert tuple(found) == (*ALL_KEYS[:-2], "no-rejectedping", "refused-points")
    assert found["no-rejectedping"].note == "The database did not answer in time."


# --- cost -------------------------------------------------------------------------------------


def test_the_number_of_queries_does_not_grow_with_the_tables(people: None, admin_client: Client) -> None:
    def statements() -> list[str]:
        with CaptureQueriesContext(
            connection,
        ) as asked:
            figures(admin_client, FRAGMENT)
        return [each["sql"] for each in asked if "pg_class" in each["sql"] or "_" in each["sql"]]

    storage.record([at(1, 0.5)])
    few = statements()
    make_many()
    many = statements()
    assert len(many) < len(few) <= 20  # a large table is not counted
    assert not [each for each in many if "count(*) FROM (SELECT FROM locations_location" in each]


def test_no_query_scans_a_large_table(people: None, admin_client: Client) -> None:
    make_many()
    with CaptureQueriesContext(connection) as asked:
        figures(admin_client, FRAGMENT)
    touching = [
        each["sql"] for each in asked if re.search("FROM (locations_location|rejected_pings)", each["sql"])
    ]
    assert len(touching) == 2
    for statement in touching:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {statement}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "Index" in plan
        assert "Seq Scan" not in plan


# --- permissions --------------------------------------------------------------------------------


def test_anonymous_users_are_redirected_to_the_login(client: Client, db: None) -> None:
    for path in (PAGE, FRAGMENT):
        assert client.get(path).headers["Location"] == f"/admin/login/?next={path}"


@pytest.mark.parametrize(
    ("permission", "keys"),
    [
        (None, ()),
        ("view_person", ("people",)),
        ("view_location", ("locations", "newest", "stored")),
        ("view_rejectedping", ("unwritten", "rejected")),
    ],
)
def test_figures_need_the_view_permission(
    people: None, client: Client, django_user_model: type[User], permission: str | None, keys: tuple[str, ...]
) -> None:
    user = django_user_model.objects.create_user("someone", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename=permission))
    client.force_login(user)
    for path in (PAGE, FRAGMENT):
        assert tuple(figures(client, path)) == keys
