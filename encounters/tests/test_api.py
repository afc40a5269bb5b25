"""Everybody's encounters over REST: answers, pages, access, errors and the number of statements."""

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import User
from django.contrib.gis.geos import Polygon
from django.http import StreamingHttpResponse
from rest_framework.test import APIClient

from access import services as access
from access.callers import Kind
from access.models import Question
from encounters.tests.stored import NINE, Met, people, store, store_pings
from persons.models import Person
from venue.models import Zone

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("everything_served")]

DAY = "start_date=2026-05-11&end_date=2026-05-11"
LIST, SUMMARY = f"/api/encounters?{DAY}", f"/api/encounters/summary?{DAY}"
GRAPH, CASCADE = f"/api/encounters/graph?{DAY}", f"/api/encounters/cascade?{DAY}"
PATHS = [LIST, f"{SUMMARY}&by=pair", GRAPH, f"{CASCADE}&person_id=1"]


def wire(person_id: int, company: str) -> dict[str, Any]:
    return {"id": person_id, "first_name": f"P{person_id}", "last_name": "Q", "company_name": company}


P1, P2, P3 = wire(1, "Acme"), wire(2, "Brio"), wire(3, "Acme")
MET = [
    Met(1, 2, 0, 1200, latitude=0.0, longitude=-1e-8),
    Met(2, 3, 600, 1800.5),
    Met(1, 2, 3600, 0, ongoing=True),
]


@pytest.fixture(autouse=True)
def _three_people(db: None) -> None:
    people({1: "Acme", 2: "Brio", 3: "Acme"})
    store(MET)


def whole(answer: Any) -> Any:
    assert answer.status_code == 200, answer.content
    return answer.json()


# --- answers -------------------------------------------------------------------------------------


def test_each_pair_of_people_is_listed_once(api: APIClient) -> None:
    first, second, third = whole(api.get(LIST))
    assert first == {
        "persons": [P1, P2],
        "start": "2026-05-11T09:00:00Z",
        "end": "2026-05-11T09:20:00Z",
        "duration_s": 1200.0,
        "pings": 3,
        "min_distance_m": 1.25,
        "latitude": "0.0000000",
        "longitude": "0.0000000",
        "state": "ended",
    }
    assert (second["persons"], second["duration_s"]) == ([P2, P3], 1800.5)
    assert (third["start"], third["state"]) == ("2026-05-11T10:00:00Z", "ongoing")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("&person_id=3", [1]),
        ("&company=Acme", [0, 1, 2]),
        ("&company=%20Acme%20", [0, 1, 2]),
        ("&company=acme", []),
        ("&min_duration=1200", [0, 1]),
        ("&min_duration=1800.5", [1]),
        ("&min_duration=1e300", []),
        ("&zone=5", [0]),
        ("&zone=6", [1, 2]),
        ("&zone=6&person_id=1&company=Brio", [2]),
        ("&limit=2", [0, 1]),
    ],
)
def test_filters(api: APIClient, query: str, found: list[int]) -> None:
    for number, (west, south) in {5: (-1, -1), 6: (13, 52)}.items():
        Zone.objects.create(
            id=number, name="Z", kind="hall", area=Polygon.from_bbox((west, south, west + 1, south + 1))
        )
    expected = [f"{MET[nth].start:%Y-%m-%dT%H:%M:%SZ}" for nth in found]
    assert [each["start"] for each in whole(api.get(LIST + query))] == expected


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        (
            "pair",
            [
                {"persons": [P2, P3], "meetings": 1, "people": 2, "seconds": 1800.5},
                {"persons": [P1, P2], "meetings": 2, "people": 2, "seconds": 1200.0},
            ],
        ),
        (
            "person",
            [
                {"person": P2, "meetings": 3, "people": 2, "seconds": 3000.5},
                {"person": P3, "meetings": 1, "people": 1, "seconds": 1800.5},
                {"person": P1, "meetings": 2, "people": 1, "seconds": 1200.0},
            ],
        ),
        (
            "company",
            [{"companies": ["Acme", "Brio"], "meetings": 3, "people": 3, "seconds": 3000.5, "pairs": 2}],
        ),
        (
            "hour",
            [
                {"hour": "2026-05-11T09:00:00Z", "meetings": 2, "people": 3, "seconds": 3000.5},
                {"hour": "2026-05-11T10:00:00Z", "meetings": 1, "people": 2, "seconds": 0.0},
            ],
        ),
        (
            "attendee",
            [
                {"person": P2, "meetings": 3, "people": 2, "seconds": 3000.5}
                | {"first": "2026-05-11T09:00:00Z", "last": "2026-05-11T09:00:00Z"},
                {"person": P1, "meetings": 2, "people": 1, "seconds": 1200.0}
                | {"first": "2026-05-11T08:59:59Z", "last": "2026-05-11T09:00:00Z"},
            ],
        ),
        (
            "quarter_hour",
            [
                {"quarter_hour": f"2026-05-11T{time}:00Z", "meetings": meetings, "people": people}
                | {"seconds": seconds, "present": present, "arrived": arrived}
                for time, meetings, people, seconds, present, arrived in (
                    ("08:45", 0, 0, 0.0, 1, 1),
                    ("09:00", 2, 3, 1200.0, 2, 1),
                    ("09:15", 2, 3, 1200.0, 0, 0),
                    ("09:30", 1, 2, 600.5, 0, 0),
                    ("10:00", 1, 2, 0.0, 0, 0),
                )
            ],
        ),
    ],
)
def test_sums(api: APIClient, by: str, groups: list[dict[str, Any]]) -> None:
    store_pings([(1, NINE - timedelta(seconds=1)), (1, NINE), (2, NINE)])
    assert whole(api.get(f"{SUMMARY}&by={by}")) == groups
    assert whole(api.get(f"{SUMMARY}&by={by}&limit=1")) == groups[:1]


