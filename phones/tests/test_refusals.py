"""Counting refused points, in the database and over HTTP between processes: the same counts."""

from collections.abc import Iterator
from typing import Any

import pytest

from access.callers import EVERYBODY
from connect import neighbours
from connect.errors import NeighbourUnavailable
from persons.models import Person
from phones.models import RefusedPoints
from phones.reading import PhoneRequest
from phones.services import APPS, take
from tests.gunicorn_server import Server


@pytest.fixture(scope="module")
def persons(django_db_setup: None) -> Iterator[Server]:
    with Server(SERVED_APPS="persons,internal", WEB_WORKERS="1") as running:
        yield running


@pytest.fixture(params=["local", "http"])
def way(request: pytest.FixtureRequest, persons: Server, settings: Any, transactional_db: None) -> None:
    if request.param == "http":
        settings.PERSONS_URL = persons.url("")


def rows() -> set[tuple[int | None, str, int]]:
    return set(RefusedPoints.objects.values_list("person_id", "reason", "count"))


def test_counts_add_up_by_person_and_reason(way: None, ann: Person) -> None:
    for _ in range(3):
        neighbours.phones().count(
            "osmand", {(ann.id, "a"): 2, (ann.id, "b"): 1, (None, "a"): 5, (999, "a"): 1}
        )
    assert rows() == {(ann.id, "a", 6), (ann.id, "b", 3), (None, "a", 18)}


def test_an_id_with_too_many_digits_is_counted_without_a_person(way: None) -> None:
    body = b'{"_type":"location","lat":91,"lon":2,"tst":1778491800}'
    for user in ("9" * 20, "9" * 40, "-5", "0"):
        assert take(APPS["owntracks"], PhoneRequest(body=body, user=user), EVERYBODY) == []
    assert [(person, count) for person, _, count in rows()] == [(None, 4)]


def test_a_neighbour_that_is_away_counts_nothing(settings: Any, free_port: int) -> None:
    settings.PERSONS_URL = f"http://127.0.0.1:{free_port}"
    with pytest.raises(NeighbourUnavailable):
        neighbours.phones().count("osmand", {(1, "a"): 1})


@pytest.mark.parametrize(
    "body", [{}, [], {"app": "a"}, {"app": "a", "refused": [[1, "a"]]}, {"app": "a", "refused": 5}]
)
def test_a_malformed_count_is_a_400(persons: Server, body: Any) -> None:
    assert persons.post("/internal/refused-points", json=body).status_code == 400
