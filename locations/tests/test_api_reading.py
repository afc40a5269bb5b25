"""Stored locations over REST: one by its id, and lists by person, time and bbox, with and without pages."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from rest_framework.test import APIClient

from persons.models import Person

pytestmark = pytest.mark.django_db

DAY = "2026-05-11"


@pytest.fixture
def at(api: APIClient, ann: Person) -> Callable[..., str]:
    """Sends a ping of Ann's and returns its id: `at("2026-05-11T09:30:00Z")`."""

    def send(creation_time: str, *, latitude: float = 1, longitude: float = 2, of: Person = ann) -> str:
        fields = {"person_id": of.pk, "latitude": latitude, "longitude": longitude}
        answer = api.post("/api/locations", fields | {"creation_time": creation_time})
        assert answer.status_code == 202, answer.content
        return str(answer.json()["id"])

    return send


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [location["id"] for location in answer.json()]


# --- one -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "identifier",
    [
        "1-1",
        "x",
        "5",
        "5-",
        "-5",
        "5-x",
        "05-1",
        "5-01",
        "99999999999999999999-1",
        f"{2**63}-1",
        "0-0",
        "5-99999999999999999",
        "5-99999999999999999999",
        "%00",
        "5-1%00",
        "%ff",
        "%ed%a0%80",
        "5-1%20",
        "😀",
    ],
)
def test_an_unknown_location_is_a_404(api: APIClient, identifier: str) -> None:
    answer = api.get(f"/api/locations/{identifier}")
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/json"
    assert answer.json()["detail"].startswith("There is no location ")


def test_a_non_canonical_id_is_a_404(api: APIClient, at: Callable[..., str]) -> None:
    identifier = at("2026-05-11T09:30:00Z")
    assert api.get(f"/api/locations/{identifier}").status_code == 200
    assert api.get(f"/api/locations/0{identifier}").status_code == 404
    assert api.get(f"/api/locations/{identifier}?limit=1").status_code == 400


# --- many ----------------------------------------------------------------------------------------


def test_locations_come_ordered_by_time_then_person(
    api: APIClient, at: Callable[..., str], ann: Person, bo: Person
) -> None:
    late, second, first = (
        at("2026-05-11T09:31:00Z"),
        at("2026-05-11T09:30:00Z", of=bo),
        at("2026-05-11T09:30:00Z"),
    )
    assert ids(api.get(f"/api/locations?start={DAY}&end={DAY}")) == [first, second, late]
    assert ids(api.get(f"/api/locations?person_id={ann.pk}")) == [first, late]
    assert ids(api.get("/api/locations?limit=10")) == [first, second, late]


@pytest.mark.parametrize("query", ["", "?start=2026-05-11", "?end=2026-05-11", "?bbox=0,0,1,1"])
def test_one_of_person_range_or_limit_is_required(api: APIClient, query: str) -> None:
    answer = api.get(f"/api/locations{query}")
    assert answer.status_code == 400
    required = "One of person_id, start with end, or limit is required."
    assert answer.json() == {"non_field_errors": [required]}


@pytest.mark.parametrize("person_id", [0, -1, 999_999_999, 2**63 - 1, 2**63, 10**30])
def test_an_unknown_person_has_no_locations(api: APIClient, at: Callable[..., str], person_id: int) -> None:
    at("2026-05-11T09:30:00Z")
    assert ids(api.get(f"/api/locations?person_id={person_id}")) == []
    assert ids(api.get(f"/api/locations?person_id={person_id}&limit=5")) == []


# --- ranges --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        ("2026-05-11", "2026-05-11", "bcd"),
        ("2026-05-10", "2026-05-11", "abcd"),
        ("2026-05-11", "2026-05-12", "bcde"),
        ("2026-05-12", "2026-05-12", "e"),
        ("2026-05-13", "2026-05-13", ""),
        ("2026-05-11T00:00:00Z", "2026-05-12T00:00:00Z", "bcd"),
        ("2026-05-11T09:30:00Z", "2026-05-11T09:30:00Z", ""),
        ("2026-05-11T09:30:00Z", "2026-05-11T09:30:00.000001Z", "c"),
        ("2026-05-11T09:30:00.000001Z", "2026-05-11", "d"),
        ("2026-05-11T11:30:00+02:00", "2026-05-11T11:31:00+02:00", "c"),
        ("2026-05-11 9:30", "2026-05-11 9:31", "c"),
        ("2026-05-11T09:00", "2026-05-11", "cd"),
        ("2026-05-11", "2026-05-11T09:30:00Z", "b"),
        ("0001-01-01", "9999-12-31", "abcde"),
    ],
)
def test_ranges_include_the_start_exclude_the_end_and_dates_are_utc_days(
    api: APIClient, at: Callable[..., str], start: str, end: str, found: str
) -> None:
    stored = {
        "a": at("2026-05-10T23:59:59.999999Z"),
        "b": at("2026-05-11T00:00:00Z"),
        "c": at("2026-05-11T09:30:00Z"),
        "d": at("2026-05-11T23:59:59.999999Z"),
        "e": at("2026-05-12T00:00:00Z"),
    }
    query = {"start": start, "end": end}
    assert ids(api.get("/api/locations", query)) == [stored[name] for name in found]