def test_colleagues_are_a_cell_of_the_matrix_of_companies(api: APIClient) -> None:
    store([*MET, Met(1, 3, 0, 9000)])
    cells = whole(api.get(f"{SUMMARY}&by=company"))
    assert [(each["companies"], each["people"]) for each in cells] == [
        (["Acme", "Acme"], 2),
        (["Acme", "Brio"], 3),
    ]


def test_a_cascade_has_the_path_and_the_earliest_time(api: APIClient) -> None:
    first = {"from_id": 1, "to_id": 2, "start": "2026-05-11T09:00:00Z", "end": "2026-05-11T09:20:00Z"}
    first["time"] = "2026-05-11T09:15:00Z"
    second = {"from_id": 2, "to_id": 3, "start": "2026-05-11T09:10:00Z", "end": "2026-05-11T09:40:00.500000Z"}
    second["time"] = "2026-05-11T09:30:00Z"
    of_p2 = {"person": P2, "time": "2026-05-11T09:15:00Z", "generation": 1, "path": [first]}
    of_p3 = {"person": P3, "time": "2026-05-11T09:30:00Z", "generation": 2, "path": [first, second]}
    assert whole(api.get(f"{CASCADE}&person_id=1")) == [of_p2, of_p3]
    assert whole(api.get(f"{CASCADE}&person_id=1&depth=1")) == [of_p2]
    assert whole(api.get(f"{CASCADE}&person_id=1&depth=5")) == [of_p2, of_p3]
    assert whole(api.get(f"{CASCADE}&person_id=1&min_duration=1201")) == []
    # Back in time: 3 met 2 only after the long time of 2 with 1.
    back = whole(api.get(f"{CASCADE}&person_id=3&min_duration=600"))
    assert [(each["person"]["id"], each["time"]) for each in back] == [(2, "2026-05-11T09:20:00Z")]


@pytest.mark.parametrize("path", [*PATHS, f"{SUMMARY}&by=person", f"{SUMMARY}&by=company"])
def test_hidden_people_are_in_no_answer(api: APIClient, path: str) -> None:
    Person.objects.filter(id=2).update(findable=False)
    answer = whole(api.get(path))
    assert answer == [] or answer["nodes"] == answer["edges"] == []


def test_a_hidden_person_passes_nothing_on_and_has_no_list(api: APIClient) -> None:
    store([Met(1, 2, 0, 1200), Met(2, 3, 1200, 2000), Met(1, 3, 9000, 900)])
    assert [each["generation"] for each in whole(api.get(f"{CASCADE}&person_id=1"))] == [1, 2]
    Person.objects.filter(id=2).update(findable=False)
    [reached] = whole(api.get(f"{CASCADE}&person_id=1"))
    assert (reached["person"], reached["generation"]) == (P3, 1)
    for path in (f"{CASCADE}&person_id=2", f"{LIST}&person_id=2"):
        assert whole(api.get(path)) == []


def test_encounters_belong_to_the_range_in_which_they_start(api: APIClient) -> None:
    query = "?start_date=2026-05-11T09:10:00Z&end_date=2026-05-11T10:00:00Z&by=hour"
    assert [each["meetings"] for each in whole(api.get(f"/api/encounters/summary{query}"))] == [1]


