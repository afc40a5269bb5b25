"""What a person may do with their own data: erase it, and see who asked about it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from access import services
from access.audit import People, Question
from access.callers import Caller, Kind
from access.models import Token
from locations import storage
from locations.pings import Ping
from persons.models import Person
from privacy.models import ErasureReceipt

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)
ORGANISER = Caller(Kind.STAFF, "user organiser")


@pytest.fixture
def as_ann(ann: Person, settings: Any) -> APIClient:
    settings.ACCESS = "tokens"
    key = services.make(name="Ann", kind=Kind.PERSON, first_person_id=ann.id)[1]
    return APIClient(headers={"Authorization": f"Bearer {key}"})


def test_a_person_erases_themselves_and_gets_the_receipt(as_ann: APIClient, ann: Person, bo: Person) -> None:
    services.make_link(ann.id, name="Ann", expires=datetime.now(UTC) + timedelta(days=1))
    storage.record(
        [Ping(each, NOON + timedelta(seconds=n), 1.0, 2.0) for n in range(3) for each in (ann.id, bo.id)]
    )
    person_id = ann.id

    answer = as_ann.post(f"/api/persons/{person_id}/erasure")

    assert answer.status_code == 200
    assert answer.json() == {
        "person_id": person_id,
        "erased_at": answer.json()["erased_at"],
        "pings": 3,
        "rejected_pings": 0,
        "tokens": 1,
    }
    assert not Person.objects.filter(id=person_id).exists()
    assert not Token.objects.exists()
    assert ErasureReceipt.objects.get().person_id == person_id


def test_an_erased_person_and_another_person_are_a_404(as_ann: APIClient, bo: Person) -> None:
    for person_id in (bo.id, bo.id + 1000, 2**63 - 1):
        assert as_ann.post(f"/api/persons/{person_id}/erasure").status_code == 404
        assert as_ann.get(f"/api/persons/{person_id}/questions").status_code == 404
    assert Person.objects.filter(id=bo.id).exists()
    assert not ErasureReceipt.objects.exists()


def test_who_asked_about_a_person_the_newest_first(as_ann: APIClient, ann: Person, bo: Person) -> None:
    day = NOON.replace(hour=0)
    for person_id, what in ((ann.id, "GET person"), (bo.id, "GET export"), (ann.id, "GET encounters")):
        question = Question(what, People.of([person_id]), day, day + timedelta(days=1), "200")
        services.note(ORGANISER, question)
    services.note(ORGANISER, Question("GET people", People()))  # about everybody
    services.note(
        Caller(Kind.PERSON, "token x", (ann.id, ann.id)), Question("GET person", People.of([ann.id]))
    )

    rows = as_ann.get(f"/api/persons/{ann.id}/questions").json()

    assert [each["what"] for each in rows] == ["GET encounters", "GET person"]
    assert rows[0] == {
        "at": rows[0]["at"],
        "kind": "staff",
        "caller": "user organiser",
        "what": "GET encounters",
        "start": "2026-05-11T00:00:00Z",
        "end": "2026-05-12T00:00:00Z",
        "outcome": "200",
    }


def test_only_the_newest_questions_are_listed(as_ann: APIClient, ann: Person) -> None:
    for n in range(101):
        services.note(ORGANISER, Question(f"GET {n}", People.of([ann.id])))
    rows = as_ann.get(f"/api/persons/{ann.id}/questions").json()
    assert len(rows) == 100
    assert rows[0]["what"] == "GET 100"
