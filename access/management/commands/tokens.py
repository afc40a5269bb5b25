"""`manage.py tokens make | link | links | list | revoke`: tokens and sign-in links without the admin site."""

import csv
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from access import services
from access.callers import Kind
from access.models import DEFAULT_DAYS, MAX_DAYS, NEVER, SignInCode, Token

KINDS = [kind.value for kind in (Kind.INGEST, Kind.PERSON, Kind.SERVICE, Kind.STAFF)]


def days(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MAX_DAYS:
        raise ArgumentTypeError(f"must be a number of days from 1 to {MAX_DAYS}")
    return int(text)


def person(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) < 2**63:
        raise ArgumentTypeError("must be a person's id")
    return int(text)


def people(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not first.isdigit() or not (last or first).isdigit():
        raise ArgumentTypeError("must be a person's id, or two ids with a hyphen between them")
    return int(first), int(last or first)


def _add_days(parser: ArgumentParser, what: str) -> None:
    text = f"{what}, 1 to {MAX_DAYS} (default: %(default)s)"
    parser.add_argument("--days", type=days, default=DEFAULT_DAYS, help=text)


class Command(BaseCommand):
    help = "Makes, lists and revokes the tokens and sign-in links that ACCESS=tokens requires."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        make = verbs.add_parser("make", help="make a token and print it; it is not shown again")
        make.add_argument("kind", choices=KINDS)
        make.add_argument(
            "--people",
            type=people,
            metavar="ID[-ID]",
            help="the person; for an event's devices the first and last id",
        )
        make.add_argument("--user", help="for the kind staff: the user whose rights the token has")
        make.add_argument("--name", default="", help="the purpose of the token (default: its kind and owner)")
        _add_days(make, "days until it expires")
        link = verbs.add_parser("link", help="make a sign-in link and print it; it works once")
        link.add_argument(
            "--people", type=person, metavar="ID", required=True, help="the person that it signs in"
        )
        link.add_argument(
            "--name", default="", help="the name of the link and of its token (default: the person's id)"
        )
        _add_days(link, "days until the link and its token expire")
        links = verbs.add_parser(
            "links", help="make a sign-in link for each of some people and print them with the names, as CSV"
        )
        links.add_argument(
            "--people", type=people, metavar="ID[-ID]", required=True, help="the first and last id"
        )
        _add_days(links, "days until the links and their tokens expire")
        listing = verbs.add_parser(
            "list", help="print all tokens and links, newest first, without their secrets"
        )
        listing.add_argument("--usable", action="store_true", help="leave out used, expired and revoked ones")
        revoke = verbs.add_parser("revoke", help="revoke tokens and links")
        revoke.add_argument("prefix", nargs="+", help="the first 8 characters, as printed by `list`")

    def handle(self, *, verb: str, **options: Any) -> None:
        verbs: dict[str, Callable[..., None]] = {
            "make": self._make,
            "link": self._link,
            "links": self._links,
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
        owner_name = user or ("-".join(map(str, sorted(set(people)))) if people else "")
        try:
            _token, key = services.make(
                name=name or f"{kind} {owner_name}".strip(),
                kind=Kind(kind),
                first_person_id=first,
                last_person_id=last,
                user=owner,
                expiry_date=timezone.now() + timedelta(days=days),
            )
        except ValidationError as fault:
            raise CommandError(" ".join(fault.messages)) from None
        self.stdout.write(key)

    def _link(self, *, people: int, name: str, days: int, **_: Any) -> None:
        expires = timezone.now() + timedelta(days=days)
        try:
            url = services.make_link(people, name=name or f"person {people}", expires=expires)
        except ValidationError as fault:
            raise CommandError(" ".join(fault.messages)) from None
        self.stdout.write(url)

    def _links(self, *, people: tuple[int, int], days: int, **_: Any) -> None:
        try:
            expires = timezone.now() + timedelta(days=days)
            links = services.make_links([people], expires=expires, page="share")
        except ValidationError as fault:
            raise CommandError(" ".join(fault.messages)) from None
        if not links:
            raise CommandError(f"There is no person from {people[0]} to {people[1]}.")
        table = csv.writer(self.stdout, lineterminator="\n")
        table.writerow(services.Link._fields)
        table.writerows(links)

    def _list(self, *, usable: bool, **_: Any) -> None:
        self.stdout.write(f"{'prefix':<10}{'kind':<9}{'state':<9}{'expires':<12}{'last used':<12}name")
        for token in Token.objects.iterator():
            self._row(token, token.kind, token.last_used, usable=usable)
        for code in SignInCode.objects.select_related("made_with").iterator():
            self._row(code, "link", code.used_at and code.used_at.date(), usable=usable)

    def _row(self, record: Token | SignInCode, kind: str, used: date | None, *, usable: bool) -> None:
        if usable and record.state != "usable":
            return
        expires = "never" if record.expiry_date == NEVER else f"{record.expiry_date:%Y-%m-%d}"
        last = f"{used or 'never'}"
        self.stdout.write(
            f"{record.prefix:<10}{kind:<9}{record.state:<9}{expires:<12}{last:<12}{record.name}"
        )

    def _revoke(self, *, prefix: list[str], **_: Any) -> None:
        models = (Token, SignInCode)
        with transaction.atomic():
            found = [model.objects.filter(prefix__in=prefix) for model in models]
            known = {found_prefix for each in found for found_prefix in each.values_list("prefix", flat=True)}
            if unknown := set(prefix) - known:
                raise CommandError(
                    f"There is no token or link {', '.join(sorted(unknown))}. Nothing was revoked."
                )
            for each in found:
                each.update(revoked=True)
        self.stdout.write(f"Revoked: {', '.join(prefix)}")
