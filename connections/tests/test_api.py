"""Connections and encounters over REST: parameters, answers, pages, errors and the number of queries.

locations/tests/test_proximity.py tests who was near whom; here a few known meetings are enough.
"""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from access import services as access
from access.callers import Kind
from connections.tests.scenario import DAY, METRE, NINE, ask, stand, to_wire
from locations import storage
from locations.pings import Ping
from persons.models import Person

pytestmark = pytest.mark.django_db

PATHS = ["connection", "encounters"]


# --- connection ----------------------------------------------------------------------------------


def test_a_location_of_another_person_is_returned_once_with_the_person(
    api: APIClient, ann: Person, bo: Person, meeting: None
) -> None:
    answer = ask(api, ann, "connection")
    assert answer.status_code == 200
    assert len(answer.json()) == 5
    microseconds = int(NINE.timestamp()) * 10**6
    assert answer.json()[3] == {
        "location": {
            "id": f"{bo.pk}-{microseconds + 91_500_000}",
            "person_id": bo.pk,
            "latitude": "0.0000000",
            "longitude": f"{3 * METRE:.7f}",
            "creation_time": "2026-05-11T09:01:31.500000Z",
            "accuracy": None,
        },
        "person": to_wire(bo),
    }
    for each in answer.json():
        assert api.get(f"/api/locations/{each['location']['id']}").json() == each["location"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 5),
        ("&distance=2", 1),
        ("&distance=0.5", 0),
        ("&distance=1e1", 5),
        ("&distance=10000", 5),
        ("&within=0", 1),
        ("&within=1", 4),
        ("&within=1.5", 5),
        ("&within=3600", 5),
        ("&limit=2", 2),
        ("&format=json", 5),
    ],
)
def test_distance_and_within_filter_connections(
    api: APIClient, ann: Person, meeting: None, query: str, count: int
) -> None:
    assert len(ask(api, ann, "connection", DAY + query).json()) == count


@pytest.mark.parametrize(
    ("start", "end", "count"),
    [
        ("2026-05-11", "2026-05-11", 5),
        ("2026-05-10", "2026-05-10", 0),
        ("2026-05-12", "2026-05-12", 0),
        ("2026-05-11T09:00:00Z", "2026-05-11T09:00:31Z", 1),
        ("2026-05-11T09:00:00Z", "2026-05-11T09:00:31.000001Z", 2),
        ("2026-05-11T11:30:00%2B02:00", "2026-05-11", 1),
        ("2026-05-11T11:30:00+02:00", "2026-05-11", 1),
        ("2026-05-11T09:00:00Z", "2026-05-11T09:00:00Z", 0),
    ],
)
def test_both_pings_must_lie_in_the_range(
    api: APIClient, ann: Person, meeting: None, start: str, end: str, count: int
) -> None:
    query = f"start_date={start}&end_date={end}"
    assert len(ask(api, ann, "connection", query).json()) == count


def test_a_hidden_person_is_in_no_answer_and_still_gets_own_answers(
    api: APIClient, ann: Person, bo: Person, meeting: None
) -> None:
    whole = ask(api, bo, "connection").json()
    assert api.put(f"/api/persons/{bo.pk}/consent", {"findable": False}).status_code == 200
    assert ask(api, ann, "connection").json() == ask(api, ann, "encounters").json() == []
    assert ask(api, bo, "connection").json() == whole != []
    assert {each["person_id"] for each in api.get("/api/locations?limit=100").json()} == {ann.pk}
    api.put(f"/api/persons/{bo.pk}/consent", {"findable": True})
    assert len(ask(api, ann, "connection").json()) == 5


