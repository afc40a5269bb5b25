"""The audit log knows what staff look at in the admin site, and nobody can mend it."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from access import audit, services
from access.callers import Caller, Kind
from access.models import Question, Token
from persons.models import Person

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("organiser"))
    return client


def noted() -> list[tuple[str, int | None]]:
    return list(Question.objects.order_by("id").values_list("what", "person_id"))


def test_what_staff_look_at_is_noted(staff: Client, ann: Person) -> None:
    for path in (
        f"/admin/persons/person/{ann.id}/change/",
        f"/admin/locations/location/?person_id={ann.id}",
        "/admin/persons/person/",
        "/admin/",
    ):
        assert staff.get(path).status_code == 200
    assert noted() == [
        ("GET admin persons_person_change", ann.id),
        ("GET admin locations_location_changelist", ann.id),
        ("GET admin persons_person_changelist", None),
    ]
    assert {one.caller for one in Question.objects.all()} == {"user organiser"}


def test_that_somebody_was_deleted_is_noted_without_saying_whom(staff: Client, ann: Person) -> None:
    assert staff.post(f"/admin/persons/person/{ann.id}/delete/", {"post": "yes"}).status_code == 302
    assert noted() == [("POST admin persons_person_delete", None)]


def test_strangers_are_not(client: Client) -> None:
    assert client.get("/admin/persons/person/").status_code == 302
    assert noted() == []


@pytest.mark.parametrize("verb", ["add", "1/change", "1/delete"])
def test_nobody_mends_the_log(staff: Client, verb: str) -> None:
    Question.objects.create(id=1, kind=Kind.STAFF, caller="user other", what="GET person", person_id=5)
    assert staff.post(f"/admin/access/question/{verb}/", {"post": "yes"}).status_code == 403
    assert noted() == [("GET person", 5)]


def test_it_is_found_by_person(staff: Client, person: Callable[..., Person]) -> None:
    ann, bo = person("Ann"), person("Bo")
    for one in (ann, bo):
        services.note(
            Caller(Kind.STAFF, "user other"),
            audit.Question(f"GET person {one.first_name}", audit.People.of([one.id])),
        )
    shown = staff.get(f"/admin/access/question/?q={ann.id}").content.decode()
    assert "GET person Ann" in shown
    assert "GET person Bo" not in shown


@pytest.fixture
def helper(client: Client) -> Client:
    """Staff who may make tokens, and nothing else."""
    user = User.objects.create_user("helper", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["add_token", "view_token"]))
    client.force_login(user)
    return client


def test_nobody_gives_away_what_they_may_not_see_themselves(helper: Client, ann: Person) -> None:
    form = {"kind": "person", "first_person_id": ann.id, "days": 1}
    assert helper.post("/admin/access/token/add/", form).status_code == 403

    user = User.objects.get(username="helper")
    rights = [right.partition(".")[2] for right in services.STAFF_RIGHTS]
    user.user_permissions.add(*Permission.objects.filter(codename__in=rights))
    assert helper.post("/admin/access/token/add/", form).status_code == 200
    other = User.objects.create_superuser("other")
    for kind in ({"kind": "staff", "user": other.pk}, {"kind": "service"}):
        helper.post("/admin/access/token/add/", {**kind, "days": 1})
    assert Token.objects.get().kind == Kind.PERSON
    helper.post("/admin/access/token/add/", {"kind": "staff", "user": user.pk, "days": 1})
    assert Token.objects.filter(kind=Kind.STAFF).get().user == user

    helper.force_login(other)
    helper.post("/admin/access/token/add/", {"kind": "service", "days": 1})
    assert Token.objects.filter(kind=Kind.SERVICE).exists()
