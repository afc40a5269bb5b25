"""The `local:` implementation of the access seam: identifies tokens and sessions, writes the audit log.

Also makes tokens and sign-in links.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.contrib.auth import get_user
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from access import second_factor
from access.audit import MAX_IDS, People, Question
from access.callers import TOKEN_FORM, Caller, Kind, staff_caller
from access.models import NEVER, SignInCode, Token
from access.models import Question as AuditRow

# The admin rights that a staff user needs for the other doors, which have no finer permissions.
STAFF_RIGHTS = (
    "persons.view_person",
    "persons.add_person",
    "persons.change_person",
    "persons.delete_person",
    "locations.view_location",
)
_KEY = re.compile(TOKEN_FORM, re.ASCII)
GRACE = timedelta(days=1)


def identify_tokens(tokens: Iterable[str]) -> dict[str, Caller]:
    """The callers of those tokens that are valid. Records the day of use.

    Tokens that are unknown, expired or revoked are absent.
    """
    prefixes = {key: key.partition(".")[0] for key in tokens if _KEY.fullmatch(key)}
    candidates = {
        token.prefix: token for token in Token.objects.get_usable_keys().filter(prefix__in=prefixes.values())
    }
    valid = {
        key: token
        for key, prefix in prefixes.items()
        if (token := candidates.get(prefix)) is not None and token.is_valid(key) and _is_usable(token)
    }
    today = timezone.now().date()
    if first_today := [token.pk for token in valid.values() if token.last_used != today]:
        Token.objects.filter(pk__in=first_today).update(last_used=today)
    return {key: _caller(token) for key, token in valid.items()}


def _is_usable(token: Token) -> bool:
    return not token.has_expired and (token.user is None or _is_staff(token.user))


def token_changes() -> int:
    """A number that grows with each change of a token, such as revoking or deleting it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT number FROM access_token_changes")
        return int(cursor.fetchone()[0])


def identify_session(key: str) -> Caller | None:
    """The staff user of this session of the admin site; None if they lack one of STAFF_RIGHTS."""
    request: Any = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    user = get_user(request)
    if not _is_staff(user) or not second_factor.is_verified(request.session, user):
        return None
    request.session.touch()
    return staff_caller(user)


def make(*, name: str, kind: Kind, **fields: Any) -> tuple[Token, str]:
    """A new token and its key, which is not stored. Raises ValidationError."""
    token = Token(name=name, kind=kind, **fields)
    key = Token.objects.assign_key(token)
    token.full_clean()
    token.save()
    return token, key


# --- sign-in links ---------------------------------------------------------------------------------


ASK_AGAIN = "Ask the organiser for another one."
NOT_VALID = f"This sign-in link is not valid, or it was revoked. {ASK_AGAIN}"


class CodeRefused(Exception):
    """A sign-in code gives no token. The text says why."""


class Link(NamedTuple):
    """A sign-in link and the names of its person."""

    person_id: int
    first_name: str
    last_name: str
    company_name: str
    url: str


MAX_LINKS = 10_000  # at once


def make_link(person_id: int, *, name: str, expires: datetime, made_with: Token | None = None) -> str:
    """The URL of a sign-in link with a new one-time code. Raises ValidationError."""
    links = make_links([(person_id, person_id)], name=name, expires=expires, made_with=made_with)
    if not links:
        raise ValidationError({"person_id": f"There is no person {person_id}."})
    return links[0].url


def make_links(
    ranges: Sequence[tuple[int, int]],
    *,
    expires: datetime,
    name: str = "",
    page: str = "",
    made_with: Token | None = None,
) -> list[Link]:
    """A sign-in link for each person in these disjoint ranges of ids, ordered by id, in one transaction.

    Without a `name` a code has the name of its person. `page` is the page of the app that the link opens,
    such as `share`. Raises ValidationError for more than MAX_LINKS people.
    """
    codes, links = [], []
    with transaction.atomic():
        people = _lock_people(ranges, MAX_LINKS + 1)
        if len(people) > MAX_LINKS:
            raise ValidationError(f"At most {MAX_LINKS:,} sign-in links can be made at once.")
        for person_id, first_name, last_name, company_name in people:
            code = SignInCode(
                name=name or f"{first_name} {last_name}"[:50],
                person_id=person_id,
                expiry_date=expires,
                made_with=made_with,
            )
            key = SignInCode.objects.assign_key(code)
            code.clean_fields()
            codes.append(code)
            url = f"{settings.APP_URL.rstrip('/')}/{page}#code={key}"
            links.append(Link(person_id, first_name, last_name, company_name, url))
        SignInCode.objects.bulk_create(codes, batch_size=1000)
    return links


def _lock_people(ranges: Sequence[tuple[int, int]], limit: int) -> list[tuple[int, str, str, str]]:
    """The people in these ranges of ids, locked against deletion until the transaction ends."""
    firsts, lasts = [first for first, _ in ranges], [last for _, last in ranges]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, first_name, last_name, company_name "
            "FROM unnest(%s::bigint[], %s::bigint[]) AS range (first, last) "
            "JOIN persons_person ON id BETWEEN first AND last "
            "ORDER BY id LIMIT %s FOR KEY SHARE OF persons_person",
            [firsts, lasts, limit],
        )
        return list(cursor.fetchall())


