"""Days, positions and heat over REST: their answers, bad questions, and how many statements they take."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from django.http import StreamingHttpResponse
from rest_framework.test import APIClient

from locations import storage
from locations.pings import Ping
from persons.models import Person

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)
AT_NOON, DAY = "/api/positions?at=2026-05-11T12:00:00Z", "/api/heat?start=2026-05-11&end=2026-05-11"


def ping(person: Person, second: float, *, latitude: float = 52.52, longitude: float = 13.405) -> Ping:
    return Ping(person.pk, NOON + timedelta(seconds=second), latitude, longitude)


def whole(answer: Any) -> Any:
    assert answer.status_code == 200, answer.content
    return answer.json()


# --- answers -------------------------------------------------------------------------------------


def test_days_are_those_of_the_time_zone(api: APIClient, ann: Person, bo: Person) -> None:
    storage.record([ping(ann, 0.25), ping(ann, 12 * 3600 - 1), ping(bo, 60)])
    assert whole(api.get("/api/days")) == [
        {"day": "2026-05-11", "first": "2026-05-11T12:00:00.250000Z", "last": "2026-05-11T23:59:59Z"}
    ]
    assert whole(api.get(f"/api/days?person_id={ann.pk}&time_zone=Europe/Berlin")) == [
        {"day": "2026-05-11", "first": "2026-05-11T12:00:00.250000Z", "last": "2026-05-11T12:00:00.250000Z"},
        {"day": "2026-05-12", "first": "2026-05-11T23:59:59Z", "last": "2026-05-11T23:59:59Z"},
    ]


def test_an_unknown_person_is_a_404_and_one_without_pings_has_no_days(api: APIClient, ann: Person) -> None:
    assert whole(api.get(f"/api/days?person_id={ann.pk}")) == []
    for unknown in (0, -1, 2**63 - 1, 2**63, 10**30):
        answer = api.get(f"/api/days?person_id={unknown}")
        assert (answer.status_code, answer.json()) == (404, {"detail": f"There is no person {unknown}."})


def test_positions_have_the_location_and_the_person(api: APIClient, ann: Person, bo: Person) -> None:
    storage.record([ping(bo, -119), ping(ann, -120), ping(ann, 1)])
    assert whole(api.get(AT_NOON)) == [
        {
            "location": {
                "id": f"{bo.pk}-1778500681000000",
                "person_id": bo.pk,
                "latitude": "52.5200000",
                "longitude": "13.4050000",
                "creation_time": "2026-05-11T11:58:01Z",
                "accuracy": None,
            },
            "person": {"id": bo.pk, "first_name": "Bo", "last_name": "Ek", "company_name": "Brio"},
        }
    ]
    found = whole(api.get(f"{AT_NOON}&max_age=3600"))
    assert [one["person"]["id"] for one in found] == [ann.pk, bo.pk]
    assert whole(api.get(f"{AT_NOON}&max_age=119")) == []
    assert whole(api.get(f"{AT_NOON}&bbox=0,0,1,1")) == []
    assert len(whole(api.get(f"{AT_NOON}&bbox=13,52,14,53"))) == 1


def test_heat_has_the_centres_of_cells(api: APIClient, ann: Person, bo: Person) -> None:
    storage.record([ping(ann, 0), ping(ann, 60), ping(bo, 0), ping(bo, 1, latitude=52.53)])
    south, north = whole(api.get(f"{DAY}&cell_m=100"))
    assert (south["person_minutes"], south["people"]) == (3, 2)
    assert (north["person_minutes"], north["people"]) == (1, 1)
    assert abs(float(south["latitude"]) - 52.52) < 0.0005
    assert len(south["latitude"].partition(".")[2]) == 7
    assert len(whole(api.get("/api/heat?start=2026-05-11T12:00:01Z&end=2026-05-11T12:00:30Z"))) == 1


# --- bad questions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "errors"),
    [
        ("/api/days?person_id=x", {"person_id": ["A valid integer is required."]}),
        (
            "/api/days?time_zone=europe/berlin",
            {"time_zone": ["Must be an IANA time zone such as Europe/Berlin."]},
        ),
        ("/api/days?time_zone=UTC&time_zone=UTC", {"time_zone": ["Must be given once."]}),
        ("/api/days?limit=5", {"limit": ["Unknown parameter."]}),
        ("/api/positions", {"at": ["This field is required."]}),
        ("/api/positions?at=2026-05-11", {"at": ["Must be an instant such as 2020-08-18T10:37:06Z."]}),
        (f"{AT_NOON}&max_age=0", {"max_age": ["Must be more than 0."]}),
        (
            f"{AT_NOON}&max_age=3600.1",
            {"max_age": ["Ensure this value is less than or equal to 3600."]},
        ),
        (f"{AT_NOON}&bbox=1,2,3", {"bbox": ["Must be four numbers: west,south,east,north."]}),
        (f"{AT_NOON}&person_id=1", {"person_id": ["Unknown parameter."]}),
        (
            "/api/heat",
            {"start": ["This field is required."], "end": ["This field is required."]},
        ),
        ("/api/heat?start=2026-05-12&end=2026-05-11", {"start": ["Must not be after end."]}),
        (
            "/api/heat?start=2026-05-01&end=2026-06-01",
            {"end": ["Must be at most 31 days after the start."]},
        ),
        (f"{DAY}&cell_m=0.9", {"cell_m": ["Ensure this value is greater than or equal to 1."]}),
        (f"{DAY}&cell_m=nan", {"cell_m": ["A valid number is required."]}),
        (f"{DAY}&cell=5", {"cell": ["Unknown parameter."]}),
    ],
)
def test_a_bad_parameter_is_a_400_that_names_it(api: APIClient, path: str, errors: dict[str, Any]) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.json()) == (400, errors)


def test_a_heat_map_may_have_31_whole_days(api: APIClient) -> None:
    assert whole(api.get("/api/heat?start=2026-05-01&end=2026-05-31")) == []


# --- statements, streams, pages ------------------------------------------------------------------


@pytest.mark.parametrize(("path", "statements"), [("/api/days", 1), (DAY, 1), (AT_NOON, 2)])
def test_a_question_is_one_statement_and_one_for_the_people(
    api: APIClient, ann: Person, bo: Person, django_assert_num_queries: Any, path: str, statements: int
) -> None:
    storage.record([ping(ann, 0), ping(bo, 0)])
    with django_assert_num_queries(2 + statements):  # two for the savepoint around the cursor
        assert whole(api.get(path))


@pytest.mark.parametrize("path", [f"{DAY}&cell_m=1", AT_NOON])
def test_a_long_answer_is_streamed_and_whole(api: APIClient, path: str) -> None:
    people = Person.objects.bulk_create(Person(first_name="Ann") for _ in range(2500))
    storage.record([ping(each, 0, latitude=n / 1000) for n, each in enumerate(people)])
    answer = api.get(path)
    assert isinstance(answer, StreamingHttpResponse)
    with closing(answer):
        assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
        assert len(orjson.loads(b"".join(answer))) == 2500


@pytest.mark.parametrize("path", [f"{DAY}&cell_m=1", AT_NOON])
def test_a_page_for_people_shows_the_first_100(api: APIClient, path: str) -> None:
    people = Person.objects.bulk_create(Person(first_name="Ann") for _ in range(120))
    storage.record([ping(each, 0, latitude=n / 1000) for n, each in enumerate(people)])
    page = api.get(path, headers={"accept": "text/html"})
    assert page.status_code == 200
    assert page.content.count(b"&quot;longitude&quot;") == 100
    assert "Link" not in page