def test_a_plus_that_became_a_space_is_read_as_a_plus(api: APIClient, at: Callable[..., str]) -> None:
    identifier = at("2026-05-11T09:30:00Z")
    bare = "/api/locations?start=2026-05-11T11:30:00+02:00&end=2026-05-11 11:30:01 02:00"
    assert ids(api.get(bare)) == [identifier]
    escaped = f"/api/locations?start={quote('2026-05-11T11:30:00+02:00')}&end={DAY}"
    assert ids(api.get(escaped)) == [identifier]


def test_one_bound_is_enough_with_a_person_or_a_limit(
    api: APIClient, at: Callable[..., str], ann: Person
) -> None:
    early, late = at("2026-05-11T09:30:00Z"), at("2026-05-11T09:31:00Z")
    assert ids(api.get(f"/api/locations?person_id={ann.pk}&start=2026-05-11T09:31:00Z")) == [late]
    assert ids(api.get("/api/locations?limit=9&end=2026-05-11T09:31:00Z")) == [early]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-05-13", "2026-05-11"),
        ("2026-05-11T09:30:01Z", "2026-05-11T09:30:00Z"),
        ("2027-01-01", DAY),
        ("2026-05-12", DAY),  # the day after
        (" 2026-05-12 ", f" {DAY}"),
        ("9999-12-31", "9999-12-30"),
        ("2026-05-12T00:00:00.000001Z", DAY),
    ],
)
def test_start_after_end_is_a_400(api: APIClient, start: str, end: str) -> None:
    answer = api.get("/api/locations", {"start": start, "end": end})
    assert (answer.status_code, answer.json()) == (400, {"start": ["Must not be after end."]})


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-05-12T00:00:00Z", DAY),
        ("2026-05-12", "2026-05-12T00:00:00Z"),
        ("2026-05-12T00:00:00Z", "2026-05-12T02:00:00+02:00"),
    ],
)
def test_a_range_of_equal_instants_is_empty(
    api: APIClient, at: Callable[..., str], start: str, end: str
) -> None:
    at("2026-05-12T00:00:00Z")
    answer = api.get("/api/locations", {"start": start, "end": end})
    assert (answer.status_code, answer.json()) == (200, [])


# --- boxes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bbox", "found"),
    [
        ("13,52,14,53", ["berlin"]),
        ("13.4,52.5,13.4,52.5", ["berlin"]),
        ("13.4,52.5,180,53", ["berlin"]),
        ("13.40000001,52.5,180,53", []),
        ("-180,-90,180,90", ["berlin", "fiji east", "fiji west", "null island", "pole", "dateline"]),
        ("170,-20,-170,-10", ["fiji east", "fiji west", "dateline"]),
        ("170,-20,180,-10", ["fiji east", "dateline"]),
        ("-180,-20,-170,-10", ["fiji west"]),
        ("180,-90,-180,90", ["dateline"]),
        ("0,0,0,0", ["null island"]),
        ("-0,-0.0,+0,.0", ["null island"]),
        ("-180,90,180,90", ["pole"]),
        (" 13, 52, 14, 53 ", ["berlin"]),
        ("1.3e1,52,14,53", ["berlin"]),
        ("20,52,14,53", ["berlin"]),
        ("14,52,13,53", []),
    ],
)
def test_a_bbox_includes_its_borders_and_may_cross_the_antimeridian(
    api: APIClient, at: Callable[..., str], bbox: str, found: list[str]
) -> None:
    places = {
        "berlin": (13.4, 52.5),
        "fiji east": (179.5, -17),
        "fiji west": (-179.5, -17),
        "null island": (0, 0),
        "pole": (77, 90),
        "dateline": (180, -15),
    }
    stored = {
        name: at(f"2026-05-11T09:30:0{second}Z", longitude=longitude, latitude=latitude)
        for second, (name, (longitude, latitude)) in enumerate(places.items())
    }
    expected = [stored[name] for name in places if name in found]
    assert ids(api.get("/api/locations", {"bbox": bbox, "limit": 100})) == expected
    assert ids(api.get("/api/locations", {"bbox": bbox, "start": DAY, "end": DAY})) == expected


