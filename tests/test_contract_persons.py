"""One contract for persons, whichever way they are asked: the same assertions over every implementation."""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from connect.errors import NeighbourUnavailable
from persons import http_client, services
from persons.models import Person
from persons.services import Person as Data
from tests.gunicorn_server import Server

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def persons_process(django_db_setup: None) -> Iterator[Server]:
    with Server(SERVED_APPS="persons,internal", WEB_WORKERS="1") as running:
        yield running


@pytest.fixture(params=["local", "http"])
def persons(request: pytest.FixtureRequest, settings: Any) -> ModuleType:
    if request.param == "local":
        return services
    settings.PERSONS_URL = request.getfixturevalue("persons_process").url("")
    return http_client


def test_those_who_exist_come_by_id_with_their_names(persons: ModuleType, person: Callable[..., Person]):
    ann = person("Ann ✓", "Lee & Co", "a b+c%")
    bo = person("Bo")

    found = persons.get_many([bo.id, ann.id, ann.id, ann.id + 1000])

    assert found == {
        ann.id: Data(ann.id, "Ann ✓", "Lee & Co", "a b+c%"),
        bo.id: Data(bo.id, "Bo", "Lee", "Acme"),
    }


def test_who_is_not_to_be_found_comes_too_for_whoever_has_the_id(
    persons: ModuleType, person: Callable[..., Person]
):
    hidden = person("Hide")
    services.set_findable(hidden.id, findable=False)

    assert persons.get_many([hidden.id]) == {hidden.id: Data(hidden.id, "Hide", "Lee", "Acme")}


def test_who_is_findable(persons: ModuleType, person: Callable[..., Person]):
    hidden, ann = person("Hide"), person("Ann")
    services.set_findable(hidden.id, findable=False)

    found = persons.findable([hidden.id, ann.id, ann.id + 1000, 0, 10**40])
    assert found == {ann.id: Data(ann.id, "Ann", "Lee", "Acme")}


@pytest.mark.parametrize("ids", [[], [0, -1], [2**63], [10**40], [2**63 - 1]])
def test_ids_of_nobody_are_simply_absent(persons: ModuleType, ids: list[int]):
    assert persons.get_many(ids) == {}


def test_a_thousand_at_a_time(persons: ModuleType):
    Person.objects.bulk_create(
        [Person(first_name=f"P{n}", last_name="L", company_name="C") for n in range(1000)]
    )
    ids = list(Person.objects.values_list("id", flat=True))

    assert persons.get_many(ids).keys() == set(ids)


def test_a_persons_process_that_is_away_is_said_to_be(settings: Any, free_port: int):
    settings.PERSONS_URL = f"http://127.0.0.1:{free_port}"

    with pytest.raises(NeighbourUnavailable):
        http_client.get_many([1])


def test_a_process_that_does_not_serve_them_is_no_proof_that_there_is_nobody(
    settings: Any, server: Server, ann: Person
):
    settings.PERSONS_URL = server.url("")  # the default apps: nothing internal

    with pytest.raises(NeighbourUnavailable):
        http_client.get_many([ann.id])