@pytest.mark.parametrize("path", PATHS)
def test_pings_of_a_worse_accuracy_are_left_out(api: APIClient, ann: Person, bo: Person, path: str) -> None:
    for person, accuracy in ((ann, 3.3), (bo, 20.0)):
        storage.record([Ping(person.pk, NINE, 0.0, 0.0, accuracy)])
    for query, count in (("", 1), ("&max_accuracy=20", 1), ("&max_accuracy=19.9", 0), ("&max_accuracy=3", 0)):
        assert len(ask(api, ann, path, DAY + query).json()) == count, query


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "Must be more than 0."),
        ("-1", "Must be more than 0."),
        ("100001", "Ensure this value is less than or equal to 100000."),
        ("good", "A valid number is required."),
        ("nan", "A valid number is required."),
    ],
)
def test_the_maximum_accuracy_has_bounds(
    api: APIClient, ann: Person, path: str, value: str, text: str
) -> None:
    answer = ask(api, ann, path, f"{DAY}&max_accuracy={value}")
    assert (answer.status_code, answer.json()) == (400, {"max_accuracy": [text]})


# --- OPTIONS -------------------------------------------------------------------------------------


def bounds(api: APIClient, person: Person, path: str, **headers: str) -> dict[str, tuple[Any, ...]]:
    answer = api.options(
        f"/api/persons/{person.pk}/{path}", headers={"accept": "application/json", **headers}
    )
    assert answer.status_code == 200
    names = ("default", "minimum", "maximum", "exclusive_minimum")
    return {name: tuple(each[key] for key in names) for name, each in answer.json()["parameters"].items()}


def test_options_list_the_parameters_with_their_defaults_and_bounds(api: APIClient, ann: Person) -> None:
    assert bounds(api, ann, "connection") == {
        "distance": (5, 0, 10_000, True),
        "within": (None, 0, 3_600, False),
        "max_accuracy": (None, 0, 100_000, True),
    }
    assert bounds(api, ann, "encounters") == {
        "distance": (5, 0, 10_000, True),
        "within": (60, 0, 3_600, False),
        "max_gap": (75, 0, 86_400, False),
        "min_duration": (0, 0, 10_000_000_000, False),
        "max_accuracy": (None, 0, 100_000, True),
    }


def test_options_list_the_narrower_bounds_of_a_persons_token(
    api: APIClient, ann: Person, settings: Any
) -> None:
    settings.ACCESS = "tokens"
    token = access.make(name="Ann's", kind=Kind.PERSON, first_person_id=ann.pk, last_person_id=ann.pk)[1]
    assert bounds(api, ann, "encounters", authorization=f"Bearer {token}") == {
        "distance": (5, 0, 10, True),
        "within": (60, 0, 60, False),
        "max_gap": (75, 0, 120, False),
        "min_duration": (60, 60, 10_000_000_000, False),
        "max_accuracy": (None, 0, 100_000, True),
    }


# --- encounters ----------------------------------------------------------------------------------


def test_an_encounter_has_start_end_duration_and_distance(
    api: APIClient, ann: Person, bo: Person, meeting: None
) -> None:
    answer = ask(api, ann, "encounters")
    assert answer.status_code == 200
    assert answer.json() == [
        {
            "person": to_wire(bo),
            "start": "2026-05-11T09:00:01Z",
            "end": "2026-05-11T09:01:31.500000Z",
            "duration_s": 90.5,
            "pings": 4,
            "min_distance_m": 3.0,
            "latitude": "0.0000000",
            "longitude": "0.0000000",
        },
        {
            "person": to_wire(bo),
            "start": "2026-05-11T09:30:00Z",
            "end": "2026-05-11T09:30:00Z",
            "duration_s": 0.0,
            "pings": 1,
            "min_distance_m": 1.0,
            "latitude": "0.0000000",
            "longitude": "0.0000000",
        },
    ]


def test_both_people_see_the_same_encounters(api: APIClient, ann: Person, bo: Person, meeting: None) -> None:
    def times(person: Person) -> list[Any]:
        return [(each["start"], each["end"]) for each in ask(api, person, "encounters").json()]

    assert times(ann) == times(bo)


