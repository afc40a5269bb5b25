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

from access import models, services
from access.audit import MAX_IDS, People, Question
from access.callers import Caller, Kind
from access.models import NEVER, Token
from persons.models import Person

pytestmark = pytest.mark.django_db


def of_token(shown: str) -> Caller | None:
    return services.identify_tokens([shown]).get(shown)


ORGANISER = Caller(Kind.STAFF, "user organiser")


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
    assert of_token(made()) == Caller(
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
    assert of_token(shown)
    assert Token.objects.get().last_used == timezone.now().date()


def test_an_expired_or_a_revoked_one_is_nobodys() -> None:
    expired, revoked = made(expiry_date=timezone.now()), made()
    tokens("revoke", revoked.partition(".")[0])
    assert of_token(expired) is None
    assert of_token(revoked) is None


CHANGES: dict[str, Callable[[Token], object]] = {
    "revoked": lambda token: Token.objects.filter(pk=token.pk).update(revoked=True),
    "saved by the admin site": lambda token: token.save(),
    "ends earlier": lambda token: Token.objects.filter(pk=token.pk).update(expiry_date=timezone.now()),
    "deleted": lambda token: token.delete(),
    "gone with the person": lambda token: Person.objects.filter(pk=token.first_person_id).delete(),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_a_token_is_counted(ann: Person, what: str) -> None:
    made(first_person_id=ann.pk, last_person_id=ann.pk)
    before = services.token_changes()
    CHANGES[what](Token.objects.get())
    end_transaction()
    assert services.token_changes() > before


def test_the_use_of_a_token_is_no_change() -> None:
    before = services.token_changes()
    assert of_token(made()) is not None
    end_transaction()
    assert Token.objects.get().last_used
    assert services.token_changes() == before


def end_transaction() -> None:
    """Runs deferred triggers now, as the end of the transaction would."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


@pytest.mark.parametrize("shown", ["", ".", "a" * 8, "a" * 8 + "." + "b" * 32, "\0", "é" * 41])
def test_what_nobody_has_made_is_nobodys(shown: str) -> None:
    assert of_token(shown) is None


def test_a_staff_token_has_the_rights_of_its_user_as_they_are_now(organiser: User) -> None:
    shown = made(Kind.STAFF, user=organiser)
    assert of_token(shown).name == "user organiser"  # type: ignore[union-attr]
    User.objects.update(is_superuser=False)
    assert of_token(shown) is None
    rights = [right.partition(".")[2] for right in services.STAFF_RIGHTS]
    organiser.user_permissions.set(Permission.objects.filter(codename__in=rights))
    assert of_token(shown)
    User.objects.update(is_active=False)
    assert of_token(shown) is None


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
        services.note(ORGANISER, Question("GET person", People.of([one.id])))
    made(first_person_id=ann.id, last_person_id=bo.id)
    gone = ann.id
    ann.delete()
    assert sorted(Token.objects.values_list("first_person_id", "last_person_id")) == [
        (gone, bo.id),
        (bo.id, bo.id),
        (bo.id, bo.id),
    ]
    assert set(models.Question.objects.values_list("person_id", flat=True)) == {None, bo.id}


# --- the audit log -------------------------------------------------------------------------------


def lines() -> list[tuple[int | None, int | None]]:
    return list(models.Question.objects.order_by("person_id").values_list("person_id", "people"))


def test_a_question_has_a_line_per_person(person: Callable[..., Person]) -> None:
    ann, bo = person("Ann"), person("Bo")
    start, end = (timezone.now() - timedelta(hours=each) for each in (2, 1))
    services.note(ORGANISER, Question("GET people", People.of([bo.id, ann.id]), start, end, "200"))
    assert lines() == [(ann.id, 2), (bo.id, 2)]
    one = models.Question.objects.first()
    assert (one.kind, one.caller, one.what) == ("staff", "user organiser", "GET people")
    assert (one.range_start, one.range_end, one.outcome) == (start, end, "200")


def test_of_unknown_people_no_id_is_kept(ann: Person) -> None:
    services.note(ORGANISER, Question("GET people", People.of([ann.id, 998, 999])))
    services.note(ORGANISER, Question("GET person", People.of([999])))
    services.note(ORGANISER, Question("GET people"))
    assert sorted(lines(), key=str) == sorted([(ann.id, 3), (None, 3), (None, 1), (None, 0)], key=str)


def test_of_more_people_than_are_listed_the_number_and_the_ends_are_kept(
    person: Callable[..., Person],
) -> None:
    ann, bo, cy = person("Ann"), person("Bo"), person("Cy")
    services.note(ORGANISER, Question("GET people", People(count=900, first=ann.id, last=cy.id)))
    services.note(ORGANISER, Question("GET people", People.of(range(ann.id, ann.id + MAX_IDS + 1))))
    assert lines() == [(None, 900), (None, MAX_IDS + 1)]
    about_bo = models.Question.objects.filter(services.may_be_about(bo.id))
    assert [one.people for one in about_bo] == [900]  # of the other one the last is nobody
    for gone in (ann, cy):
        gone.delete()
    ends = models.Question.objects.values_list("first_person_id", "last_person_id")
    assert set(ends) == {(None, None)}


def test_an_unlisted_number_of_people_is_bounded() -> None:
    assert People.of(range(1, MAX_IDS + 1)).count == len(People.of(range(1, MAX_IDS + 1)).ids) == MAX_IDS
    assert People.of([5, 5, -1, 0, 2**70]) == People((5,), 1)


# --- the command, and the processes' own ------------------------------------------------------------


def test_the_command_makes_lists_and_revokes(organiser: User) -> None:
    shown = tokens("make", "ingest", "--people", "1-200", "--name", "Gate 3").strip()
    assert of_token(shown).people == (1, 200)  # type: ignore[union-attr]
    prefix = shown.partition(".")[0]
    staff = tokens("make", "staff", "--user", "organiser", "--days", "1").strip()
    assert of_token(staff).kind is Kind.STAFF  # type: ignore[union-attr]
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


# --- the tokens of the processes ----------------------------------------------------------------


def process(letter: str) -> str:
    return f"process{letter}." + letter * 32


def migrate() -> None:
    call_command("migrate", stdout=StringIO())


def test_migrating_admits_the_processes(settings: Any) -> None:
    settings.SERVICE_TOKEN = process("a")
    settings.SERVICE_TOKENS = {"persons": process("b"), "locations": process("c")}
    migrate()
    migrate()
    assert {of_token(process(each)).kind for each in "abc"} == {Kind.SERVICE}  # type: ignore[union-attr]
    assert set(Token.objects.values_list("name", flat=True)) == {"SERVICE_TOKEN", "persons", "locations"}


def test_a_configured_token_does_not_expire(settings: Any) -> None:
    settings.SERVICE_TOKEN = process("a")
    migrate()
    found = of_token(process("a"))
    assert found is not None
    assert found.until > (timezone.now() + timedelta(days=100 * 366)).timestamp()  # type: ignore[operator]
    Token.objects.update(expiry_date=timezone.now() - timedelta(days=1))  # as one of before may have
    assert of_token(process("a")) is None
    migrate()
    assert of_token(process("a")) == found


def test_a_configured_token_can_be_revoked(settings: Any) -> None:
    settings.SERVICE_TOKEN = process("a")
    migrate()
    tokens("revoke", "processa")
    migrate()
    assert of_token(process("a")) is None


def test_a_token_that_is_configured_no_longer_ends_within_a_day(settings: Any) -> None:
    made(Kind.SERVICE)  # by hand, which is nobody's configuration
    settings.SERVICE_TOKENS = {"persons": process("a"), "locations": process("b")}
    migrate()
    settings.SERVICE_TOKENS = {"persons": process("c"), "locations": process("b")}
    migrate()
    expiry = dict(Token.objects.values_list("prefix", "expiry_date"))
    assert expiry["processb"] == expiry["processc"] == NEVER
    assert timezone.now() < expiry["processa"] < timezone.now() + timedelta(days=1, minutes=1)
    assert of_token(process("a"))  # its process is being replaced
    migrate()
    assert Token.objects.get(prefix="processa").expiry_date == expiry["processa"]


def test_a_process_that_migrates_ends_no_other_ones_token(settings: Any) -> None:
    settings.SERVICE_TOKENS = {"persons": process("a"), "locations": process("b")}
    migrate()
    settings.SERVICE_TOKENS, settings.SERVICE_TOKEN = {}, process("a")
    migrate()
    settings.SERVICE_TOKEN = ""
    migrate()
    assert set(Token.objects.values_list("expiry_date", flat=True)) == {NEVER}


@pytest.mark.parametrize("kind", [Kind.INGEST, Kind.SERVICE])
def test_only_a_configured_token_never_expires(kind: Kind) -> None:
    made(kind)
    later = NEVER + timedelta(hours=1)
    with pytest.raises(IntegrityError):
        Token.objects.update(expiry_date=NEVER if kind is Kind.INGEST else later)


@pytest.mark.parametrize("shown", ["-".join(["change", "me"]), "processa." + "x" * 32])
def test_a_service_token_of_another_form_or_of_anothers_prefix_is_refused(settings: Any, shown: str) -> None:
    settings.SERVICE_TOKEN = process("a")
    migrate()
    settings.SERVICE_TOKENS, settings.SERVICE_TOKEN = {"persons": shown}, ""
    with pytest.raises(ValueError, match="persons"):
        services.admit_processes()
