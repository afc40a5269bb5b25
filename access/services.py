"""Identifies tokens and sessions, and writes the audit log: the seam's `local:` for access. Makes tokens."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import get_user
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from access import second_factor
from access.audit import MOST_IDS, People, Question
from access.callers import TOKEN_FORM, Caller, Kind
from access.models import NEVER, SignInCode, Token

# What a staff user must be allowed in the admin site to be staff at the other doors: these know no halves.
STAFF_RIGHTS = (
    "persons.view_person",
    "persons.add_person",
    "persons.change_person",
    "persons.delete_person",
    "locations.view_location",
)
_WRITTEN = re.compile(TOKEN_FORM, re.ASCII)
GRACE = timedelta(days=1)


def of_tokens(tokens: Iterable[str]) -> dict[str, Caller]:
    """The callers of those tokens that are not unknown, expired or revoked. Notes the day of use."""
    written = {shown: shown.partition(".")[0] for shown in tokens if _WRITTEN.fullmatch(shown)}
    known = {
        token.prefix: token for token in Token.objects.get_usable_keys().filter(prefix__in=written.values())
    }
    found = {
        shown: token
        for shown, prefix in written.items()
        if (token := known.get(prefix)) is not None and token.is_valid(shown) and _is_usable(token)
    }
    today = timezone.now().date()
    if first_today := [token.pk for token in found.values() if token.last_used != today]:
        Token.objects.filter(pk__in=first_today).update(last_used=today)
    return {shown: _caller(token) for shown, token in found.items()}


def _is_usable(token: Token) -> bool:
    return not token.has_expired and (token.user is None or _is_staff(token.user))


def token_changes() -> int:
    """A number that is another one once any token was revoked, deleted or otherwise changed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT number FROM access_token_changes")
        return int(cursor.fetchone()[0])


def of_session(key: str) -> Caller | None:
    """The staff user who signed in to the admin site with this session; None without all of STAFF_RIGHTS."""
    request: Any = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    user = get_user(request)
    if not _is_staff(user) or not second_factor.is_given(request.session, user):
        return None
    request.session.touch()
    return Caller(Kind.STAFF, f"user {user.get_username()}")


def make(*, name: str, kind: Kind, **fields: Any) -> tuple[Token, str]:
    """A new token, and what its owner shows: that is known now and never again. Raises ValidationError."""
    token = Token(name=name, kind=kind, **fields)
    shown = Token.objects.assign_key(token)
    token.full_clean()
    token.save()
    return token, shown


# --- sign-in links ---------------------------------------------------------------------------------


ASK_AGAIN = "Ask the organiser for another."
NOT_VALID = f"This sign-in link is not valid, or it was revoked. {ASK_AGAIN}"


class CodeRefused(Exception):
    """The text says why a sign-in code gives no token."""


def make_link(person_id: int, *, name: str, expires: datetime, made_with: Token | None = None) -> str:
    """The address of a sign-in link with a new one-time code. Raises ValidationError."""
    code = SignInCode(name=name, person_id=person_id, expiry_date=expires, made_with=made_with)
    shown = SignInCode.objects.assign_key(code)
    code.full_clean()
    with transaction.atomic():
        if not _hold_person(person_id):
            raise ValidationError({"person_id": f"There is no person {person_id}."})
        code.save()
    return f"{settings.APP_URL.rstrip('/')}/#code={shown}"


def exchange(shown: str) -> tuple[Token, str]:
    """The token that a sign-in code gives, and its secret text. Raises CodeRefused.

    One transaction marks the code as used and makes the token: a crash leaves the code unused, and of two
    calls at the same time one is refused.
    """
    try:
        if not _WRITTEN.fullmatch(shown):
            raise SignInCode.DoesNotExist
        code = cast("SignInCode", SignInCode.objects.get_from_key(shown))
    except SignInCode.DoesNotExist:
        raise CodeRefused(NOT_VALID) from None
    with transaction.atomic():
        # The person first: deleting a person locks in the same order, and then deletes codes and tokens.
        held = _hold_person(code.person_id)
        code = SignInCode.objects.select_for_update(of=("self",)).select_related("made_with").get(pk=code.pk)
        if not held or code.state == "revoked":
            raise CodeRefused(NOT_VALID)
        if code.state == "expired":
            raise CodeRefused(f"This sign-in link has expired. {ASK_AGAIN}")
        if code.state == "used":
            raise CodeRefused(
                f"This sign-in link was used before, and it works once. {ASK_AGAIN} "
                "If it was not you who used it, tell the organiser."
            )
        SignInCode.objects.filter(pk=code.pk).update(used_at=timezone.now())
        token, token_shown = make(
            name=code.name, kind=Kind.PERSON, first_person_id=code.person_id, expiry_date=code.expiry_date
        )
        note(_caller(token), Question("POST exchange", People.of([code.person_id]), outcome="201"))
    return token, token_shown