@pytest.mark.parametrize(
    "bbox",
    [
        "",
        "1,2,3",
        "1,2,3,4,5",
        "1,2,3,x",
        "1,2,3,nan",
        "1,2,3,inf",
        "1,2,,4",
        "-181,0,0,0",
        "0,0,181,0",
        "0,-91,0,0",
        "0,0,0,91",
        "0,1,0,0",
        "0;0;0;0",
        "[0,0,0,0]",
        "0,0,0,0\x00",
        "0,0,0,٤",
    ],
)
def test_an_invalid_bbox_is_refused(api: APIClient, bbox: str) -> None:
    answer = api.get("/api/locations", {"bbox": bbox, "limit": 5})
    assert answer.status_code == 400
    assert list(answer.json()) == ["bbox"]


# --- bad questions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("person_id=x", "person_id"),
        ("person_id=", "person_id"),
        ("person_id=1.5", "person_id"),
        ("person_id=true", "person_id"),
        (f"person_id={'9' * 41}", "person_id"),
        (f"person_id={'9' * 5000}", "person_id"),
        ("person_id=1&person_id=2", "person_id"),
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        (f"limit={2**63}", "limit"),
        ("limit=1&start=yesterday", "start"),
        ("limit=1&start=2026-02-30", "start"),
        ("limit=1&start=", "start"),
        ("limit=1&start=2026-05-11T25:00", "start"),
        ("limit=1&start=2026-05-11%00", "start"),
        ("limit=1&end=0000-00-00", "end"),
        ("limit=1&end=1", "end"),
        ("limit=1&after=x", "after"),
        ("limit=1&after=WzVd", "after"),  # [5]
        ("limit=1&after=WyJ4Iiw1XQ", "after"),  # ["x", 5]
        ("limit=1&after=bnVsbA", "after"),  # null
        ("limit=1&after=eyJhIjo1fQ", "after"),  # {"a": 5}
        ("limit=1&stop=2026-05-11", "stop"),
        ("limit=1&order=latest", "order"),
        ("limit=1&order=", "order"),
        ("limit=1&order=newest&order=newest", "order"),
        ("limit=1&%00=1", "\0"),
        ("limit=1&%ED%A0%80=1", "\ufffd" * 3),
    ],
    ids=lambda text: text[:30],
)
def test_an_invalid_parameter_is_named_in_the_400(api: APIClient, query: str, fault: str) -> None:
    answer = api.get(f"/api/locations?{query}")
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/json"
    assert list(answer.json()) == [fault]


@pytest.mark.parametrize("query", ["limit=5&format=json", "format=json&limit=5"])
def test_the_format_parameter_is_accepted(api: APIClient, query: str) -> None:
    assert ids(api.get(f"/api/locations?{query}")) == []


# --- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
@pytest.mark.parametrize("order", ["", "oldest", "newest"])
@pytest.mark.parametrize(
    "query",
    ["person_id={ann}", "start=2026-05-11&end=2026-06-30", "bbox=0,0,5,5", "bbox=0,0,5,5&start=0001-01-01"],
)
def test_all_pages_together_are_the_whole_list(
    api: APIClient,
    at: Callable[..., str],
    ann: Person,
    bo: Person,
    walk: Callable[[str], list[list[Any]]],
    query: str,
    order: str,
    limit: int,
) -> None:
    """Two people at the same instants, microseconds apart and months apart."""
    for moment in ["2026-05-11T09:30:00Z", "2026-05-11T09:30:00.000001Z", "2026-06-30T23:59:59.999999Z"]:
        at(moment)
        at(moment, of=bo)
    query = query.format(ann=ann.pk)
    if order:
        query += f"&order={order}"
    [whole] = walk(f"/api/locations?{query}&limit=10000")
    pages = walk(f"/api/locations?{query}&limit={limit}")
    assert [one for page in pages for one in page] == whole
    assert {len(page) for page in pages[:-1]} <= {limit}
    assert len(whole) == (3 if "person_id" in query else 6)


def test_listing_is_one_statement(
    api: APIClient, at: Callable[..., str], django_assert_num_queries: Any
) -> None:
    at("2026-05-11T09:30:00Z")
    with django_assert_num_queries(3):  # two for the savepoint around the cursor
        api.get("/api/locations?limit=10")
