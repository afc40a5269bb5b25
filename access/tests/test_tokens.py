"""Tokens: made, shown once, stored as a hash, expired, revoked, gone with their person."""

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection
from django.utils import timezone

from access import services
from access.models import Question, Token
from connect.callers import Asking, Caller, Kind
from persons.models import Person

pytestmark = pytest.mark.django_db


def made(kind: Kind = Kind.INGEST, **fields: Any) -> str:
    people = {"first_person_id": 1, "last_person_id": 9} if kind is Kind.INGEST else {}
    return services.make(name="for a test", kind=kind, **(people | fields))[1]


@pytest.fixture
def organiser() -> User:
    return User.objects.create_superuser("organiser")


def tokens(*arguments: str) -> str:
    out = StringIO()
    call_command("tokens", *arguments, stdout=out)
    return out.getvalue()


# --- what they are -------------------------------------------------------------------------------


def test_whoever_shows_one_is_who_it_was_made_for() -> None:
    assert services.of_token(made(), None) == Caller(
        Kind.INGEST,
        f"token {Token.objects.get().prefix}",
        (1, 9),
        Token.objects.get().expiry_date.timestamp(),
    )


def test_nothing_that_is_stored_can_be_shown() -> None:
    secret = made().partition(".")[2]
    with connection.cursor() as cursor:
        cursor.execute("SELECT access_token::text FROM access_token")
        assert secret not in cursor.fetchone()[0]


def test_the_day_on_which_it_is_used_is_noted_once() -> None:
    shown = made()
    assert Token.objects.get().last_used is None
    assert services.of_token(shown, None)
    assert Token.objects.get().last_used == timezone.now().date()


def test_an_expired_or_a_revoked_one_is_nobodys() -> None:
    expired, revoked = made(expiry_date=timezone.now()), made()
    tokens("revoke", revoked.partition(".")[0])
    assert services.of_token(expired, None) is None
    assert services.of_token(revoked, None) is None


@pytest.mark.parametrize("shown", ["", ".", "a" * 8, "a" * 8 + "." + "b" * 32, "\0", "é" * 41])
def test_what_nobody_has_made_is_nobodys(shown: str) -> None:
    assert services.of_token(shown, None) is None


def test_a_staff_token_has_the_rights_of_its_user_as_they_are_now(organiser: User) -> None:
    shown = made(Kind.STAFF, user=organiser)
    assert services.of_token(shown, None).name == "user organiser"  # type: ignore[union-attr]
    User.objects.update(is_superuser=False)
    assert services.of_token(shown, None) is None
    rights = [right.partition(".")[2] for right in services.STAFF_RIGHTS]
    organiser.user_permissions.set(Permission.objects.filter(codename__in=rights))
    assert services.of_token(shown, None)
    User.objects.update(is_active=False)
    assert services.of_token(shown, None) is None


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Kind.PERSON, {}),
        (Kind.PERSON, {"first_person_id": 1, "last_person_id": 2}),
        (Kind.INGEST, {"first_person_id": 2, "last_person_id": 1}),
        (Kind.INGEST, {"first_person_id": 0}),
        (Kind.INGEST, {"first_person_id": None}),
        (Kind.SERVICE, {"first_person_id": 1}),
        (Kind.STAFF, {}),
    ],
)
def test_one_that_is_of_no_kind_is_not_made(kind: Kind, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        services.make(name="for a test", kind=kind, **fields)
    assert not Token.objects.exists()


def test_the_database_takes_none_that_is_of_no_kind() -> None:
    made()
    with pytest.raises(IntegrityError):
        Token.objects.update(kind=Kind.PERSON)


def test_a_persons_own_go_with_the_person_and_nobody_learns_who_was_asked_about(
    person: Callable[..., Person],
) -> None:
    ann, bo = person("Ann"), person("Bo")
    for one in (ann, bo):
        made(Kind.PERSON, first_person_id=one.id)
        made(first_person_id=one.id, last_person_id=one.id)
        services.note(Caller(Kind.STAFF, "user organiser"), Asking("GET person", one.id))
    made(first_person_id=ann.id, last_person_id=bo.id)
    gone = ann.id
    ann.delete()
    assert sorted(Token.objects.values_list("first_person_id", "last_person_id")) == [
        (gone, bo.id),
        (bo.id, bo.id),
        (bo.id, bo.id),
    ]
    assert set(Question.objects.values_list("person_id", flat=True)) == {None, bo.id}


# --- what is noted -------------------------------------------------------------------------------


def test_what_is_asked_is_noted_but_not_what_processes_ask_each_other(ann: Person) -> None:
    asking = Asking("GET encounters", ann.id)
    services.of_token(made(Kind.PERSON, first_person_id=ann.id), asking)
    services.of_token(made(Kind.PERSON, first_person_id=2), None)
    services.of_token(made(Kind.SERVICE), asking)
    [noted] = Question.objects.all()
    assert (noted.kind, noted.what, noted.person_id) == ("person", "GET encounters", ann.id)
    assert timezone.now() - noted.at < timedelta(minutes=1)


def test_of_somebody_who_is_nobody_no_id_is_kept() -> None:
    services.note(Caller(Kind.STAFF, "user organiser"), Asking("GET person", 999))
    assert Question.objects.get().person_id is None


# --- the command, and the processes' own ------------------------------------------------------------


def test_the_command_makes_lists_and_revokes(organiser: User) -> None:
    shown = tokens("make", "ingest", "--people", "1-200", "--name", "Gate 3").strip()
    assert services.of_token(shown, None).people == (1, 200)  # type: ignore[union-attr]
    prefix = shown.partition(".")[0]
    staff = tokens("make", "staff", "--user", "organiser", "--days", "1").strip()
    assert services.of_token(staff, None).kind is Kind.STAFF  # type: ignore[union-attr]
    listed = tokens("list")
    assert shown not in listed
    assert any(prefix in line and "usable" in line and "Gate 3" in line for line in listed.splitlines())
    assert tokens("revoke", prefix) == f"Revoked: {prefix}\n"
    assert prefix not in tokens("list", "--usable")
    assert prefix in tokens("list")


@pytest.mark.parametrize(
    "arguments",
    [
        ["make", "person"],
        ["make", "person", "--people", "1-2"],
        ["make", "staff", "--user", "nobody"],
        ["make", "ingest", "--people", "x"],
        ["make", "ingest", "--people", "1", "--days", "0"],
        ["make", "king"],
        ["revoke", "absent00"],
    ],
)
def test_the_command_says_what_is_wrong_and_does_nothing(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        tokens(*arguments)
    assert not Token.objects.exists()


def test_who_brings_up_the_database_lets_the_processes_in(settings: Any) -> None:
    settings.SERVICE_TOKEN = "process0." + "k" * 32
    call_command("migrate", stdout=StringIO())
    call_command("migrate", stdout=StringIO())
    assert services.of_token(settings.SERVICE_TOKEN, None).kind is Kind.SERVICE  # type: ignore[union-attr]
    assert Token.objects.count() == 1


def test_a_service_token_of_another_form_is_refused(settings: Any) -> None:
    settings.SERVICE_TOKEN = "-".join(["change", "me"])
    with pytest.raises(ValueError, match="SERVICE_TOKEN"):
        services.admit_processes()