@pytest.mark.parametrize(
    ("query", "durations"),
    [
        ("", [90.5, 0.0]),
        ("&min_duration=0", [90.5, 0.0]),
        ("&min_duration=90.5", [90.5]),
        ("&min_duration=90.6", []),
        ("&min_duration=1e300", []),
        ("&max_gap=86400", [1799.0]),
        ("&within=0", [0.0]),
        ("&within=3600&max_gap=3600", [1799.0]),
        ("&distance=2", [0.0]),
        ("&limit=1", [90.5]),
    ],
)
def test_max_gap_min_duration_within_and_distance_change_encounters(
    api: APIClient, ann: Person, meeting: None, query: str, durations: list[float]
) -> None:
    found = ask(api, ann, "encounters", DAY + query).json()
    assert [each["duration_s"] for each in found] == durations


# --- both ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_all_pages_together_are_the_whole_answer(
    api: APIClient, ann: Person, person: Callable[..., Person], walk: Callable[..., Any], path: str
) -> None:
    stand(ann, 0, 300, 600)
    for _ in range(3):
        stand(person(), 0, 300, 600, metres=1)
    url = f"/api/persons/{ann.pk}/{path}?{DAY}"
    whole = api.get(url).json()
    assert len(whole) == 9
    for limit in (1, 2, 4, 9):
        pages = walk(f"{url}&limit={limit}")
        assert [one for page in pages for one in page] == whole
        assert len(pages) == -(-9 // limit)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("person_id", [0, 999_999_999, 2**63 - 1, 2**63, 10**30])
def test_an_unknown_person_is_a_404(api: APIClient, path: str, person_id: int) -> None:
    answer = ask(api, person_id, path)
    assert (answer.status_code, answer.json()) == (404, {"detail": f"There is no person {person_id}."})


@pytest.mark.parametrize("path", PATHS)
def test_a_deleted_person_is_in_no_answer(
    api: APIClient, ann: Person, bo: Person, meeting: None, path: str
) -> None:
    api.delete(f"/api/persons/{bo.pk}")
    assert ask(api, ann, path).json() == []
    assert ask(api, bo, path).status_code == 404


@pytest.mark.parametrize("path", PATHS)
def test_both_dates_are_required(api: APIClient, ann: Person, path: str) -> None:
    required = ["This field is required."]
    assert ask(api, ann, path, "").json() == {"start_date": required, "end_date": required}
    assert ask(api, ann, path, "start_date=2026-05-11").json() == {"end_date": required}
    assert ask(api, ann, path, "").status_code == 400


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-05-13", "2026-05-11"),
        ("2026-05-12", "2026-05-11"),
        ("2026-05-11T09:00:00.000001Z", "2026-05-11T09:00:00Z"),
    ],
)
def test_start_after_end_is_a_400(api: APIClient, ann: Person, path: str, start: str, end: str) -> None:
    answer = ask(api, ann, path, f"start_date={start}&end_date={end}")
    assert (answer.status_code, answer.json()) == (400, {"start_date": ["Must not be after end_date."]})


BAD = {
    "distance": ["0", "-1", "-0.0", "10000.0001", "10001", "nan", "inf", "", "far", "5m", "1e400", "true"],
    "within": ["-1", "-0.1", "3601", "nan", "inf", "", "soon", "1e400"],
    "max_gap": ["-1", "86401", "nan", "inf", "", "long"],
    "min_duration": ["-1", "nan", "-inf", "inf", "", "long"],
    "start_date": ["", "today", "2026-02-30", "2026-05-11T25:00", "20260511", "1"],
    "end_date": ["", "tomorrow", "2026-13-01", "2026-05-11T09", "2026-05-11%00"],
    "limit": ["0", "-1", "10001", "ten", ""],
    "after": ["x", "", "W10", "WzVd", "bnVsbA"],
    "since": ["2026-05-11"],
}
QUESTIONS = [
    (path, name, value)
    for name, values in BAD.items()
    for value in values
    for path in PATHS
    if path == "encounters" or name not in ("max_gap", "min_duration")
]