class SignedIn(NamedTuple):
    """The result of an exchange: the token that reads, and the keys of both tokens."""

    token: Token
    key: str
    ingest_key: str


def exchange(code_key: str) -> SignedIn:
    """Two tokens for the person of a sign-in code: one reads, the other sends pings. Raises CodeRefused.

    One transaction marks the code as used and makes the tokens. So a crash leaves the code unused, and of two
    concurrent calls one is refused.
    """
    try:
        if not _KEY.fullmatch(code_key):
            raise SignInCode.DoesNotExist
        code = cast("SignInCode", SignInCode.objects.get_from_key(code_key))
    except SignInCode.DoesNotExist:
        raise CodeRefused(NOT_VALID) from None
    with transaction.atomic():
        # Locks the person before the code, in the same order as a deletion does, to prevent a deadlock.
        exists = _lock_people([(code.person_id, code.person_id)], 1)
        code = SignInCode.objects.select_for_update(of=("self",)).select_related("made_with").get(pk=code.pk)
        if not exists or code.state == "revoked":
            raise CodeRefused(NOT_VALID)
        if code.state == "expired":
            raise CodeRefused(f"This sign-in link has expired. {ASK_AGAIN}")
        if code.state == "used":
            raise CodeRefused(
                f"This sign-in link was used before, and it works only once. {ASK_AGAIN} "
                "If you did not use it yourself, tell the organiser."
            )
        SignInCode.objects.filter(pk=code.pk).update(used_at=timezone.now())
        (token, key), (_, ingest_key) = (
            make(name=code.name, kind=kind, first_person_id=code.person_id, expiry_date=code.expiry_date)
            for kind in (Kind.PERSON, Kind.INGEST)
        )
        note(_caller(token), Question("POST exchange", People.of([code.person_id]), outcome="201"))
    return SignedIn(token, key, ingest_key)


# --- service tokens ------------------------------------------------------------------------------


def sync_service_tokens() -> None:
    """Creates the configured service tokens, and lets those expire that are no longer configured.

    `migrate` calls it. A token that is no longer configured expires after GRACE, so that the processes that
    use it work until they are replaced. A revoked token stays revoked.
    """
    configured = dict(settings.SERVICE_TOKENS)
    if settings.SERVICE_TOKEN and settings.SERVICE_TOKEN not in configured.values():
        configured["SERVICE_TOKEN"] = settings.SERVICE_TOKEN
    prefixes = []
    for name, key in configured.items():
        if not _KEY.fullmatch(key):
            raise ValueError(f"{name}: must be 8 letters or digits, a dot, and 32 to 100 letters or digits.")
        prefix = key.partition(".")[0]
        prefixes.append(prefix)
        hashed = Token.objects.key_generator.hash(key)
        token = Token.objects.filter(prefix=prefix).first()
        if token is None:
            Token.objects.create(
                id=f"{prefix}.{hashed}",
                prefix=prefix,
                hashed_key=hashed,
                name=name[:50],
                kind=Kind.SERVICE,
                expiry_date=NEVER,
            )
        elif token.hashed_key != hashed or token.kind != Kind.SERVICE:
            raise ValueError(f"{name}: another token has the prefix {prefix}. Generate a new one.")
        else:
            Token.objects.filter(prefix=prefix, revoked=False).update(expiry_date=NEVER)
    removed = Token.objects.filter(expiry_date=NEVER).exclude(prefix__in=prefixes)
    if not settings.SERVICE_TOKENS:  # this process may know only its own token
        removed = removed.filter(name="SERVICE_TOKEN")
    if configured:
        removed.update(expiry_date=timezone.now() + GRACE)


# The commit is asynchronous, so a crash may lose the last half second. An id is stored only if the person
# exists; the lock prevents their deletion until the commit. Unknown ids share one row with a NULL id.
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
    """Writes a question to the audit log: a row per listed person, or one for everybody or too many."""
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
    """Matches the rows of the audit log with this person's id, or with a range of ids that contains it."""
    in_range = Q(people__gt=MAX_IDS, first_person_id__lte=person_id, last_person_id__gte=person_id)
    return Q(person_id=person_id) | in_range


def questions_about(person_id: int, limit: int) -> list[AuditRow]:
    """The newest rows of the audit log about this person, newest first, without those of persons."""
    rows = AuditRow.objects.filter(may_be_about(person_id)).exclude(kind=Kind.PERSON)
    return list(rows.order_by("-at", "-id")[:limit])


def may_make_tokens(user: Any) -> bool:
    """Staff may not make tokens with more rights than they have."""
    return bool(user.has_perm("access.add_token") and user.has_perms(STAFF_RIGHTS))


def _is_staff(user: Any) -> bool:
    return bool(user.is_active and user.is_staff and user.has_perms(STAFF_RIGHTS))


def _caller(token: Token) -> Caller:
    kind = Kind(token.kind)
    name = staff_caller(token.user).name if token.user else f"token {token.prefix}"
    return Caller(kind, name, token.people, token.expiry_date.timestamp())
