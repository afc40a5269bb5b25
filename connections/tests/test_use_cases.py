"""The use cases of connections: what each kind of caller may ask."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied

from access.callers import EVERYBODY, Caller, Kind
from connect.errors import OutOfBounds, UnknownPerson
from connections import services
from locations.pings import Ping
from locations.storage import record
from persons.models import Person

pytestmark = pytest.mark.django_db

NINE = datetime(2026, 5, 11, 9, tzinfo=UTC)
DAY = {"start": NINE, "end": NINE + timedelta(hours=8)}
STAFF, SERVICE = Caller(Kind.STAFF, "user admin"), Caller(Kind.SERVICE, "token 1")


def token_of(person: Person) -> Caller:
    return Caller(Kind.PERSON, "token 2", (person.pk, person.pk))


@pytest.fixture
def meeting(ann: Person, bo: Person) -> None:
    """Ann and Bo stand together for two minutes. Later, for two minutes, Ann jumps to Bo and away again."""
    record([Ping(ann.pk, NINE + timedelta(seconds=s), 0, 0) for s in range(0, 121, 10)])
    record([Ping(bo.pk, NINE + timedelta(seconds=s), 0, 0) for s in range(0, 121, 10)])
    later = NINE + timedelta(hours=1)
    record([Ping(ann.pk, later + timedelta(seconds=s), 0, 0.01 * (s // 10 % 2)) for s in range(0, 121, 10)])
    record([Ping(bo.pk, later + timedelta(seconds=s), 0, 0) for s in range(0, 121, 10)])


def durations(caller: Caller, person: Person, **asked: Any) -> list[float]:
    return [each.duration_s for each in services.encounters(caller, person_id=person.pk, **DAY, **asked)]


def test_a_persons_token_gets_encounters_of_plausible_pings_only(
    ann: Person, bo: Person, meeting: None
) -> None:
    assert durations(STAFF, ann) == durations(SERVICE, ann) == durations(EVERYBODY, ann) == [120, 120]
    assert durations(token_of(ann), ann) == [120]
    assert durations(SERVICE, ann, plausible_only=True, min_duration_s=60) == [120]
    assert durations(token_of(bo), bo) == [120, 120]  # Bo did not jump


@pytest.mark.parametrize(
    ("name", "good", "bad", "allowed"),
    [
        ("distance_m", 10, 10.0001, "Must be at most 10 for a person's token."),
        ("distance_m", 0.001, 0, "Must be more than 0 for a person's token."),
        ("distance_m", 5, float("nan"), "Must be more than 0 for a person's token."),
        ("within_s", 60, 60.0001, "Must be at most 60 for a person's token."),
        ("max_gap_s", 120, 120.0001, "Must be at most 120 for a person's token."),
        ("min_duration_s", 60, 59.9999, "Must be at least 60 for a person's token."),
        ("min_duration_s", 61, 0, "Must be at least 60 for a person's token."),
    ],
)
def test_a_persons_token_has_narrow_bounds(
    ann: Person, meeting: None, name: str, good: float, bad: float, allowed: str
) -> None:
    durations(token_of(ann), ann, **{name: good})
    with pytest.raises(OutOfBounds) as raised:
        durations(token_of(ann), ann, **{name: bad})
    assert raised.value.errors == {name: [allowed]}


@pytest.mark.parametrize(
    "asked", [{"distance_m": 10_001}, {"within_s": 3_601}, {"max_gap_s": 86_401}, {"min_duration_s": -1}]
)
def test_other_callers_have_bounds(ann: Person, asked: dict[str, float]) -> None:
    with pytest.raises(OutOfBounds) as raised:
        durations(STAFF, ann, **asked)
    assert raised.value.errors.keys() == asked.keys()


def test_a_persons_token_is_refused_connections(ann: Person, meeting: None) -> None:
    assert list(services.connections(STAFF, person_id=ann.pk, **DAY))
    with pytest.raises(PermissionDenied):
        services.connections(token_of(ann), person_id=ann.pk, **DAY)


def test_other_people_are_unknown_to_a_persons_token(ann: Person, bo: Person, meeting: None) -> None:
    for person_id in (bo.pk, 999_999):
        with pytest.raises(UnknownPerson):
            services.encounters(token_of(ann), person_id=person_id, **DAY)
    for ask in (services.connections, services.encounters):
        with pytest.raises(UnknownPerson):
            list(ask(STAFF, person_id=999_999, **DAY))


def test_an_ingest_token_is_refused_every_question(ann: Person) -> None:
    phone = Caller(Kind.INGEST, "token 3", (ann.pk, ann.pk))
    for ask in (services.connections, services.encounters):
        with pytest.raises(PermissionDenied):
            ask(phone, person_id=ann.pk, **DAY)
