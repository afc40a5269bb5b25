"""The event and its zones over REST."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from access import services as access
from access.callers import Kind
from access.models import Question
from persons.models import Person
from venue.tests.shapes import collection, feature, square

pytestmark = pytest.mark.django_db

FAIR = {
    "name": "Fair",
    "time_zone": "Europe/Berlin",
    "first_day": "2026-05-11",
    "last_day": "2026-05-12",
    "bounds": None,
}
NONE = {"name": "", "time_zone": "UTC", "first_day": None, "last_day": None, "bounds": None}


def put(api: APIClient, path: str, body: Any) -> Any:
    answer = api.put(path, body)
    return answer.status_code, answer.json()


# --- the event -----------------------------------------------------------------------------------


def test_without_an_event_the_answer_has_no_days(api: APIClient) -> None:
    assert api.get("/api/event").json() == NONE


def test_the_event_is_replaced(api: APIClient) -> None:
    assert put(api, "/api/event", FAIR) == (200, FAIR)
    assert api.get("/api/event").json() == FAIR
    other = {"name": " Other ", "time_zone": "UTC", "first_day": "2026-01-01", "last_day": "2026-01-01"}
    assert put(api, "/api/event", other) == (200, other | {"name": "Other", "bounds": None})


def test_without_bounds_the_event_has_those_of_its_zones(api: APIClient) -> None:
    put(api, "/api/zones", collection(feature(rings=[square(13, 52, 1)]), feature(rings=[square(14, 51, 1)])))
    assert put(api, "/api/event", FAIR)[1]["bounds"] == [13, 51, 15, 53]
    put(api, "/api/event", api.get("/api/event").json())  # sent back, they still follow the zones
    put(api, "/api/zones", collection(feature(rings=[square(13, 52, 1)])))
    assert api.get("/api/event").json()["bounds"] == [13, 52, 14, 53]
    own = [179, -20, -179, 20]  # across the 180th meridian
    assert put(api, "/api/event", FAIR | {"bounds": own}) == (200, FAIR | {"bounds": own})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": 5}, "name"),
        ({"time_zone": "Europe/Atlantis"}, "time_zone"),
        ({"time_zone": None}, "time_zone"),
        ({"first_day": "tomorrow"}, "first_day"),
        ({"first_day": "2026-05-13"}, "first_day"),
        ({"last_day": 20260511}, "last_day"),
        ({"bounds": [1, 2, 3]}, "bounds"),
        ({"bounds": ["1", "2", "3", "4"]}, "bounds"),
        ({"bounds": [1, 2, True, 4]}, "bounds"),
        ({"bounds": [1, 3, 2, 2]}, "bounds"),
        ({"bounds": [181, 1, 2, 2]}, "bounds"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_event_is_refused_and_its_field_named(api: APIClient, change: Any, field: str) -> None:
    put(api, "/api/event", FAIR)
    status, errors = put(api, "/api/event", FAIR | {"name": "Other"} | change)
    assert (status, list(errors)) == (400, [field])
    assert api.get("/api/event").json() == FAIR


# --- zones ---------------------------------------------------------------------------------------


def test_zones_are_replaced_and_come_back(api: APIClient) -> None:
    assert api.get("/api/zones").json() == collection()
    sent = collection(feature("Hall"), feature("Booth", "booth", company="Acme"))
    status, stored = put(api, "/api/zones", sent)
    assert status == 200
    assert stored == collection(
        feature("Hall", id=1, company=None), feature("Booth", "booth", id=2, company="Acme")
    )
    assert api.get("/api/zones").json() == stored
    stored["features"].pop(0)
    assert put(api, "/api/zones", stored) == (200, stored)  # the other zone keeps its id


def test_nothing_changes_if_one_zone_is_wrong(api: APIClient) -> None:
    _, before = put(api, "/api/zones", collection(feature("Hall")))
    bow_tie = [[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]
    assert put(api, "/api/zones", collection(feature("Good"), feature("Bad", rings=[bow_tie]))) == (
        400,
        {
            "features": [
                "Feature 2 (Bad): its area is not valid: self-intersection at longitude and latitude 0.5 0.5."
            ]
        },
    )
    assert api.get("/api/zones").json() == before


def test_too_many_zones_and_points_are_refused(api: APIClient) -> None:
    status, errors = put(api, "/api/zones", collection(*[feature()] * 1001))
    assert (status, errors) == (400, {"features": ["Must be at most 1,000 features; there are 1,001."]})
    ring = [*square()[:-1] * 250, square()[0]]
    assert put(api, "/api/zones", collection(feature(rings=[ring]))) == (
        400,
        {"features": ["Feature 1 (Hall 1): it has 1,001 points; 1,000 are allowed."]},
    )


def test_queries_and_other_methods_are_refused(api: APIClient) -> None:
    for path in ("/api/event", "/api/zones"):
        assert api.get(f"{path}?colour=red").json() == {"colour": ["Unknown parameter."]}
        assert api.delete(path).status_code == 405
        assert api.post(path, {}).status_code == 405
        assert put(api, path, [])[1] == {"non_field_errors": ["Must be an object."]}


# --- callers -------------------------------------------------------------------------------------


@pytest.fixture
def tokens(settings: Any, ann: Person) -> dict[str, str]:
    """With ACCESS=tokens: a token of each kind, by kind."""
    settings.ACCESS = "tokens"
    organiser = User.objects.create_superuser("organiser")
    owners: dict[Kind, dict[str, Any]] = {
        Kind.INGEST: {"first_person_id": ann.pk},
        Kind.PERSON: {"first_person_id": ann.pk},
        Kind.SERVICE: {},
        Kind.STAFF: {"user": organiser},
    }
    return {kind: access.make(name=kind, kind=kind, **owner)[1] for kind, owner in owners.items()}


@pytest.mark.parametrize(
    ("kind", "may_read", "may_replace"),
    [
        (Kind.STAFF, True, True),
        (Kind.PERSON, True, False),
        (Kind.INGEST, False, False),
        (Kind.SERVICE, False, False),
    ],
)
def test_people_may_read_and_staff_may_replace(
    api: APIClient, tokens: dict[str, str], kind: Kind, *, may_read: bool, may_replace: bool
) -> None:
    bodies: dict[str, Any] = {"/api/event": FAIR, "/api/zones": collection(feature())}
    for path, body in bodies.items():
        assert api.get(path).status_code == api.put(path, body).status_code == 401
        headers = {"authorization": f"Bearer {tokens[kind]}"}
        assert api.get(path, headers=headers).status_code == (200 if may_read else 403)
        assert api.put(path, body, headers=headers).status_code == (200 if may_replace else 403)


def test_the_floor_plan_is_no_question_about_people(api: APIClient, tokens: dict[str, str]) -> None:
    headers = {"authorization": f"Bearer {tokens[Kind.STAFF]}"}
    assert api.get("/api/zones", headers=headers).status_code == 200
    assert api.put("/api/event", FAIR, headers=headers).status_code == 200
    assert not Question.objects.exists()
    assert api.get("/api/persons?limit=1", headers=headers).status_code == 200
    assert Question.objects.get().what == "GET people"