@pytest.mark.parametrize(("path", "name", "value"), QUESTIONS)
def test_an_invalid_parameter_is_named_in_the_400(
    api: APIClient, ann: Person, path: str, name: str, value: str
) -> None:
    others = "&".join(each for each in DAY.split("&") if not each.startswith(name))
    answer = ask(api, ann, path, f"{others}&{name}={value}")
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/json"
    assert list(answer.json()) == [name]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["start_date", "end_date", "distance", "within", "limit", "after"])
def test_a_parameter_given_twice_is_refused(api: APIClient, ann: Person, path: str, name: str) -> None:
    answer = ask(api, ann, path, f"{DAY}&{name}=1&{name}=1")
    assert answer.status_code == 400
    assert answer.json() == answer.json() | {name: ["Must be given once."]}


@pytest.mark.parametrize("name", ["max_gap", "min_duration"])
def test_connection_refuses_parameters_of_encounters(api: APIClient, ann: Person, name: str) -> None:
    answer = ask(api, ann, "connection", f"{DAY}&{name}=5")
    assert (answer.status_code, answer.json()) == (400, {name: ["Unknown parameter."]})


# --- number of queries ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("others", "batches"), [(0, 1), (1, 1), (300, 1), (301, 2)])
def test_persons_are_fetched_in_batches_of_300(
    api: APIClient,
    ann: Person,
    path: str,
    others: int,
    batches: int,
    django_assert_num_queries: Any,
) -> None:
    people = Person.objects.bulk_create(
        Person(first_name=f"A{i}", last_name="B", company_name="C") for i in range(others)
    )
    storage.record(
        [Ping(each.pk, NINE + timedelta(seconds=s), 0, 0) for each in [ann, *people] for s in (0, 1)]
    )
    # With no others the one batch is the check that the person exists.
    with django_assert_num_queries(1 + batches + 2) as asked:  # two for the savepoint around the cursor
        answer = ask(api, ann, path, f"{DAY}&limit=10000")
    assert len(answer.json()) == others * (2 if path == "connection" else 1)
    statements = [query["sql"] for query in asked.captured_queries]
    on_locations = [sql for sql in statements if "locations_location" in sql]  # reads hidden people, too
    on_persons = [sql for sql in statements if "persons_person" in sql and sql not in on_locations]
    assert (len(on_persons), len(on_locations)) == (batches, 1)


def test_a_long_answer_fetches_each_person_once(
    api: APIClient, ann: Person, bo: Person, django_assert_num_queries: Any
) -> None:
    with connection.cursor() as cursor:
        stand(bo, 0)
        cursor.execute(
            "INSERT INTO locations_location (person_id, creation_time, latitude, longitude) "
            "SELECT %s, %s + s * interval '1 second', 0, 0 FROM generate_series(1, 4999) AS s",
            [bo.pk, NINE],
        )
    stand(ann, 0)
    with django_assert_num_queries(1 + 1 + 2):
        answer = ask(api, ann, "connection")
        assert len(json.loads(b"".join(answer.streaming_content))) == 5000
        answer.close()


@pytest.mark.parametrize("question", ["connection", "encounters"])
def test_a_range_longer_than_the_maximum_is_refused(
    api: APIClient, ann: Person, settings: Any, question: str
) -> None:
    def ask(start: str, end: str) -> Any:
        return api.get(f"/api/persons/{ann.pk}/{question}?start_date={start}&end_date={end}")

    settings.MAX_RANGE_DAYS = 366
    assert ask("2024-01-01", "2024-12-31").status_code == 200
    refused = ask("2024-01-01", "2025-01-01")
    assert refused.status_code == 400
    assert refused.json() == {"end_date": ["Must be at most 366 days after the start."]}
    settings.MAX_RANGE_DAYS = 0
    assert ask("1900-01-01", "2099-12-31").status_code == 200
