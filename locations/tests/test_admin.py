"""Stored pings in the admin site: keyset pagination without counts, and a map for each ping."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from locations import admin, storage
from locations.pings import Ping

pytestmark = pytest.mark.django_db

LIST = "/admin/locations/location/"
NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)
ANN, BO, CY = 900_001, 900_002, 900_003
TOO_LARGE_ID = 2**63


@pytest.fixture(autouse=True)
def _plain_static_files(settings: Any) -> None:
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }


@pytest.fixture(autouse=True)
def _people() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO persons_person (id, first_name, last_name, company_name) VALUES "
            "(%s, 'Ann', 'Lee', 'Acme'), (%s, 'Bo', '<b>Ek</b>', 'Brio'), (%s, 'Cy', 'Oz', 'Cord')",
            [ANN, BO, CY],
        )


@pytest.fixture
def staff(django_user_model: type[User]) -> Callable[..., Client]:
    """The client of a staff user with these permissions."""

    def log_in(*permissions: str) -> Client:
        user = django_user_model.objects.create_user("someone", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(user)
        return client

    return log_in


def ping(person_id: int, seconds: float = 0, *, north_m: float = 0) -> Ping:
    return Ping(person_id, NOON + timedelta(seconds=seconds), 50 + north_m / 111_230, 8.0)


def record(*pings: Ping) -> None:
    assert not storage.record(pings).refused


def listed_ids(client: Client, query: str = "") -> list[str]:
    """The ids on a page of the list."""
    return [row.id for row in client.get(f"{LIST}{query}").context["rows"]]


def link(page: str, text: str) -> str:
    """The target of the link with this text."""
    match = re.search(rf'<a href="([^"]+)"[^>]*>{re.escape(text)}', page)
    assert match, f"no link “{text}”"
    return match[1].replace("&amp;", "&")


# --- the list ------------------------------------------------------------------------------------


def test_the_front_page_links_to_the_list(admin_client: Client) -> None:
    assert f'href="{LIST}"' in admin_client.get("/admin/").content.decode()
    assert f'href="{LIST}"' in admin_client.get("/admin/locations/").content.decode()


def test_the_newest_come_first_with_names_utc_times_and_ids(admin_client: Client) -> None:
    record(ping(ANN, 0), ping(BO, 1.5), ping(CY, -1))
    page = admin_client.get(LIST)
    assert [(row.time, row.person, row.id) for row in page.context["rows"]] == [
        ("2026-05-11 12:00:01.500000", "Bo <b>Ek</b>", f"{BO}-1778500801500000"),
        ("2026-05-11 12:00:00", "Ann Lee", f"{ANN}-1778500800000000"),
        ("2026-05-11 11:59:59", "Cy Oz", f"{CY}-1778500799000000"),
    ]
    assert "Bo &lt;b&gt;Ek" in page.content.decode()


def test_every_row_is_on_exactly_one_page_in_both_directions(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "PAGE", 4)
    every = [ping(person, second) for second in range(4) for person in (ANN, BO, CY)] + [ping(ANN, 9)]
    record(*every)
    expected = [each.id for each in reversed(every)]
    cuts = [expected[:4], expected[4:8], expected[8:12], expected[12:]]
    queries = [""]
    for cut in cuts:
        assert listed_ids(admin_client, queries[-1]) == cut
        page = admin_client.get(f"{LIST}{queries[-1]}").content.decode()
        if cut is not cuts[-1]:
            queries.append(link(page, "Older ›"))
    assert "Older ›" not in page
    query = queries[-1]
    for cut in cuts[-2:0:-1]:
        query = link(admin_client.get(f"{LIST}{query}").content.decode(), "‹ Newer")
        assert listed_ids(admin_client, query) == cut
    # The first page has no key in its address, so that it shows new pings.
    query = link(admin_client.get(f"{LIST}{query}").content.decode(), "‹ Newer")
    answer = admin_client.get(f"{LIST}{query}")
    assert answer.status_code == 302
    assert listed_ids(admin_client, answer.headers["Location"]) == cuts[0]


def test_pages_keep_the_filter(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "PAGE", 2)
    record(*(ping(person, second) for second in range(5) for person in (ANN, BO)))
    page = admin_client.get(f"{LIST}?person_id={BO}&end=2026-05-11T12:00:04Z").content.decode()
    assert listed_ids(admin_client, link(page, "Older ›")) == [ping(BO, 1).id, ping(BO, 0).id]


def test_the_list_is_filtered_by_person_and_time(admin_client: Client) -> None:
    mine = [ping(ANN, days * 86_400) for days in range(3)]
    record(*mine, ping(BO, 5))
    ids = [each.id for each in mine]
    assert listed_ids(admin_client, f"?person_id={ANN}") == ids[::-1]
    assert listed_ids(admin_client, f"?person_id={ANN}&start=2026-05-12") == [ids[2], ids[1]]
    assert listed_ids(admin_client, f"?person_id={ANN}&end=2026-05-12") == [ids[1], ids[0]]
    assert listed_ids(admin_client, "?start=2026-05-11 12:00&end=2026-05-11 12:00:05") == [ids[0]]
    assert listed_ids(admin_client, "?start=2026-05-11T14:00:00%2B02:00&end=2026-05-11T12:00:01Z") == [ids[0]]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("person_id=abc", "“abc” is not the id of a person"),
        ("person_id=1.5", "“1.5” is not the id of a person"),
        (f"person_id={TOO_LARGE_ID}", f"{TOO_LARGE_ID} is not the id of a person"),
        ("person_id=-1", "-1 is not the id of a person"),
        (f"person_id={'9' * 41}", "at most 40 characters"),
        ("person_id=%00", "Null characters are not allowed"),
        ("start=yesterday", "“yesterday”: Must be a date such as"),
        ("end=2026-02-30", "“2026-02-30”: Must be a date such as"),
        ("start=2026-13-01T00:00:00Z", "Must be a date such as"),
        ("start=2026-05-12&end=2026-05-10", "The start of the range must not be after its end."),
        ("older=5", "There is no such page."),
        (f"newer={TOO_LARGE_ID}-1", "There is no such page."),
        ("older=5--99999999999999999", "There is no such page."),
    ],
)
def test_an_invalid_filter_is_explained_and_makes_no_query(
    admin_client: Client, query: str, message: str
) -> None:
    with CaptureQueriesContext(connection) as queries:
        answer = admin_client.get(f"{LIST}?{query}")
    assert answer.status_code == 200
    assert message in answer.content.decode()
    assert not location_queries(queries)


@pytest.mark.parametrize(
    "query", ["start=0001-01-01&end=9999-12-31", "person_id=+900001", "person_id=0900001"]
)
def test_unusual_but_valid_filters_are_answered(admin_client: Client, query: str) -> None:
    record(ping(ANN))
    assert listed_ids(admin_client, f"?{query.replace('+', '%2B')}") == [ping(ANN).id]


def test_an_empty_list_explains_the_next_step(admin_client: Client) -> None:
    assert "No locations are stored yet" in admin_client.get(LIST).content.decode()
    record(ping(ANN))
    page = admin_client.get(f"{LIST}?person_id={BO}").content.decode()
    assert "No stored location matches" in page
    assert "Pings of" in page
    assert "The name is unknown" in admin_client.get(f"{LIST}?person_id=5").content.decode()
    oldest = admin_client.get(f"{LIST}?older={ping(ANN).id}").content.decode()
    assert "There are no older locations" in oldest


# --- queries -------------------------------------------------------------------------------------


def location_queries(queries: CaptureQueriesContext) -> list[str]:
    """The queries on locations, without the insert into the audit log, which contains the page's path."""
    found = [query["sql"] for query in queries if "locations_location" in query["sql"]]
    return [sql for sql in found if "access_question" not in sql]


