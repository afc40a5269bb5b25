"""POST /api/locations, one ping or an array: what is accepted, what is refused, and the answers."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from locations.models import Location
from persons.models import Person

pytestmark = pytest.mark.django_db

AT = {"latitude": "37.553441", "longitude": "-122.290524"}
MORNING = "2020-08-18T10:37:06Z"
UNKNOWN_ID = 999_999_999


@pytest.fixture
def ping(ann: Person) -> Callable[..., dict[str, Any]]:
    """A valid ping of Ann's with changes; None removes the field."""

    def make(**changes: Any) -> dict[str, Any]:
        fields = {"person_id": ann.pk, **AT, "creation_time": MORNING} | changes
        return {name: value for name, value in fields.items() if value is not None}

    return make


def seconds_after_morning(seconds: int) -> str:
    return (datetime.fromisoformat(MORNING) + timedelta(seconds=seconds)).isoformat()


# --- one -----------------------------------------------------------------------------------------


def test_a_ping_is_answered_in_wire_form_with_its_id(api: APIClient, ann: Person) -> None:
    sent = {"person_id": ann.pk, **AT, "creation_time": "2020-08-18T10:37:06"}
    answer = api.post("/api/locations", sent)
    assert answer.status_code == 202
    assert answer.json() == {
        "id": f"{ann.pk}-1597747026000000",
        "person_id": ann.pk,
        "latitude": "37.5534410",
        "longitude": "-122.2905240",
        "creation_time": "2020-08-18T10:37:06Z",
        "accuracy": None,
    }
    assert answer["Location"] == f"/api/locations/{ann.pk}-1597747026000000"
    stored = api.get(answer["Location"])
    assert (stored.status_code, stored.json()) == (200, answer.json())


def test_the_answer_of_a_get_can_be_sent_back(api: APIClient, ping: Callable[..., Any]) -> None:
    stored = api.get(api.post("/api/locations", ping())["Location"]).json()
    assert api.post("/api/locations", stored).json() == stored
    assert Location.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"latitude": 37.5, "longitude": 13}, {"latitude": "37.5000000", "longitude": "13.0000000"}),
        ({"latitude": "0.12345678901"}, {"latitude": "0.1234568"}),
        ({"latitude": -0.0, "longitude": "-0.00000001"}, {"latitude": "0.0000000", "longitude": "0.0000000"}),
        ({"latitude": 90, "longitude": "-180"}, {"latitude": "90.0000000", "longitude": "-180.0000000"}),
        ({"creation_time": "2020-08-18 9:37:06.5+02:00"}, {"creation_time": "2020-08-18T07:37:06.500000Z"}),
        (
            {"creation_time": "2020-08-18T10:37:06.123456789z"},
            {"creation_time": "2020-08-18T10:37:06.123456Z"},
        ),
        ({"creation_time": "2020-02-29T10:37"}, {"creation_time": "2020-02-29T10:37:00Z"}),
        ({"creation_time": "1900-01-01T00:00:00"}, {"creation_time": "1900-01-01T00:00:00Z"}),
        (
            {"creation_time": "2099-12-31T23:59:59.999999"},
            {"creation_time": "2099-12-31T23:59:59.999999Z"},
        ),
    ],
    ids=lambda fields: " ".join(map(str, fields.values())),
)
def test_values_come_out_in_wire_form(
    api: APIClient, ping: Callable[..., Any], changes: dict[str, Any], seen: dict[str, str]
) -> None:
    answer = api.post("/api/locations", ping(**changes))
    assert answer.status_code == 202
    assert answer.json() == answer.json() | seen
    assert api.get(answer["Location"]).json() == answer.json()


def test_positions_are_stored_as_sent(api: APIClient, ping: Callable[..., Any]) -> None:
    api.post("/api/locations", ping(latitude="0.123456789012345678", longitude=-122.29052399999999))
    assert Location.objects.values_list("latitude", "longitude").get() == (
        0.12345678901234568,
        -122.29052399999999,
    )


def test_a_person_id_may_be_written_as_a_string(
    api: APIClient, ping: Callable[..., Any], ann: Person
) -> None:
    assert api.post("/api/locations", ping(person_id=str(ann.pk))).json()["person_id"] == ann.pk


def test_a_single_ping_without_a_time_gets_the_current_time(api: APIClient, ping: Callable[..., Any]) -> None:
    before = datetime.now(UTC)
    answer = api.post("/api/locations", ping(creation_time=None))
    assert answer.status_code == 202
    assert before <= datetime.fromisoformat(answer.json()["creation_time"]) <= datetime.now(UTC)
    assert api.get(answer["Location"]).json() == answer.json()


