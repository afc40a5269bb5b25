"""`manage.py tokens make | list | revoke`: tokens without the admin site."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from access import services
from access.models import DAYS, NEVER, Token
from connect.callers import Kind

KINDS = [kind.value for kind in (Kind.INGEST, Kind.PERSON, Kind.SERVICE, Kind.STAFF)]


def days(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 3660:
        raise ArgumentTypeError("must be a number of days from 1 to 3660")
    return int(text)


def people(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not first.isdigit() or not (last or first).isdigit():
        raise ArgumentTypeError("must be a person's id, or two with a hyphen between them")
    return int(first), int(last or first)


class Command(BaseCommand):
    help = "Makes, lists and revokes the tokens that callers show where ACCESS=tokens."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        make = verbs.add_parser("make", help="prints a new token, this once")
        make.add_argument("kind", choices=KINDS)
        make.add_argument(
            "--people", type=people, metavar="ID[-ID]", help="whose it is; for an event the first and last id"
        )
        make.add_argument("--user", help="for the kind staff: the name of the user whose rights it has")
        make.add_argument("--name", default="", help="what it is for (default: its kind and whose it is)")
        make.add_argument(
            "--days", type=days, default=DAYS, help="until it expires, 1 to 3660 (default: %(default)s)"
        )
        listing = verbs.add_parser("list", help="prints all tokens, the newest first, never what is secret")
        listing.add_argument("--usable", action="store_true", help="without the expired and revoked ones")
        revoke = verbs.add_parser("revoke", help="makes tokens useless at once")
        revoke.add_argument("prefix", nargs="+", help="the first 8 letters, as `list` prints them")

    def handle(self, *, verb: str, **options: Any) -> None:
        verbs: dict[str, Callable[..., None]] = {
            "make": self._make,
            "list": self._list,
            "revoke": self._revoke,
        }
        verbs[verb](**options)

    def _make(
        self, *, kind: str, people: tuple[int, int] | None, user: str, name: str, days: int, **_: Any
    ) -> None:
        owner = None
        if user:
            owner = get_user_model().objects.filter(username=user).first()
            if owner is None:
                raise CommandError(f"There is no user {user!r}.")
        first, last = people or (None, None)
        whose = user or ("-".join(map(str, sorted(set(people)))) if people else "")
        try:
            _token, shown = services.make(
                name=name or f"{kind} {whose}".strip(),
                kind=Kind(kind),
                first_person_id=first,
                last_person_id=last,
                user=owner,
                expiry_date=timezone.now() + timedelta(days=days),
            )
        except ValidationError as fault:
            raise CommandError(" ".join(fault.messages)) from None
        self.stdout.write(shown)

    def _list(self, *, usable: bool, **_: Any) -> None:
        self.stdout.write(f"{'prefix':<10}{'kind':<9}{'state':<9}{'expires':<12}{'last used':<12}name")
        for token in Token.objects.iterator():
            if usable and token.state != "usable":
                continue
            used = f"{token.last_used or 'never'}"
            expires = "never" if token.expiry_date == NEVER else f"{token.expiry_date:%Y-%m-%d}"
            self.stdout.write(
                f"{token.prefix:<10}{token.kind:<9}{token.state:<9}{expires:<12}{used:<12}{token.name}"
            )

    def _revoke(self, *, prefix: list[str], **_: Any) -> None:
        known = set(Token.objects.filter(prefix__in=prefix).values_list("prefix", flat=True))
        if unknown := set(prefix) - known:
            raise CommandError(f"There is no token {', '.join(sorted(unknown))}. Nothing was revoked.")
        Token.objects.filter(prefix__in=prefix).update(revoked=True)
        self.stdout.write(f"Revoked: {', '.join(prefix)}")
