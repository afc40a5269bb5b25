"""The audit log has the validated parameters, the people asked about and the outcome, from every door."""

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.http import StreamingHttpResponse
from django.test import Client
from rest_framework.test import APIClient

from access import services
from access.audit import MAX_IDS
from access.callers import NOTED, Kind
from access.models import Question, Token
from persons import urls
from persons.models import Person

pytestmark = pytest.mark.django_db

urlpatterns = [*urls.urlpatterns, *urls.internal_urlpatterns]  # for `pytest.mark.urls`

DAY = "start_date=2026-05-11&end_date=2026-05-11"


@pytest.fixture(autouse=True)
def _access_tokens(settings: Any) -> None:
    settings.ACCESS = "tokens"


@pytest.fixture
def people(person: Callable[..., Person]) -> dict[str, int]:
    return {name: person(name).id for name in ("ann", "bo")}


@pytest.fixture
def ask(people: dict[str, int]) -> Callable[..., int]:
    """Calls a path as a kind of caller; returns the status."""
    organiser = User.objects.create_superuser("organiser")
    ann = {"first_person_id": people["ann"], "last_person_id": people["ann"]}
    fields: dict[str, dict[str, Any]] = {
        "staff": {"user": organiser},
        "service": {},
        "person": ann,
        "ingest": ann,
    }

    def ask(caller: str, path: str, verb: str = "GET", body: Any = None, **headers: str) -> int:
        token = services.make(name="for a test", kind=Kind(caller), **fields[caller])[1]
        headers["Authorization"] = f"Bearer {token}"
        answer = APIClient().generic(
            verb, path.format(**people), body or "", content_type="application/json", headers=headers
        )
        b"".join(answer) if answer.streaming else answer.content
        return answer.status_code

    return ask


def log(people: dict[str, int]) -> list[tuple[Any, ...]]:
    names = {number: name for name, number in people.items()}
    lines = Question.objects.order_by("id").values_list("what", "person_id", "outcome")
    return [(what, names.get(person_id, person_id), outcome) for what, person_id, outcome in lines]


@pytest.mark.parametrize(
    ("path", "what", "about"),
    [
        ("/api/locations?person_id=%2B{ann}", "GET locations", ["ann"]),
        ("/api/locations?person_id=00{ann}", "GET locations", ["ann"]),
        ("/api/persons/00{ann}", "GET person", ["ann"]),
        ("/api/persons?id=00{ann}&id=%2B{bo}", "GET people", ["ann", "bo"]),
        ("/api/persons?id={ann}&id={ann}", "GET people", ["ann"]),
        ("/api/persons?search=bo", "GET people", ["bo"]),
        ("/api/persons?search=nobody", "GET people", [None]),
        ("/api/persons", "GET people", [None]),
        ("/api/persons/{bo}/encounters?" + DAY, "GET encounters", ["bo"]),
        ("/api/persons/{bo}/consent", "GET consent", ["bo"]),
        ("/api/persons/{bo}/export", "GET export", ["bo"]),
    ],
)
def test_a_call_of_staff_is_logged_with_its_validated_parameters(
    ask: Callable[..., int], people: dict[str, int], path: str, what: str, about: list[str | None]
) -> None:
    assert ask("staff", path) == 200
    assert log(people) == [(what, name, "200") for name in about]


def test_the_range_of_a_question_is_logged(ask: Callable[..., int]) -> None:
    ask("staff", "/api/persons/{bo}/encounters?" + DAY)
    ask("staff", "/api/locations?start=2026-05-11T10:00&end=2026-05-12&limit=5")
    ranges = [(f"{each.range_start}", f"{each.range_end}") for each in Question.objects.order_by("id")]
    assert ranges == [
        ("2026-05-11 00:00:00+00:00", "2026-05-12 00:00:00+00:00"),
        ("2026-05-11 10:00:00+00:00", "2026-05-13 00:00:00+00:00"),
    ]


@pytest.mark.parametrize(
    ("caller", "path", "what", "about", "status"),
    [
        ("person", "/api/locations?person_id={bo}", "GET locations", "bo", 404),
        ("person", "/api/locations?limit=5", "GET locations", "ann", 200),
        ("person", "/api/persons/{bo}/encounters?" + DAY, "GET encounters", "bo", 404),
        ("ingest", "/api/locations?person_id=%2B{bo}", "GET locations", "bo", 403),
        ("ingest", "/api/persons?id={bo}", "GET people", "bo", 403),
        ("service", "/api/persons/{bo}", "GET person", "bo", 403),
        ("staff", "/api/persons/999", "GET person", None, 404),
    ],
)
def test_refused_calls_are_logged(
    ask: Callable[..., int],
    people: dict[str, int],
    caller: str,
    path: str,
    what: str,
    about: str | None,
    status: int,
) -> None:
    assert ask(caller, path) == status
    assert log(people) == [(what, about, str(status))]


@pytest.mark.urls(__name__)
def test_a_call_with_a_service_token_is_logged(ask: Callable[..., int], people: dict[str, int]) -> None:
    assert ask("service", "/internal/persons?id={bo}") == 200
    assert log(people) == [("GET internal-persons", "bo", "200")]


@pytest.mark.urls(__name__)
def test_a_neighbours_call_for_its_caller_is_not_logged_twice(
    ask: Callable[..., int], people: dict[str, int]
) -> None:
    assert ask("service", "/internal/persons?id={bo}", **{NOTED: "1"}) == 200
    assert ask("person", "/api/persons/{ann}", **{NOTED: "1"}) == 200
    assert log(people) == [("GET person", "ann", "200")]