def test_a_repeat_is_accepted_and_the_position_stored_first_stays(
    api: APIClient, ping: Callable[..., Any]
) -> None:
    first = api.post("/api/locations", ping())
    second = api.post(
        "/api/locations", ping(latitude=1, longitude=2, creation_time="2020-08-18 12:37:06+02:00")
    )
    assert (second.status_code, second["Location"]) == (202, first["Location"])
    assert second.json() == first.json() | {"latitude": "1.0000000", "longitude": "2.0000000"}
    assert api.get(first["Location"]).json() == first.json()
    assert Location.objects.count() == 1


@pytest.mark.parametrize("person_id", [UNKNOWN_ID, 0, -1, 2**63 - 1, 2**63, 2**64 - 1, str(10**30)])
def test_a_ping_of_an_unknown_person_is_a_404(
    api: APIClient, ping: Callable[..., Any], person_id: object
) -> None:
    answer = api.post("/api/locations", ping(person_id=person_id))
    assert (answer.status_code, answer.json()) == (404, {"detail": f"There is no person {person_id}."})
    assert not Location.objects.exists()


BAD_VALUES = [
    *((field, value) for field in ("person_id", "latitude", "longitude") for value in ('""', '"x"', "true")),
    *((field, "null") for field in ("person_id", *AT, "creation_time")),
    *((field, "1" + "0" * 200) for field in ("person_id", *AT)),
    *((field, value) for field in AT for value in ('"NaN"', '"Infinity"', '"-inf"', "1e300", "[1]", "{}")),
    *((field, f'"{"1" * 5000}"') for field in ("person_id", *AT)),
    ("latitude", "91"),
    ("latitude", "-90.0000001"),
    ("longitude", "-181"),
    ("longitude", "180.0000001"),
    ("person_id", "1.0"),
    ("person_id", "1e30"),
    ("creation_time", '""'),
    ("creation_time", "5"),
    ("creation_time", "false"),
    ("creation_time", '"2020-02-30T10:37:06"'),
    ("creation_time", '"2020-08-18"'),
    ("creation_time", '"1899-12-31T23:59:59"'),
    ("creation_time", '"2100-01-01T00:00:00"'),
    ("creation_time", '"2020-08-18T10:37:06\\u0000"'),
    ("altitude", "5"),
    ("", "5"),
    ("\\u0000", "5"),
]


@pytest.mark.parametrize(
    ("field", "value"), BAD_VALUES, ids=[f"{field}={value[:12]}" for field, value in BAD_VALUES]
)
def test_an_invalid_value_is_refused_alone_and_in_an_array(
    api: APIClient, ping: Callable[..., Any], field: str, value: str
) -> None:
    good = json.dumps(ping())
    name = json.loads(f'"{field}"')
    others = json.dumps({key: each for key, each in ping().items() if key != name})
    bad = f'{others[:-1]}, "{field}": {value}}}'
    alone = api.post("/api/locations", bad, content_type="application/json")
    assert alone.status_code == 400
    assert list(alone.json()) == [name]
    assert not Location.objects.exists()
    among = api.post("/api/locations", f"[{bad}, {good}]", content_type="application/json")
    assert among.status_code == 207
    assert among.json()["results"][0] == {"index": 0, "status": 400, "errors": alone.json()}
    assert (among.json()["accepted"], Location.objects.count()) == (1, 1)


@pytest.mark.parametrize("field", ["person_id", *AT])
def test_a_missing_field_is_named(api: APIClient, ping: Callable[..., Any], field: str) -> None:
    answer = api.post("/api/locations", ping(**{field: None}))
    assert (answer.status_code, answer.json()) == (400, {field: ["This field is required."]})


@pytest.mark.parametrize("body", ["5", '"text"', "true", "null", "1.5"])
def test_a_ping_that_is_not_an_object_is_refused(api: APIClient, body: str) -> None:
    answer = api.post("/api/locations", body, content_type="application/json")
    assert answer.status_code == 400
    assert list(answer.json()) == ["non_field_errors"]


def test_query_parameters_of_a_post_are_refused(api: APIClient, ping: Callable[..., Any]) -> None:
    answer = api.post("/api/locations?limit=1", ping())
    assert (answer.status_code, answer.json()) == (400, {"limit": ["Unknown parameter."]})


# --- many ----------------------------------------------------------------------------------------


def test_an_array_of_good_pings_is_counted(api: APIClient, ping: Callable[..., Any], bo: Person) -> None:
    answer = api.post("/api/locations", [ping(), ping(person_id=bo.pk)])
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2})
    assert Location.objects.count() == 2