def test_an_empty_range_is_an_empty_answer(api: APIClient) -> None:
    for path in PATHS:
        answer = whole(api.get(path.replace("2026-05-11", "2026-05-12")))
        assert answer == [] or answer["nodes"] == []


# --- pages and streams ---------------------------------------------------------------------------


def test_pages_are_the_whole_list(api: APIClient, walk: Callable[[str], list[list[Any]]]) -> None:
    people(dict.fromkeys(range(1, 10), "Acme"))
    store([Met(a, b, at, 60) for a in range(1, 9) for b in range(a + 1, 10) for at in (0, 100)])
    expected = whole(api.get(LIST))
    assert len(expected) == 72
    for query in ("", "&person_id=4", "&company=Acme&min_duration=60"):
        pages = walk(f"{LIST}{query}&limit=5")
        assert [each for page in pages for each in page] == whole(api.get(LIST + query))
        assert all(len(page) == 5 for page in pages[:-1])


@pytest.mark.parametrize("path", [LIST, f"{SUMMARY}&by=pair", GRAPH, f"{GRAPH}&format=gexf"])
def test_a_long_answer_is_streamed_and_whole(api: APIClient, path: str) -> None:
    people(dict.fromkeys(range(1, 101), "Acme"))
    store([Met(a, b, 0, 60) for a in range(1, 100) for b in range(a + 1, 101)])
    answer = api.get(path)
    assert isinstance(answer, StreamingHttpResponse)
    with closing(answer):
        assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
        body = b"".join(answer)
    if "gexf" in path:
        assert (body.count(b"<node "), body.count(b"<edge ")) == (100, 4950)
    elif path == GRAPH:
        graph = orjson.loads(body)
        assert (len(graph["nodes"]), len(graph["edges"])) == (100, 4950)
    else:
        assert len(orjson.loads(body)) == 4950


def test_a_page_for_people_shows_the_first_100(api: APIClient) -> None:
    store([Met(1, 2, at, 0) for at in range(150)])
    page = api.get(LIST, headers={"accept": "text/html"})
    assert page.content.count(b"&quot;duration_s&quot;") == 100
    for path in PATHS:
        assert api.get(path, headers={"accept": "text/html"}).status_code == 200


def test_people_who_are_deleted_meanwhile_are_left_out(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from persons import services  # noqa: PLC0415 - the neighbour

    real = services.get_many
    monkeypatch.setattr(
        services, "get_many", lambda ids: {key: one for key, one in real(ids).items() if key != 3}
    )
    assert [each["persons"] for each in whole(api.get(LIST))] == [[P1, P2], [P1, P2]]
    assert [each["persons"] for each in whole(api.get(f"{SUMMARY}&by=pair"))] == [[P1, P2]]
    graph = whole(api.get(GRAPH))
    assert (graph["nodes"], [each["target"] for each in graph["edges"]]) == ([P1, P2], [2])
    assert [each["person"] for each in whole(api.get(f"{CASCADE}&person_id=1"))] == [P2]


# --- statements, access, errors ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "statements"),
    [
        (LIST, 2),
        (f"{LIST}&person_id=1&company=Acme", 2),
        (f"{LIST}&zone=5", 3),
        (f"{SUMMARY}&by=pair", 2),
        (f"{SUMMARY}&by=person", 2),
        (f"{SUMMARY}&by=company", 1),
        (f"{SUMMARY}&by=hour", 1),
        (GRAPH, 2),
        (f"{CASCADE}&person_id=1&depth=5", 2),
    ],
)
def test_a_question_is_one_statement_and_one_for_the_people(
    api: APIClient, django_assert_num_queries: Any, path: str, statements: int
) -> None:
    Zone.objects.create(id=5, name="Z", kind="hall", area=Polygon.from_bbox((-1, -1, 80, 80)))
    with django_assert_num_queries(2 + statements):  # two for the savepoint around the cursor
        assert whole(api.get(path))


@pytest.mark.parametrize(("kind", "status"), [(Kind.PERSON, 403), (Kind.INGEST, 403), (Kind.SERVICE, 403)])
@pytest.mark.parametrize("path", PATHS)
def test_only_staff_may_ask(api: APIClient, settings: Any, path: str, kind: Kind, status: int) -> None:
    settings.ACCESS = "tokens"
    assert api.get(path).status_code == 401
    of_person = {} if kind is Kind.SERVICE else {"first_person_id": 1}
    _, token = access.make(name="one", kind=kind, **of_person)
    assert api.get(path, headers={"authorization": f"Bearer {token}"}).status_code == status


