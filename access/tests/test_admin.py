"""Admin pages are written to the audit log, which is read-only; the rights that making tokens needs."""

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


def log() -> list[tuple[str, int | None]]:
    return list(Question.objects.order_by("id").values_list("what", "person_id"))


def test_pages_about_people_are_in_the_audit_log(staff: Client, ann: Person) -> None:
    for path in (
        f"/admin/persons/person/{ann.id}/change/",
        f"/admin/locations/location/?person_id={ann.id}",
        "/admin/persons/person/",
        "/admin/",
    ):
        assert staff.get(path).status_code == 200
    assert log() == [
        ("GET admin persons_person_change", ann.id),
        ("GET admin locations_location_changelist", ann.id),
        ("GET admin persons_person_changelist", None),
    ]
    assert {one.caller for one in Question.objects.all()} == {"user organiser"}


def test_a_deletion_is_in_the_audit_log_without_the_id(staff: Client, ann: Person) -> None:
    assert staff.post(f"/admin/persons/person/{ann.id}/delete/", {"post": "yes"}).status_code == 302
    assert log() == [("POST admin persons_person_delete", None)]


def test_a_page_refused_to_an_anonymous_user_is_not_in_the_audit_log(client: Client) -> None:
    assert client.get("/admin/persons/person/").status_code == 302
    assert log() == []


@pytest.mark.parametrize("verb", ["add", "1/change", "1/delete"])
def test_the_audit_log_cannot_be_changed(staff: Client, verb: str) -> None:
    Question.objects.create(id=1, kind=Kind.STAFF, caller="user other", what="GET person", person_id=5)
    assert staff.post(f"/admin/access/question/{verb}/", {"post": "yes"}).status_code == 403
    assert log() == [("GET person", 5)]


def test_the_audit_log_is_searched_by_person(staff: Client, person: Callable[..., Person]) -> None:
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
def token_maker(client: Client) -> Client:
    """A client of staff with the permission to make tokens only."""
    user = User.objects.create_user("token-maker", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["add_token", "view_token"]))
    client.force_login(user)
    return client


def test_staff_cannot_make_a_token_with_more_rights_than_they_have(token_maker: Client, ann: Person) -> None:
    form = {"kind": "person", "first_person_id": ann.id, "days": 1}
    assert token_maker.post("/admin/access/token/add/", form).status_code == 403

    user = User.objects.get(username="token-maker")
    rights = [right.partition(".")[2] for right in services.STAFF_RIGHTS]
    user.user_permissions.add(*Permission.objects.filter(codename__in=rights))
    assert token_maker.post("/admin/access/token/add/", form).status_code == 200
    other = User.objects.create_superuser("other")
    for kind in ({"kind": "staff", "user": other.pk}, {"kind": "service"}):
        token_maker.post("/admin/access/token/add/", {**kind, "days": 1})
    assert Token.objects.get().kind == Kind.PERSON
    token_maker.post("/admin/access/token/add/", {"kind": "staff", "user": user.pk, "days": 1})
    assert Token.objects.filter(kind=Kind.STAFF).get().user == user

    token_maker.force_login(other)
    token_maker.post("/admin/access/token/add/", {"kind": "service", "days": 1})
    assert Token.objects.filter(kind=Kind.SERVICE).exists()