def test_a_page_of_the_list_makes_one_query_and_no_count(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    record(*(ping(person, second) for second in range(100) for person in (ANN, BO, CY)))
    with CaptureQueriesContext(connection) as queries, django_assert_max_num_queries(6):
        assert len(listed_ids(admin_client)) == 100
    assert len(location_queries(queries)) == 1
    assert not re.search(r"\bcount\b", location_queries(queries)[0], re.IGNORECASE)
    assert f"LIMIT {admin.PAGE + 1}" in location_queries(queries)[0]


@pytest.mark.parametrize(
    "query",
    [
        "",
        f"?person_id={ANN}",
        f"?person_id={ANN}&start=2026-01-01&end=2026-12-31",
        "?start=2026-01-01&end=2026-12-31",
        f"?older={ANN}-1781000000000000",
        f"?newer={ANN}-1781000000000000",
        f"?newer={ANN}-1781000000000000&person_id={ANN}",
    ],
)
def test_no_page_of_the_list_sorts_or_scans(admin_client: Client, query: str) -> None:
    for month in range(24):
        record(*(ping(p, month * 2_629_800 + second * 60) for second in range(300) for p in (ANN, BO, CY)))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE locations_location")
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(f"{LIST}{query}")
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {location_queries(queries)[0]}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Sort" not in plan
    assert "Seq Scan" not in plan
    assert "Index Scan" in plan


def test_the_page_of_a_ping_makes_a_bounded_number_of_queries(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    record(*(ping(p, second, north_m=p % 3) for second in range(0, 900, 3) for p in (ANN, BO, CY)))
    with CaptureQueriesContext(connection) as queries, django_assert_max_num_queries(20):
        assert admin_client.get(f"{LIST}{ping(ANN, 300).id}/").status_code == 200
    assert all("LIMIT" in sql for sql in location_queries(queries) if sql.startswith(("SELECT p", "WITH")))


# --- one ping ------------------------------------------------------------------------------------


def drawn(client: Client, ping_id: str) -> dict[str, Any]:
    page = client.get(f"{LIST}{ping_id}/").content.decode()
    match = re.search(r'<script id="map-data" type="application/json">(.*?)</script>', page)
    assert match
    return json.loads(match[1])


def test_the_page_of_a_ping_shows_person_position_and_time(admin_client: Client) -> None:
    record(ping(BO, 0.25))
    page = admin_client.get(f"{LIST}{BO}-1778500800250000/").content.decode()
    for text in ("Bo &lt;b&gt;Ek", "Brio", "2026-05-11 12:00:00.250000", "50.0000000", "8.0000000"):
        assert text in page
    assert f'href="{LIST}?person_id={BO}"' in page
    assert link(page, "Connections of the day") == (
        f"/api/persons/{BO}/connection?start_date=2026-05-11&end_date=2026-05-11"
    )
    assert "This is the oldest ping." in page
    assert "This is the newest ping." in page
    assert "Nobody else was within 5 m." in page


def test_the_map_has_the_track_and_the_people_near_it(admin_client: Client) -> None:
    record(
        *(ping(ANN, second) for second in (-601, -600, -30, 0, 45, 599, 600)),
        *(ping(BO, second, north_m=3) for second in (-20, 50, 500)),
        ping(CY, 0, north_m=6),
    )
    data = drawn(admin_client, ping(ANN).id)
    assert [point[3] for point in data["track"]] == [ping(ANN, s).id for s in (-600, -30, 0, 45, 599)]
    (bo,) = data["others"]
    assert bo["person"] == "Bo <b>Ek</b>"
    assert [point[2] for point in bo["points"]] == ["2026-05-11 11:59:40", "2026-05-11 12:00:50"]
    (near,) = admin_client.get(f"{LIST}{ping(ANN).id}/").context["encounters"][:1]
    assert (near.person_id, near.distance_m) == (BO, pytest.approx(3, abs=0.02))


def test_links_lead_to_the_previous_and_next_ping_across_gaps(admin_client: Client) -> None:
    record(ping(ANN, -90_000), ping(ANN, 0), ping(ANN, 5), ping(ANN, 9), ping(BO, 3), ping(ANN, 90_000))
    page = admin_client.get(f"{LIST}{ping(ANN, 0).id}/").content.decode()
    assert link(page, "‹ Previous ping") == f"{LIST}{ping(ANN, -90_000).id}/"
    assert link(page, "Next ping ›") == f"{LIST}{ping(ANN, 5).id}/"
    page = admin_client.get(f"{LIST}{ping(ANN, 9).id}/").content.decode()
    assert link(page, "‹ Previous ping") == f"{LIST}{ping(ANN, 5).id}/"
    assert link(page, "Next ping ›") == f"{LIST}{ping(ANN, 90_000).id}/"


@pytest.mark.parametrize(
    "ping_id", ["5", "abc", f"{ANN}-1", f"{TOO_LARGE_ID}-1", f"{ANN}-99999999999999999", "5-%00"]
)
def test_a_ping_that_is_not_stored_is_a_404(admin_client: Client, ping_id: str) -> None:
    assert admin_client.get(f"{LIST}{ping_id}/").status_code == 404


# --- a person's newest day -----------------------------------------------------------------------


@pytest.mark.parametrize("question", ["connection", "encounters"])
def test_the_newest_day_redirects_to_the_api(admin_client: Client, question: str) -> None:
    record(ping(ANN), ping(ANN, 86_400), ping(BO, 900_000))
    answer = admin_client.get(f"{LIST}newest/{ANN}/{question}/")
    assert answer.headers["Location"] == (
        f"/api/persons/{ANN}/{question}?start_date=2026-05-12&end_date=2026-05-12"
    )
    assert admin_client.get(answer.headers["Location"]).status_code == 200


@pytest.mark.parametrize("person_id", [CY, TOO_LARGE_ID, 10**30])
def test_a_person_without_pings_gets_a_message(admin_client: Client, person_id: int) -> None:
    page = admin_client.get(f"{LIST}newest/{person_id}/encounters/", follow=True)
    assert f"Person {person_id} has no pings yet" in page.content.decode()


def test_an_unknown_question_is_a_404(admin_client: Client) -> None:
    assert admin_client.get(f"{LIST}newest/{ANN}/friends/").status_code == 404


# --- permissions ---------------------------------------------------------------------------------

PAGES = [LIST, f"{LIST}{ping(ANN).id}/", f"{LIST}newest/{ANN}/connection/", f"{LIST}?person_id=abc"]


@pytest.mark.parametrize("page", PAGES)
def test_without_a_login_pages_redirect_to_the_login(client: Client, page: str) -> None:
    record(ping(ANN))
    answer = client.get(page)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("page", PAGES)
def test_staff_without_the_permission_is_refused(staff: Callable[..., Client], page: str) -> None:
    record(ping(ANN))
    client = staff("view_person")
    assert client.get(page).status_code == 403
    assert LIST not in client.get("/admin/").content.decode()


def test_staff_with_the_permission_may_read_and_nobody_may_write(staff: Callable[..., Client]) -> None:
    record(ping(ANN))
    client = staff("view_location", "add_location", "change_location", "delete_location")
    page = client.get("/admin/").content.decode()
    assert f'href="{LIST}"' in page
    assert f'href="{LIST}add/"' not in page
    assert client.get(f"{LIST}{ping(ANN).id}/").status_code == 200
    assert client.get(f"{LIST}add/").status_code == 404
    assert client.get(f"{LIST}{ping(ANN).id}/delete/").status_code == 404
