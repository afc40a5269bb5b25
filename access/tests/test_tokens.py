"""Tokens: made, stored as a hash, expired, revoked, deleted with their person; the audit log."""

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


def identify(key: str) -> Caller | None:
    return services.identify_tokens([key]).get(key)


ORGANISER = Caller(Kind.STAFF, "user organiser")


def make(kind: Kind = Kind.INGEST, **fields: Any) -> str:
    people = {"first_person_id": 1, "last_person_id": 9} if kind is Kind.INGEST else {}
    return services.make(name="for a test", kind=kind, **(people | fields))[1]


@pytest.fixture
def organiser() -> User:
    return User.objects.create_superuser("organiser")


def tokens(*arguments: str) -> str:
    out = StringIO()
    call_command("tokens", *arguments, stdout=out)
    return out.getvalue()


# --- identification ------------------------------------------------------------------------------


def test_a_token_identifies_its_caller() -> None:
    assert identify(make()) == Caller(
        Kind.INGEST,
        f"token {Token.objects.get().prefix}",
        (1, 9),
        Token.objects.get().expiry_date.timestamp(),
    )


def test_only_the_hash_of_a_token_is_stored() -> None:
    secret = make().partition(".")[2]
    with connection.cursor() as cursor:
        cursor.execute("SELECT access_token::text FROM access_token")
        assert secret not in cursor.fetchone()[0]


def test_the_day_of_the_last_use_is_recorded() -> None:
    key = make()
    assert Token.objects.get().last_used is None
    assert identify(key)
    assert Token.objects.get().last_used == timezone.now().date()


def test_an_expired_or_revoked_token_is_refused() -> None:
    expired, revoked = make(expiry_date=timezone.now()), make()
    tokens("revoke", revoked.partition(".")[0])
    assert identify(expired) is None
    assert identify(revoked) is None