def _hold_person(person_id: int) -> bool:
    """Keeps a person from being deleted until the transaction ends. False if there is no such person."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM persons_person WHERE id = %s FOR KEY SHARE", [person_id])
        return cursor.rowcount > 0


# --- the processes' own token ------------------------------------------------------------------------


def admit_processes() -> None:
    """Makes the configured service tokens valid for as long as they are configured.

    `migrate` calls it. Tokens that are no longer configured end after GRACE, so that the processes that show
    them go on until they are replaced. A revoked token stays revoked.
    """
    configured = dict(settings.SERVICE_TOKENS)
    if settings.SERVICE_TOKEN and settings.SERVICE_TOKEN not in configured.values():
        configured["SERVICE_TOKEN"] = settings.SERVICE_TOKEN
    prefixes = []
    for name, shown in configured.items():
        if not _WRITTEN.fullmatch(shown):
            raise ValueError(
                f"{name}: a service token must be 8 letters and digits, a dot, and 32 or more of them."
            )
        prefix = shown.partition(".")[0]
        prefixes.append(prefix)
        hashed = Token.objects.key_generator.hash(shown)
        found = Token.objects.filter(prefix=prefix).first()
        if found is None:
            Token.objects.create(
                id=f"{prefix}.{hashed}",
                prefix=prefix,
                hashed_key=hashed,
                name=name[:50],
                kind=Kind.SERVICE,
                expiry_date=NEVER,
            )
        elif found.hashed_key != hashed or found.kind != Kind.SERVICE:
            raise ValueError(f"{name}: another token begins with {prefix}. Make a new one.")
        else:
            Token.objects.filter(prefix=prefix, revoked=False).update(expiry_date=NEVER)
    ended = Token.objects.filter(expiry_date=NEVER).exclude(prefix__in=prefixes)
    if not settings.SERVICE_TOKENS:  # what runs here may know its own token only
        ended = ended.filter(name="SERVICE_TOKEN")
    if configured:
        ended.update(expiry_date=timezone.now() + GRACE)


# The commit is asynchronous: a crash may lose the last half second. An id is stored only if
# that person exists, and the lock keeps them from being erased meanwhile. Unknown ids share one line.
_NOTE = """
WITH soon AS (SELECT set_config('synchronous_commit', 'off', true)),
known AS (
    SELECT id FROM persons_person, soon WHERE id = ANY(%(ids)s::bigint[])
     ORDER BY id FOR KEY SHARE OF persons_person
),
about AS (
    SELECT id FROM known
    UNION ALL SELECT NULL WHERE (SELECT count(*) FROM known) < greatest(1, %(listed)s)
)
INSERT INTO access_question (at, kind, caller, what, person_id, people,
                             first_person_id, last_person_id, range_start, range_end, outcome)
SELECT now(), %(kind)s, %(caller)s, %(what)s, about.id, %(people)s,
       (SELECT id FROM persons_person WHERE id = %(first)s FOR KEY SHARE),
       (SELECT id FROM persons_person WHERE id = %(last)s FOR KEY SHARE), %(start)s, %(end)s, %(outcome)s
  FROM soon, about
"""


def note(caller: Caller, question: Question) -> None:
    """Writes who asked about whom: a line per person, or one for everybody or for too many."""
    people = question.people
    values: dict[str, Any] = {
        "kind": caller.kind,
        "caller": caller.name[:200],
        "what": question.what[:60],
        "ids": list(people.ids),
        "listed": len(people.ids),
        "people": people.count,
        "first": people.first,
        "last": people.last,
        "start": question.start,
        "end": question.end,
        "outcome": question.outcome,
    }
    with connection.cursor() as cursor:
        cursor.execute(_NOTE, values)


def may_be_about(person_id: int) -> Q:
    """Lines of the audit log that name a person, or a range of ids that they are in."""
    among = Q(people__gt=MOST_IDS, first_person_id__lte=person_id, last_person_id__gte=person_id)
    return Q(person_id=person_id) | among


def _is_staff(user: Any) -> bool:
    return bool(user.is_active and user.is_staff and user.has_perms(STAFF_RIGHTS))


def _caller(token: Token) -> Caller:
    kind = Kind(token.kind)
    name = f"user {token.user.get_username()}" if token.user else f"token {token.prefix}"
    return Caller(kind, name, token.people, token.expiry_date.timestamp())
