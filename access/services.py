"""Whose token, whose session: the seam's `local:` for access. Tokens are made here, too."""

import re
from datetime import timedelta
from importlib import import_module
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import get_user
from django.db import connection
from django.http import HttpRequest
from django.utils import timezone

from access.models import Token
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