def test_pings_and_the_callers_own_identity_are_not_logged(
    ask: Callable[..., int], people: dict[str, int]
) -> None:
    ask("ingest", "/api/locations", "POST", b'{"person_id":%d,"latitude":1,"longitude":2}' % people["ann"])
    ask("person", "/api/caller")
    assert log(people) == []


def test_more_than_max_ids_are_logged_as_number_lowest_and_highest(
    ask: Callable[..., int], people: dict[str, int]
) -> None:
    above = people["bo"] + 1  # ids only grow, so these are unknown
    ids = [people["bo"], *range(above, above + MAX_IDS), people["ann"]]
    assert ask("staff", "/api/persons?" + "&".join(f"id={each}" for each in ids)) == 200
    [line] = Question.objects.all()
    assert (line.person_id, line.people, line.first_person_id) == (None, MAX_IDS + 2, people["ann"])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "path", ["/api/persons/{ann}", "/api/persons?search=ann", "/api/persons", "/api/locations?limit=5"]
)
def test_a_call_that_cannot_be_logged_is_a_503(ask: Callable[..., int], path: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE access_question RENAME TO away")
        try:
            assert ask("staff", path) == 503
        finally:
            cursor.execute("ALTER TABLE away RENAME TO access_question")
    assert ask("staff", path) == 200


@pytest.mark.parametrize("number", ["%2B%2B5", "%2B", "9" * 4301, "5.0", "%D9%A5"])
@pytest.mark.parametrize("caller", ["staff", "person", "ingest", "service"])
def test_an_id_that_is_no_number_is_refused_and_noted(
    ask: Callable[..., int], caller: str, number: str
) -> None:
    expected = {400} if caller in ("staff", "person") else {403}
    assert ask(caller, f"/api/persons?id={number}") in expected
    assert Question.objects.count() == 1


# --- in the admin site ---------------------------------------------------------------------------


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("ada"))
    return client


def test_a_search_in_the_admin_is_logged_with_the_people_found(staff: Client, people: dict[str, int]) -> None:
    staff.get("/admin/persons/person/?q=bo")
    staff.get("/admin/persons/person/")
    what = "GET admin persons_person_changelist"
    assert log(people) == [(what, "bo", "200"), (what, None, "200")]


@pytest.mark.parametrize(
    "lookup", ["id={bo}", "id__exact={bo}", "id__in={bo},0", "first_name__startswith=bo", "p=0&id={bo}"]
)
def test_a_list_in_the_admin_is_noted_with_its_people_however_it_is_filtered(
    staff: Client, people: dict[str, int], lookup: str
) -> None:
    staff.get(f"/admin/persons/person/?{lookup.format(**people)}")
    assert log(people) == [("GET admin persons_person_changelist", "bo", "200")]


@pytest.mark.parametrize("chosen", ["selected", "imported", "all"])
def test_a_bulk_export_is_logged_with_all_its_people(
    staff: Client, people: dict[str, int], chosen: str
) -> None:
    what = "POST admin persons_person_changelist"
    if chosen == "selected":
        form = {"action": "export_selected", "_selected_action": list(people.values())}
        answer = staff.post("/admin/persons/person/", form)
    elif chosen == "imported":
        what = "POST admin persons_person_imported"
        ids = ", ".join(map(str, sorted(people.values())))
        answer = staff.post("/admin/persons/person/imported/", {"ids": ids})
    else:
        what = "GET admin persons_person_export"
        answer = staff.get("/admin/persons/person/export/")
    assert isinstance(answer, StreamingHttpResponse)
    assert b"bo" in answer.getvalue()
    assert log(people) == [(what, "ann", "200"), (what, "bo", "200")]


def test_a_bulk_deletion_is_logged_without_ids(staff: Client, people: dict[str, int]) -> None:
    form = {"action": "delete_selected", "_selected_action": list(people.values()), "post": "yes"}
    assert staff.post("/admin/persons/person/", form).status_code == 302
    assert not Person.objects.exists()
    [line] = Question.objects.all()
    assert (line.person_id, line.people, line.outcome) == (None, 2, "302")


def test_locations_in_the_admin_are_logged_with_the_validated_id(
    staff: Client, people: dict[str, int]
) -> None:
    staff.get(f"/admin/locations/location/?person_id=00{people['bo']}")
    assert log(people) == [("GET admin locations_location_changelist", "bo", "200")]


@pytest.mark.django_db(transaction=True)
def test_an_admin_page_that_cannot_be_logged_is_a_503(staff: Client, people: dict[str, int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE access_question RENAME TO away")
        try:
            answer = staff.get(f"/admin/persons/person/{people['ann']}/change/")
        finally:
            cursor.execute("ALTER TABLE away RENAME TO access_question")
    assert answer.status_code == 503
    assert b"ann" not in answer.content.lower()


# --- the command `tokens` ------------------------------------------------------------------------


def test_the_command_lists_a_token_that_never_expires(settings: Any) -> None:
    settings.SERVICE_TOKEN = "process0." + "k" * 32
    call_command("migrate", stdout=StringIO())
    out = StringIO()
    call_command("tokens", "list", stdout=out)
    assert Token.objects.get().prefix in out.getvalue()
    assert "never" in out.getvalue()
