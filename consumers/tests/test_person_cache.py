"""The cache of existing person ids: TTL, stale ids while persons is unavailable, maximum size."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from connect.errors import NeighbourUnavailable
from connect.stale_cache import RETRY_S
from consumers.person_cache import TTL_S, PersonCache
from persons import services as persons
from tests.gunicorn_server import Server

pytestmark = pytest.mark.usefixtures("people")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def person_cache(clock: Clock) -> PersonCache:
    return PersonCache(clock=clock)


@pytest.fixture
def toggle_persons(settings: Any, free_port: int) -> Any:
    """A function that makes the persons service unavailable, and available again at the next call."""

    def toggle() -> None:
        local = settings.PERSONS_URL == "local:"
        settings.PERSONS_URL = f"http://127.0.0.1:{free_port}" if local else "local:"

    return toggle


def test_a_batch_is_one_query(person_cache: PersonCache):
    with CaptureQueriesContext(connection) as queries:
        assert person_cache.existing([3, 1, 3, 77, 2**63 - 1]) == {1, 3}

    assert len(queries) == 1


def test_existing_ids_are_cached_for_the_ttl(person_cache: PersonCache, clock: Clock):
    person_cache.existing([1, 2])
    persons.delete(2)
    clock.now += TTL_S - 0.1

    with CaptureQueriesContext(connection) as queries:
        assert person_cache.existing([1, 2]) == {1, 2}
    assert len(queries) == 0

    clock.now += 0.1
    assert person_cache.existing([1, 2]) == {1}


def test_missing_ids_are_not_cached(person_cache: PersonCache):
    assert person_cache.existing([10]) == set()

    person = persons.create(first_name="New", last_name="Here", company_name="C")

    assert person.id == 10
    assert person_cache.existing([10]) == {10}


def test_no_ids_need_no_query(person_cache: PersonCache):
    with CaptureQueriesContext(connection) as queries:
        assert person_cache.existing([]) == set()

    assert len(queries) == 0


def test_stale_ids_are_served_while_persons_is_unavailable(
    person_cache: PersonCache, clock: Clock, toggle_persons: Any
):
    person_cache.existing([1, 2])
    toggle_persons()
    clock.now += 100 * TTL_S

    assert person_cache.existing([2, 1]) == {1, 2}
    with pytest.raises(NeighbourUnavailable, match="persons 3"):
        person_cache.existing([1, 3])


def test_persons_is_asked_again_after_the_retry_interval(
    person_cache: PersonCache, clock: Clock, toggle_persons: Any
):
    person_cache.existing([1, 2])
    toggle_persons()
    clock.now += TTL_S
    person_cache.existing([1, 2])
    toggle_persons()
    persons.delete(2)

    assert person_cache.existing([1, 2]) == {1, 2}  # no query before the retry interval
    clock.now += RETRY_S
    assert person_cache.existing([1, 2, 3]) == {1, 3}


def test_stale_ids_are_served_while_the_database_is_unavailable(
    person_cache: PersonCache, clock: Clock, people: None
):
    person_cache.existing([1])
    clock.now += TTL_S
    port = connection.settings_dict["PORT"]
    connection.close()
    try:
        connection.settings_dict["PORT"] = 1
        assert person_cache.existing([1]) == {1}
        with pytest.raises(NeighbourUnavailable):
            person_cache.existing([2])
    finally:
        connection.settings_dict["PORT"] = port
        connection.close()
    clock.now += RETRY_S
    assert person_cache.existing([1, 2]) == {1, 2}


def test_persons_can_be_a_separate_process(person_cache: PersonCache, settings: Any):
    with Server(SERVED_APPS="persons,internal", WEB_WORKERS="1") as persons:
        settings.PERSONS_URL = persons.url("")

        assert person_cache.existing(range(1, 700)) == set(range(1, 10))


def test_the_cache_has_a_maximum_size(clock: Clock):
    person_cache = PersonCache(max_ids=3, clock=clock)

    person_cache.existing([1, 2, 3])
    clock.now += TTL_S
    person_cache.existing([1])
    person_cache.existing([4])

    with CaptureQueriesContext(connection) as queries:
        assert person_cache.existing([1, 4]) == {1, 4}
    assert len(queries) == 0
    assert len(person_cache) == 3