def test_an_empty_array_is_accepted(api: APIClient) -> None:
    answer = api.post("/api/locations", [])
    assert (answer.status_code, answer.json()) == (202, {"accepted": 0})


def test_repeats_count_and_the_first_of_a_batch_stays(
    api: APIClient, ping: Callable[..., Any], ann: Person
) -> None:
    answer = api.post("/api/locations", [ping(latitude=1), ping(latitude=2), ping(latitude=3)])
    assert (answer.status_code, answer.json()) == (202, {"accepted": 3})
    [stored] = api.get(f"/api/locations?person_id={ann.pk}").json()
    assert stored["latitude"] == "1.0000000"
    assert api.post("/api/locations", [ping(latitude=4)]).json() == {"accepted": 1}
    assert api.get(f"/api/locations/{stored['id']}").json() == stored


def test_valid_pings_of_a_mixed_array_are_stored(
    api: APIClient, ping: Callable[..., Any], ann: Person
) -> None:
    answer = api.post(
        "/api/locations",
        [
            ping(latitude=91),
            ping(),
            ping(person_id=UNKNOWN_ID),
            5,
            ping(creation_time=None),
            ping(latitude=1),
            ping(person_id=2**63),
            ping(creation_time="2020-08-18T10:37:07.25Z"),
            [],
        ],
    )
    assert answer.status_code == 207
    required = "This field is required."
    object_needed = ["Must be an object with person_id, latitude and longitude."]
    assert answer.json() == {
        "accepted": 3,
        "results": [
            {"index": 0, "status": 400, "errors": {"latitude": ["Must be a number from -90 to 90."]}},
            {"index": 1, "status": 202, "id": f"{ann.pk}-1597747026000000"},
            {"index": 2, "status": 404, "errors": {"person_id": [f"There is no person {UNKNOWN_ID}."]}},
            {"index": 3, "status": 400, "errors": {"non_field_errors": object_needed}},
            {"index": 4, "status": 400, "errors": {"creation_time": [required]}},
            {"index": 5, "status": 202, "id": f"{ann.pk}-1597747026000000"},
            {"index": 6, "status": 404, "errors": {"person_id": [f"There is no person {2**63}."]}},
            {"index": 7, "status": 202, "id": f"{ann.pk}-1597747027250000"},
            {"index": 8, "status": 400, "errors": {"non_field_errors": object_needed}},
        ],
    }
    assert Location.objects.count() == 2


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"latitude": 91}, 400), ({"person_id": UNKNOWN_ID}, 404)],
    ids=["invalid", "unknown"],
)
def test_an_array_of_invalid_pings_only_is_a_207(
    api: APIClient, ping: Callable[..., Any], changes: dict[str, Any], status: int
) -> None:
    answer = api.post("/api/locations", [ping(**changes)] * 2)
    assert (answer.status_code, answer.json()["accepted"]) == (207, 0)
    assert [(each["index"], each["status"]) for each in answer.json()["results"]] == [
        (0, status),
        (1, status),
    ]
    assert not Location.objects.exists()


def test_an_array_of_10_000_is_accepted(api: APIClient, ping: Callable[..., Any]) -> None:
    items = [ping(creation_time=seconds_after_morning(second)) for second in range(10_000)]
    assert api.post("/api/locations", items).json() == {"accepted": 10_000}
    assert Location.objects.count() == 10_000


@pytest.mark.parametrize("count", [10_001, 11_000])
def test_an_array_over_10_000_is_a_413_and_nothing_is_stored(
    api: APIClient, ping: Callable[..., Any], count: int
) -> None:
    answer = api.post("/api/locations", [ping()] * count)
    assert answer.status_code == 413
    assert answer.json() == {"detail": f"The array has {count} items; 10000 are allowed."}
    assert not Location.objects.exists()


# --- number of queries ---------------------------------------------------------------------------


def test_a_batch_is_stored_in_few_statements(
    api: APIClient, ping: Callable[..., Any], django_assert_max_num_queries: Any
) -> None:
    api.post("/api/locations", ping())
    # Check of the partitions in a savepoint; lock of the persons and COPY in a savepoint.
    with django_assert_max_num_queries(6):
        api.post("/api/locations", [ping(creation_time=seconds_after_morning(s)) for s in range(1, 500)])
    # With a repeat: the COPY fails, so lock and store run again, with INSERT.
    with django_assert_max_num_queries(10):
        api.post("/api/locations", [ping(creation_time=seconds_after_morning(s)) for s in range(499, 999)])


def test_getting_a_location_is_one_statement(
    api: APIClient, ping: Callable[..., Any], django_assert_num_queries: Any
) -> None:
    place = api.post("/api/locations", ping())["Location"]
    with django_assert_num_queries(1):
        api.get(place)
