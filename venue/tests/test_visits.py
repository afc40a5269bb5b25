"""Visits of zones over REST: the numbers, the callers, the parameters."""

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

DAY = "start_date=2026-05-11&end_date=2026-05-11"
INSIDE, OUTSIDE = {"latitude": 52.5005, "longitude": 13.4005}, {"latitude": 52.6, "longitude": 13.6}
NOBODY = {
    "people": 0,
    "visits": 0,
    "person_minutes": 0.0,
    "median_stay_s": None,
    "longest_stay_s": None,
}


@pytest.fixture
def zones(api: APIClient) -> list[dict[str, Any]]:
    """Two zones; the pings of the tests are in the first one or in none. Their properties."""
    sent = collection(feature("Hall"), feature("Booth", "booth", rings=[square(14)], company="Acme"))
    return [each["properties"] for each in api.put("/api/zones", sent).json()["features"]]


def stay(api: APIClient, person: Person, start: str, *minutes: float, where: Any = INSIDE) -> None:
    """Sends a ping of a person for each of these minutes after the start."""
    hour, first = map(int, start.split(":"))
    pings = [
        {
            "person_id": person.pk,
            **where,
            "creation_time": f"2026-05-11T{hour:02}:{first + int(minute):02}:{round(minute % 1 * 60):02}Z",
        }
        for minute in minutes
    ]
    assert api.post("/api/locations", pings).status_code == 202


def visits(api: APIClient, query: str = "", **headers: str) -> Any:
    answer = api.get(f"/api/zones/visits?{DAY}{query}", headers=headers)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_without_zones_there_are_no_visits(api: APIClient) -> None:
    assert visits(api) == []


def test_a_row_per_zone_has_the_people_and_their_stays(
    api: APIClient, ann: Person, bo: Person, zones: list[Any]
) -> None:
    stay(api, ann, "10:00", 0, 1, 2)  # 120 s
    stay(api, ann, "10:10", 0, 1)  # 60 s, after a gap
    stay(api, ann, "10:20", 0, 0.5)  # too short
    stay(api, bo, "10:00", 0, 2, 4)  # 240 s, with the longest steps
    stay(api, bo, "10:05", 0, where=OUTSIDE)
    hall, booth = zones
    assert visits(api) == [
        {
            "zone": hall,
            "people": 2,
            "visits": 3,
            "person_minutes": 7.0,
            "median_stay_s": 120.0,
            "longest_stay_s": 240.0,
        },
        {"zone": booth, **NOBODY},
    ]
    [few, _] = visits(api, "&max_gap=60&min_duration=120")
    assert (few["people"], few["visits"], few["longest_stay_s"]) == (1, 1, 120.0)
    [all_of_them, _] = visits(api, "&min_duration=0")
    assert all_of_them["visits"] == 4
    assert visits(api, "&min_duration=90000")[0]["visits"] == 0  # as with gRPC


def test_who_is_not_findable_is_not_counted(api: APIClient, ann: Person, zones: list[Any]) -> None:
    stay(api, ann, "10:00", 0, 1, 2)
    Person.objects.filter(pk=ann.pk).update(findable=False)
    assert visits(api)[0] == {"zone": zones[0], **NOBODY}


def test_a_person_sees_their_own_visits_only(
    api: APIClient, ann: Person, bo: Person, zones: list[Any], settings: Any
) -> None:
    stay(api, ann, "10:00", 0, 1, 2)
    stay(api, bo, "10:00", 0, 2, 4)
    Person.objects.filter(pk=ann.pk).update(findable=False)
    settings.ACCESS = "tokens"
    _, token = access.make(name="ann", kind=Kind.PERSON, first_person_id=ann.pk)
    [hall, _] = visits(api, authorization=f"Bearer {token}")
    assert (hall["people"], hall["visits"], hall["longest_stay_s"]) == (1, 1, 120.0)
    question = Question.objects.get()
    assert (question.what, question.person_id) == ("GET visits", ann.pk)


@pytest.mark.parametrize(("kind", "status"), [(Kind.STAFF, 200), (Kind.INGEST, 403), (Kind.SERVICE, 403)])
def test_others_need_to_be_staff(
    api: APIClient, ann: Person, zones: list[Any], settings: Any, kind: Kind, status: int
) -> None:
    settings.ACCESS = "tokens"
    owner: dict[str, Any] = {
        Kind.STAFF: {"user": User.objects.create_superuser("organiser")},
        Kind.INGEST: {"first_person_id": ann.pk},
    }.get(kind, {})
    _, token = access.make(name=kind, kind=kind, **owner)
    path = f"/api/zones/visits?{DAY}"
    assert api.get(path).status_code == 401
    assert api.get(path, headers={"authorization": f"Bearer {token}"}).status_code == status


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "start_date"),
        ("start_date=2026-05-12&end_date=2026-05-11", "start_date"),
        (f"{DAY}&max_gap=-1", "max_gap"),
        (f"{DAY}&max_gap=86401", "max_gap"),
        (f"{DAY}&max_gap=NaN", "max_gap"),
        (f"{DAY}&min_duration=x", "min_duration"),
        (f"{DAY}&min_duration=-1", "min_duration"),
        (f"{DAY}&person_id=1", "person_id"),
    ],
)
def test_a_wrong_parameter_is_named(api: APIClient, query: str, field: str) -> None:
    answer = api.get(f"/api/zones/visits?{query}")
    assert answer.status_code == 400
    assert field in answer.json()


def test_a_range_may_be_limited(api: APIClient, settings: Any) -> None:
    settings.MAX_RANGE_DAYS = 2
    answer = api.get("/api/zones/visits?start_date=2026-05-11&end_date=2026-05-13")
    assert (answer.status_code, answer.json()) == (
        400,
        {"end_date": ["Must be at most 2 days after the start."]},
    )
