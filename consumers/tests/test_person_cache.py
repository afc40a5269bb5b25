"""Who is remembered to exist, for how long, and what happens while persons is away."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from connect.errors import NeighbourUnavailable
from consumers.person_cache import AGAIN_S, FRESH_S, KnownPersons
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
def away(settings: Any, free_port: int) -> Any:
    """Call it, and persons is away; again, and it is back."""

    def switch() -> None:
        local = settings.PERSONS_URL == "local:"
        settings.PERSONS_URL = f"http://127.0.0.1:{free_port}" if local else "local:"

    return switch


def test_a_batch_is_one_question(known: KnownPersons):
    with CaptureQueriesContext(connection) as asked:
        assert known.among([3, 1, 3, 77, 2**63 - 1]) == {1, 3}

    assert len(asked) == 1


def test_who_was_found_is_not_asked_about_for_a_minute(known: KnownPersons, clock: Clock):
    known.among([1, 2])
    persons.delete(2)
    clock.now += FRESH_S - 0.1

    with CaptureQueriesContext(connection) as asked:
        assert known.among([1, 2]) == {1, 2}
    assert len(asked) == 0

    clock.now += 0.1
    assert known.among([1, 2]) == {1}


def test_who_was_not_found_is_asked_about_each_time(known: KnownPersons):
    assert known.among([10]) == set()

    somebody = persons.create(first_name="New", last_name="Here", company_name="C")

    assert somebody.id == 10
    assert known.among([10]) == {10}


def test_nobody_is_no_question(known: KnownPersons):
    with CaptureQueriesContext(connection) as asked:
        assert known.among([]) == set()

    assert len(asked) == 0


def test_while_persons_is_away_who_was_found_is_remembered(known: KnownPersons, clock: Clock, away: Any):
    known.among([1, 2])
    away()
    clock.now += 100 * FRESH_S

    assert known.among([2, 1]) == {1, 2}
    with pytest.raises(NeighbourUnavailable, match="persons 3"):
        known.among([1, 3])


def test_when_persons_is_back_it_is_asked_again(known: KnownPersons, clock: Clock, away: Any):
    known.among([1, 2])
    away()
    clock.now += FRESH_S
    known.among([1, 2])
    away()
    persons.delete(2)

    assert known.among([1, 2]) == {1, 2}  # just found to be away, it is not asked yet
    clock.now += AGAIN_S
    assert known.among([1, 2, 3]) == {1, 3}


def test_a_database_that_is_away_is_persons_that_are_away(known: KnownPersons, clock: Clock, people: None):
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
    clock.now += AGAIN_S
    assert known.among([1, 2]) == {1, 2}


def test_persons_can_be_a_process_of_its_own(known: KnownPersons, settings: Any):
    with Server(SERVED_APPS="persons,internal", WEB_WORKERS="1") as persons:
        settings.PERSONS_URL = persons.url("")

        assert known.among(range(1, 700)) == set(range(1, 10))


def test_only_so_many_are_remembered(clock: Clock):
    known = KnownPersons(most=3, clock=clock)

    known.among([1, 2, 3])
    clock.now += FRESH_S
    known.among([1])
    known.among([4])

    with CaptureQueriesContext(connection) as asked:
        assert known.among([1, 4]) == {1, 4}
    assert len(asked) == 0
    assert len(known._found) == 3
