"""Whose token, whose session: the seam's `local:` for access. Tokens are made here, too."""

import re
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import get_user
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.http import HttpRequest
from django.utils import timezone

from access.models import SignInCode, Token
from connect.callers import Asking, Caller, Kind

# What a staff user must be allowed in the admin site to be staff at the other doors: these know no halves.
STAFF_RIGHTS = (
    "persons.view_person",
    "persons.add_person",
    "persons.change_person",
    "persons.delete_person",
    "locations.view_location",
)
_WRITTEN = re.compile(r"[0-9A-Za-z]{8}\.[0-9A-Za-z]{32,100}", re.ASCII)
A_YEAR = timedelta(days=366)


def of_token(token: str, asking: Asking | None) -> Caller | None:
    """Whose it is; None for one that is nobody's, expired or revoked. Notes what is asked, and on which day
    it is used."""
    if not _WRITTEN.fullmatch(token):
        return None
    try:
        found = cast("Token", Token.objects.get_from_key(token))
    except Token.DoesNotExist:
        return None
    if found.has_expired or (found.user is not None and not _is_staff(found.user)):
        return None
    today = timezone.now().date()
    if found.last_used != today:
        Token.objects.filter(pk=found.pk).update(last_used=today)
    return _noted(_caller(found), asking)


def of_session(key: str, asking: Asking | None) -> Caller | None:
    """The staff user who signed in to the admin site with this session; None without all of STAFF_RIGHTS."""
    request: Any = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    user = get_user(request)
    if not _is_staff(user):
        return None
    return _noted(Caller(Kind.STAFF, f"user {user.get_username()}"), asking)


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
        note(_caller(token), Asking("POST exchange", code.person_id))
    return token, token_shown


def _hold_person(person_id: int) -> bool:
    """Keeps a person from being deleted until the transaction ends. False if there is no such person."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM persons_person WHERE id = %s FOR KEY SHARE", [person_id])
        return cursor.rowcount > 0


# --- the processes' own token ------------------------------------------------------------------------


def admit_processes() -> None:
    """Makes the configured service tokens known, unless they are."""
    for shown in {*settings.SERVICE_TOKENS.values(), settings.SERVICE_TOKEN} - {""}:
        if not _WRITTEN.fullmatch(shown):
            raise ValueError("SERVICE_TOKEN must be 8 letters and digits, a dot, and 32 or more of them.")
        prefix, hashed = shown.partition(".")[0], Token.objects.key_generator.hash(shown)
        if not Token.objects.filter(prefix=prefix).exists():
            Token.objects.create(
                id=f"{prefix}.{hashed}",
                prefix=prefix,
                hashed_key=hashed,
                name="SERVICE_TOKEN",
                kind=Kind.SERVICE,
                expiry_date=timezone.now() + A_YEAR,
            )


# It need not be on disk before the answer is: a crash of the database may lose the last half second of it.
# Of somebody who is nobody no id is kept, and while this is written nobody can be erased.
_NOTE = """
WITH soon AS (SELECT set_config('synchronous_commit', 'off', true))
INSERT INTO access_question (at, kind, caller, what, person_id)
SELECT now(), %s, %s, %s, (SELECT id FROM persons_person WHERE id = %s FOR KEY SHARE) FROM soon
"""


def note(caller: Caller, asking: Asking) -> None:
    """Who asked about whom."""
    with connection.cursor() as cursor:
        cursor.execute(_NOTE, [caller.kind, caller.name, asking.what, asking.person_id])


def _noted(caller: Caller, asking: Asking | None) -> Caller:
    """What processes ask each other is not noted: the door has done it."""
    if asking is not None and caller.kind is not Kind.SERVICE:
        note(caller, asking)
    return caller


def _is_staff(user: Any) -> bool:
    return bool(user.is_active and user.is_staff and user.has_perms(STAFF_RIGHTS))


def _caller(token: Token) -> Caller:
    kind = Kind(token.kind)
    name = f"user {token.user.get_username()}" if token.user else f"token {token.prefix}"
    return Caller(kind, name, token.people, token.expiry_date.timestamp())