@pytest.mark.parametrize("path", PATHS)
def test_staff_may_ask_and_the_question_is_in_the_audit_log(api: APIClient, settings: Any, path: str) -> None:
    settings.ACCESS = "tokens"
    user = User.objects.create_superuser("organiser")
    _, token = access.make(name="staff", kind=Kind.STAFF, user=user)
    whole(api.get(path, headers={"authorization": f"Bearer {token}"}))
    [asked] = Question.objects.all()
    assert asked.what in (
        *("GET all-encounters", "GET encounters-summary", "GET encounters-graph", "GET encounters-cascade"),
    )
    assert asked.person_id == (1 if "person_id" in path else None)
    assert asked.range_end - asked.range_start == timedelta(days=1)
    assert asked.outcome == "200"


@pytest.mark.parametrize(
    ("path", "errors"),
    [
        *((path.partition("?")[0], {"start_date": ["This field is required."]}) for path in PATHS),
        *((f"{path}&colour=red", {"colour": ["Unknown parameter."]}) for path in PATHS),
        *(
            (
                f"{path}&min_duration=-1",
                {"min_duration": ["Ensure this value is greater than or equal to 0."]},
            )
            for path in PATHS
        ),
        *(
            (
                path.replace("start_date=2026-05-11", "start_date=2026-05-12"),
                {"start_date": ["Must not be after end_date."]},
            )
            for path in PATHS
        ),
        (f"{LIST}&limit=0", {"limit": ["Ensure this value is greater than or equal to 1."]}),
        (f"{LIST}&limit=10001", {"limit": ["Ensure this value is less than or equal to 10000."]}),
        (f"{LIST}&after=x", {"after": ["Must be a cursor from the `Link` header of a page."]}),
        (f"{LIST}&company=", {"company": ["This field may not be blank."]}),
        (f"{LIST}&company=%00", {"company": ["Null characters are not allowed."]}),
        (f"{LIST}&zone=hall", {"zone": ["A valid integer is required."]}),
        (f"{LIST}&person_id=ann", {"person_id": ["A valid integer is required."]}),
        (SUMMARY, {"by": ["This field is required."]}),
        (
            f"{SUMMARY}&by=day",
            {"by": ["Must be one of pair, person, attendee, company, hour, quarter_hour."]},
        ),
        (CASCADE, {"person_id": ["This field is required."]}),
        (f"{CASCADE}&person_id=1&depth=0", {"depth": ["Ensure this value is greater than or equal to 1."]}),
        (f"{CASCADE}&person_id=1&depth=6", {"depth": ["Ensure this value is less than or equal to 5."]}),
    ],
)
def test_a_bad_parameter_is_a_400_that_names_it(api: APIClient, path: str, errors: dict[str, Any]) -> None:
    answer = api.get(path)
    assert answer.status_code == 400
    assert {name: answer.json()[name] for name in errors} == errors


def test_a_range_has_a_maximum(api: APIClient, settings: Any) -> None:
    settings.MAX_RANGE_DAYS = 1
    for path in PATHS:
        whole(api.get(path))
        answer = api.get(path.replace("end_date=2026-05-11", "end_date=2026-05-12"))
        assert (answer.status_code, list(answer.json())) == (400, ["end_date"])


@pytest.mark.parametrize("unknown", [0, -1, 99, 2**63 - 1, 2**63, 10**30])
def test_what_does_not_exist_is_a_404(api: APIClient, unknown: int) -> None:
    for path in (LIST, CASCADE):
        answer = api.get(f"{path}&person_id={unknown}")
        assert (answer.status_code, answer.json()) == (404, {"detail": f"There is no person {unknown}."})
    answer = api.get(f"{LIST}&zone={unknown}")
    assert (answer.status_code, answer.json()) == (404, {"detail": f"There is no zone {unknown}."})


def test_a_company_that_does_not_exist_has_no_encounters(api: APIClient) -> None:
    assert whole(api.get(f"{LIST}&company=Nobody")) == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_other_verbs(api: APIClient, path: str, accept: str) -> None:
    for verb in ("post", "put", "patch", "delete"):
        assert getattr(api, verb)(path, headers={"accept": accept}).status_code == 405
    assert api.options(path, headers={"accept": accept}).status_code == 200
    assert api.head(path, headers={"accept": accept}).status_code == 200
    assert api.get(path, headers={"accept": "image/png"}).status_code == 406
