"""The use cases of locations: what each kind of caller may send and read, and the quota of ingest tokens."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied

from access.callers import Caller, Kind
from connect import neighbours
from connect.errors import NeighbourUnavailable, OutOfBounds, UnknownPerson
from locations import services
from locations.pings import Ping
from locations.quota import BURST, TooManyPings
from locations.tests.test_presence import polygon
from persons.models import Person

STAFF = Caller(Kind.STAFF, "user admin")
NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)


def phone(*people: Person) -> Caller:
    return Caller(Kind.INGEST, "token 1", (people[0].pk, people[-1].pk))


def pings(person: Person, *, count: int = 1, ago: timedelta = timedelta(0)) -> list[Ping]:
    now = datetime.now(UTC) - ago
    return [Ping(person.pk, now - timedelta(milliseconds=n), 1.0, 2.0) for n in range(count)]


@pytest.fixture(autouse=True)
def _quota_file(settings: Any, tmp_path: Path) -> None:
    settings.QUOTA_FILE = str(tmp_path / "quota.sqlite")


# --- callers --------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_each_kind_of_caller_sends_and_sees_only_its_own(ann: Person, bo: Person) -> None:
    [mine], [theirs] = pings(ann), pings(bo)
    receipt = services.submit(phone(ann), [theirs, mine])
    assert [(one.index, one.status) for one in receipt.refused] == [(0, 404)]
    assert receipt.stored == 1
    services.submit(STAFF, [theirs])
    me = Caller(Kind.PERSON, "token 2", (ann.pk, ann.pk))
    assert list(services.list_between(me, limit=9)) == [mine]
    assert len(list(services.list_between(STAFF, limit=9))) == 2
    assert services.get(me, mine.person_id, mine.creation_time) == mine
    assert services.get(me, theirs.person_id, theirs.creation_time) is None
    assert services.get(STAFF, theirs.person_id, theirs.creation_time) == theirs
    with pytest.raises(UnknownPerson):
        services.list_between(me, person_id=bo.pk)
    with pytest.raises(PermissionDenied):
        services.submit(me, [mine])
    for ask in (services.list_between, lambda caller: services.get(caller, ann.pk, NOON)):
        with pytest.raises(PermissionDenied):
            ask(phone(ann))


@pytest.mark.django_db
def test_each_kind_of_caller_asks_about_what_it_may_see(ann: Person, bo: Person) -> None:
    stored = [
        Ping(each.pk, NOON + timedelta(seconds=60 * n), 0.5, 0.5) for each in (ann, bo) for n in range(2)
    ]
    services.submit(STAFF, stored)
    day = {"start": NOON, "end": NOON + timedelta(days=1)}
    area = (1, polygon([[(0, 0), (1, 0), (1, 1), (0, 1)]]))
    questions: dict[str, Callable[..., Any]] = {
        "days": services.days,
        "positions": partial(services.positions, at=NOON + timedelta(seconds=60)),
        "heat": partial(services.heat, **day),
        "visits": partial(services.visits, areas=[area], **day),
    }

    def people(caller: Caller, **whose: int) -> dict[str, Any]:
        found = {name: list(ask(caller, **whose)) for name, ask in questions.items()}
        return {
            "days": [day.last for day in found["days"]],
            "positions": [ping.person_id for ping in found["positions"]],
            "heat": [cell.people for cell in found["heat"]],
            "visits": [area.people for area in found["visits"]],
        }

    me = Caller(Kind.PERSON, "token 2", (ann.pk, ann.pk))
    last = [NOON + timedelta(seconds=60)]
    one = {"days": last, "positions": [ann.pk], "heat": [1], "visits": [1]}
    assert people(me) == people(me, person_id=ann.pk) == people(STAFF, person_id=ann.pk) == one
    assert people(STAFF) == {"days": last, "positions": [ann.pk, bo.pk], "heat": [2], "visits": [2]}
    Person.objects.filter(pk=ann.pk).update(findable=False)
    assert people(STAFF) == {"days": last, "positions": [bo.pk], "heat": [1], "visits": [1]}
    assert people(me) == one
    for ask in questions.values():
        with pytest.raises(UnknownPerson):
            ask(me, person_id=bo.pk)
        with pytest.raises(PermissionDenied):
            ask(phone(ann))
    with pytest.raises(UnknownPerson):
        list(services.days(STAFF, person_id=2**62))
    assert list(services.days(STAFF, person_id=Person.objects.create(first_name="Cy").pk)) == []


@pytest.mark.django_db
def test_a_question_out_of_bounds_names_each_number(ann: Person) -> None:
    day = {"start": NOON, "end": NOON + timedelta(days=1)}
    for ask, errors in (
        (
            lambda: services.days(STAFF, time_zone="Berlin"),
            {"time_zone": "Must be an IANA time zone such as"},
        ),
        (lambda: services.positions(STAFF, at=NOON, max_age_s=0), {"max_age_s": "Must be more than 0."}),
        (lambda: services.heat(STAFF, **day, cell_m=1001), {"cell_m": "Must be at most 1000."}),
        (
            lambda: services.heat(STAFF, start=NOON, end=NOON + timedelta(days=31, microseconds=1)),
            {"end": "Must be at most 31 days after the start."},
        ),
        (
            lambda: services.visits(STAFF, areas=[], **day, max_gap_s=-1, min_duration_s=-1),
            {"max_gap_s": "Must be at least 0.", "min_duration_s": "Must be at least 0."},
        ),
    ):
        with pytest.raises(OutOfBounds) as raised:
            ask()
        assert raised.value.errors.keys() == errors.keys()
        for name, text in errors.items():
            assert raised.value.errors[name][0].startswith(text)


# --- age ------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("ago", "is_accepted"),
    [
        (timedelta(hours=2, seconds=-30), True),
        (timedelta(hours=2, seconds=30), False),
        (timedelta(seconds=-30), True),
        (timedelta(seconds=-90), False),
        (timedelta(days=-400), False),
    ],
)
def test_an_ingest_token_sends_recent_pings_only(
    ann: Person, settings: Any, ago: timedelta, is_accepted: bool
) -> None:
    settings.INGEST_MAX_AGE_H = 2
    good, checked = pings(ann)[0], pings(ann, ago=ago)[0]
    receipt = services.submit(phone(ann), [checked, good])
    assert receipt.stored == 1 + is_accepted
    text = "Must be at most 2 hours ago and at most 60 seconds ahead."
    expected = [] if is_accepted else [(0, 400, {"creation_time": [text]})]
    assert [(one.index, one.status, one.errors) for one in receipt.refused] == expected
    assert services.submit(STAFF, [checked]).refused == []


# --- quota ----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_pings_over_the_quota_are_refused_before_any_is_stored_and_staff_have_no_quota(
    ann: Person, bo: Person
) -> None:
    services.submit(phone(ann), pings(ann, count=BURST - 10))
    with pytest.raises(TooManyPings) as raised:
        services.submit(phone(ann, bo), [*pings(bo), *pings(ann, count=20)])
    assert 1 <= raised.value.wait_s <= 10
    assert list(services.list_between(STAFF, person_id=bo.pk)) == []
    assert services.submit(phone(ann, bo), pings(bo)).stored == 1  # another person's bucket
    assert services.submit(STAFF, pings(ann, count=BURST + 1)).refused == []


@pytest.mark.django_db
def test_repeats_count_for_the_quota_and_refused_pings_do_not(ann: Person) -> None:
    same, old = pings(ann) * BURST, pings(ann, ago=timedelta(days=9)) * BURST
    services.submit(phone(ann), old)
    services.submit(phone(ann), same)
    with pytest.raises(TooManyPings):
        services.submit(phone(ann), same[:100])


@pytest.mark.django_db
def test_pings_that_could_not_be_submitted_are_refunded(ann: Person, settings: Any, free_port: int) -> None:
    settings.PINGS_URL, settings.GRPC_TIMEOUT_S = f"grpc://127.0.0.1:{free_port}", 1.0
    with pytest.raises(NeighbourUnavailable):
        services.submit(phone(ann), pings(ann, count=BURST))
    settings.PINGS_URL = "local:"
    assert neighbours.pings().__name__ == "locations.storage"
    assert services.submit(phone(ann), pings(ann, count=BURST)).refused == []


@pytest.mark.django_db
def test_a_file_that_cannot_be_used_is_an_outage(settings: Any, tmp_path: Path, ann: Person) -> None:
    settings.QUOTA_FILE = str(tmp_path / "nowhere" / "quota.sqlite")
    with pytest.raises(NeighbourUnavailable):
        services.submit(phone(ann), pings(ann))
