"""The cache of known persons: its TTL, its size, and what it serves while persons is away."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from connect.errors import NeighbourUnavailable
from connect.stale_cache import RETRY_S
from consumers.person_cache import FRESH_S, KnownPersons
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
def known(clock: Clock) -> KnownPersons:
    return KnownPersons(clock=clock)


@pytest.fixture
def switch(settings: Any, free_port: int) -> Any:
    """The first call makes persons unreachable, the next call makes it reachable again."""

    def toggle() -> None:
        local = settings.PERSONS_URL == "local:"
        settings.PERSONS_URL = f"http://127.0.0.1:{free_port}" if local else "local:"

    return toggle


def test_a_batch_is_one_query(known: KnownPersons):
    with CaptureQueriesContext(connection) as queries:
        assert known.among([3, 1, 3, 77, 2**63 - 1]) == {1, 3}

    assert len(queries) == 1


def test_a_known_person_is_cached_for_a_minute(known: KnownPersons, clock: Clock):
    known.among([1, 2])
    persons.delete(2)
    clock.now += FRESH_S - 0.1

    with CaptureQueriesContext(connection) as queries:
        assert known.among([1, 2]) == {1, 2}
    assert len(queries) == 0

    clock.now += 0.1
    assert known.among([1, 2]) == {1}


def test_an_unknown_id_is_not_cached(known: KnownPersons):
    assert known.among([10]) == set()

    new = persons.create(first_name="New", last_name="Here", company_name="C")

    assert new.id == 10
    assert known.among([10]) == {10}


def test_an_empty_batch_makes_no_query(known: KnownPersons):
    with CaptureQueriesContext(connection) as queries:
        assert known.among([]) == set()

    assert len(queries) == 0


def test_known_persons_are_served_while_persons_is_away(known: KnownPersons, clock: Clock, switch: Any):
    known.among([1, 2])
    switch()
    clock.now += 100 * FRESH_S

    assert known.among([2, 1]) == {1, 2}
    with pytest.raises(NeighbourUnavailable, match="persons 3"):
        known.among([1, 3])


def test_persons_is_asked_again_after_the_retry_time(known: KnownPersons, clock: Clock, switch: Any):
    known.among([1, 2])
    switch()
    clock.now += FRESH_S
    known.among([1, 2])
    switch()
    persons.delete(2)

    assert known.among([1, 2]) == {1, 2}  # the retry time has not passed yet
    clock.now += RETRY_S
    assert known.among([1, 2, 3]) == {1, 3}


def test_an_unreachable_database_counts_as_persons_being_away(
    known: KnownPersons, clock: Clock, people: None
):
    known.among([1])
    clock.now += FRESH_S
    port = connection.settings_dict["PORT"]
    connection.close()
    try:
        connection.settings_dict["PORT"] = 1
        assert known.among([1]) == {1}
        with pytest.raises(NeighbourUnavailable):
            known.among([2])
    finally:
        connection.settings_dict["PORT"] = port
        connection.close()
    clock.now += RETRY_S
    assert known.among([1, 2]) == {1, 2}


def test_persons_can_be_another_process(known: KnownPersons, settings: Any):
    with Server(SERVED_APPS="persons,internal", WEB_WORKERS="1") as persons:
        settings.PERSONS_URL = persons.url("")

        assert known.among(range(1, 700)) == set(range(1, 10))


def test_the_oldest_entry_is_evicted(clock: Clock):
    known = KnownPersons(max_size=3, clock=clock)

    known.among([1, 2, 3])
    clock.now += FRESH_S
    known.among([1])
    known.among([4])

    with CaptureQueriesContext(connection) as queries:
        assert known.among([1, 4]) == {1, 4}
    assert len(queries) == 0
    assert known._cache.get_many(range(10)).keys() == {1, 3, 4}