CHANGES: dict[str, Callable[[Token], object]] = {
    "revoked": lambda token: Token.objects.filter(pk=token.pk).update(revoked=True),
    "saved by the admin site": lambda token: token.save(),
    "ends earlier": lambda token: Token.objects.filter(pk=token.pk).update(expiry_date=timezone.now()),
    "deleted": lambda token: token.delete(),
    "deleted with the person": lambda token: Person.objects.filter(pk=token.first_person_id).delete(),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_a_token_is_counted(ann: Person, what: str) -> None:
    make(first_person_id=ann.pk, last_person_id=ann.pk)
    before = services.token_changes()
    CHANGES[what](Token.objects.get())
    end_transaction()
    assert services.token_changes() > before


def test_the_use_of_a_token_is_not_counted_as_a_change() -> None:
    before = services.token_changes()
    assert identify(make()) is not None
    end_transaction()
    assert Token.objects.get().last_used
    assert services.token_changes() == before


def end_transaction() -> None:
    """Runs deferred triggers now, as the commit does."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


@pytest.mark.parametrize("key", ["", ".", "a" * 8, "a" * 8 + "." + "b" * 32, "\0", "é" * 41])
def test_an_unknown_or_malformed_token_is_refused(key: str) -> None:
    assert identify(key) is None


def test_a_staff_token_has_the_current_rights_of_its_user(organiser: User) -> None:
    key = make(Kind.STAFF, user=organiser)
    assert identify(key).name == "user organiser"  # type: ignore[union-attr]
    User.objects.update(is_superuser=False)
    assert identify(key) is None
    rights = [right.partition(".")[2] for right in services.STAFF_RIGHTS]
    organiser.user_permissions.set(Permission.objects.filter(codename__in=rights))
    assert identify(key)
    User.objects.update(is_active=False)
    assert identify(key) is None


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
def test_invalid_fields_for_a_kind_are_refused(kind: Kind, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        services.make(name="for a test", kind=kind, **fields)
    assert not Token.objects.exists()


def test_the_database_refuses_invalid_fields_for_a_kind() -> None:
    make()
    with pytest.raises(IntegrityError):
        Token.objects.update(kind=Kind.PERSON)


def test_erasing_a_person_deletes_their_tokens_and_their_id_in_the_audit_log(
    person: Callable[..., Person],
) -> None:
    ann, bo = person("Ann"), person("Bo")
    for one in (ann, bo):
        make(Kind.PERSON, first_person_id=one.id)
        make(first_person_id=one.id, last_person_id=one.id)
        services.note(ORGANISER, Question("GET person", People.of([one.id])))
    make(first_person_id=ann.id, last_person_id=bo.id)
    gone = ann.id
    ann.delete()
    assert sorted(Token.objects.values_list("first_person_id", "last_person_id")) == [
        (gone, bo.id),
        (bo.id, bo.id),
        (bo.id, bo.id),
    ]
    assert set(models.Question.objects.values_list("person_id", flat=True)) == {None, bo.id}


# --- the audit log -------------------------------------------------------------------------------


def rows() -> list[tuple[int | None, int | None]]:
    return list(models.Question.objects.order_by("person_id").values_list("person_id", "people"))


def test_a_question_has_a_row_per_person(person: Callable[..., Person]) -> None:
    ann, bo = person("Ann"), person("Bo")
    start, end = (timezone.now() - timedelta(hours=each) for each in (2, 1))
    services.note(ORGANISER, Question("GET people", People.of([bo.id, ann.id]), start, end, "200"))
    assert rows() == [(ann.id, 2), (bo.id, 2)]
    one = models.Question.objects.first()
    assert (one.kind, one.caller, one.what) == ("staff", "user organiser", "GET people")
    assert (one.range_start, one.range_end, one.outcome) == (start, end, "200")


def test_unknown_ids_are_stored_as_null(ann: Person) -> None:
    services.note(ORGANISER, Question("GET people", People.of([ann.id, 998, 999])))
    services.note(ORGANISER, Question("GET person", People.of([999])))
    services.note(ORGANISER, Question("GET people"))
    assert sorted(rows(), key=str) == sorted([(ann.id, 3), (None, 3), (None, 1), (None, 0)], key=str)


def test_more_than_max_ids_are_stored_as_number_lowest_and_highest(
    person: Callable[..., Person],
) -> None:
    ann, bo, cy = person("Ann"), person("Bo"), person("Cy")
    services.note(ORGANISER, Question("GET people", People(count=900, first=ann.id, last=cy.id)))
    services.note(ORGANISER, Question("GET people", People.of(range(ann.id, ann.id + MAX_IDS + 1))))
    assert rows() == [(None, 900), (None, MAX_IDS + 1)]
    about_bo = models.Question.objects.filter(services.may_be_about(bo.id))
    assert [one.people for one in about_bo] == [900]  # the last id of the other range does not exist
    for gone in (ann, cy):
        gone.delete()
    ends = models.Question.objects.values_list("first_person_id", "last_person_id")
    assert set(ends) == {(None, None)}


def test_people_lists_at_most_max_ids_valid_ids() -> None:
    assert People.of(range(1, MAX_IDS + 1)).count == len(People.of(range(1, MAX_IDS + 1)).ids) == MAX_IDS
    assert People.of([5, 5, -1, 0, 2**70]) == People((5,), 1)


# --- the command -----------------------------------------------------------------------------------


def test_the_command_makes_lists_and_revokes_tokens(organiser: User) -> None:
    key = tokens("make", "ingest", "--people", "1-200", "--name", "Gate 3").strip()
    assert identify(key).people == (1, 200)  # type: ignore[union-attr]
    prefix = key.partition(".")[0]
    staff = tokens("make", "staff", "--user", "organiser", "--days", "1").strip()
    assert identify(staff).kind is Kind.STAFF  # type: ignore[union-attr]
    listed = tokens("list")
    assert key not in listed
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
def test_wrong_arguments_are_refused_and_change_nothing(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        tokens(*arguments)
    assert not Token.objects.exists()


# --- service tokens ------------------------------------------------------------------------------


def service_token(letter: str) -> str:
    return f"process{letter}." + letter * 32


def migrate() -> None:
    call_command("migrate", stdout=StringIO())


def test_migrate_makes_the_configured_service_tokens(settings: Any) -> None:
    settings.SERVICE_TOKEN = service_token("a")
    settings.SERVICE_TOKENS = {"persons": service_token("b"), "locations": service_token("c")}
    migrate()
    migrate()
    assert {identify(service_token(each)).kind for each in "abc"} == {Kind.SERVICE}  # type: ignore[union-attr]
    assert set(Token.objects.values_list("name", flat=True)) == {"SERVICE_TOKEN", "persons", "locations"}


def test_a_configured_token_does_not_expire(settings: Any) -> None:
    settings.SERVICE_TOKEN = service_token("a")
    migrate()
    found = identify(service_token("a"))
    assert found is not None
    assert found.until > (timezone.now() + timedelta(days=100 * 366)).timestamp()  # type: ignore[operator]
    Token.objects.update(expiry_date=timezone.now() - timedelta(days=1))  # as an older version stored it
    assert identify(service_token("a")) is None
    migrate()
    assert identify(service_token("a")) == found


def test_a_configured_token_can_be_revoked(settings: Any) -> None:
    settings.SERVICE_TOKEN = service_token("a")
    migrate()
    tokens("revoke", "processa")
    migrate()
    assert identify(service_token("a")) is None


def test_a_token_that_is_no_longer_configured_expires_after_a_day(settings: Any) -> None:
    make(Kind.SERVICE)  # made by hand, not configured
    settings.SERVICE_TOKENS = {"persons": service_token("a"), "locations": service_token("b")}
    migrate()
    settings.SERVICE_TOKENS = {"persons": service_token("c"), "locations": service_token("b")}
    migrate()
    expiry = dict(Token.objects.values_list("prefix", "expiry_date"))
    assert expiry["processb"] == expiry["processc"] == NEVER
    assert timezone.now() < expiry["processa"] < timezone.now() + timedelta(days=1, minutes=1)
    assert identify(service_token("a"))  # its process is still being replaced
    migrate()
    assert Token.objects.get(prefix="processa").expiry_date == expiry["processa"]


def test_a_process_that_knows_only_its_own_token_keeps_the_others(settings: Any) -> None:
    settings.SERVICE_TOKENS = {"persons": service_token("a"), "locations": service_token("b")}
    migrate()
    settings.SERVICE_TOKENS, settings.SERVICE_TOKEN = {}, service_token("a")
    migrate()
    settings.SERVICE_TOKEN = ""
    migrate()
    assert set(Token.objects.values_list("expiry_date", flat=True)) == {NEVER}


@pytest.mark.parametrize("kind", [Kind.INGEST, Kind.SERVICE])
def test_only_a_configured_token_never_expires(kind: Kind) -> None:
    make(kind)
    later = NEVER + timedelta(hours=1)
    with pytest.raises(IntegrityError):
        Token.objects.update(expiry_date=NEVER if kind is Kind.INGEST else later)


@pytest.mark.parametrize("key", ["-".join(["change", "me"]), "processa." + "x" * 32])
def test_a_malformed_service_token_or_a_taken_prefix_is_refused(settings: Any, key: str) -> None:
    settings.SERVICE_TOKEN = service_token("a")
    migrate()
    settings.SERVICE_TOKENS, settings.SERVICE_TOKEN = {"persons": key}, ""
    with pytest.raises(ValueError, match="persons"):
        services.sync_service_tokens()
