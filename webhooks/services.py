"""The use cases of webhooks, for staff. Every interface calls these; each checks the caller."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied

from access.callers import EDITORS, Caller
from connect.errors import OutOfBounds
from connect.wire_format import format_time
from webhooks import addresses, limits, storage


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook as staff see it. Only `create` gives the secret."""

    id: int
    url: str
    events: list[str]
    person_id: int | None
    company: str | None
    min_duration_s: float | None
    created: datetime
    active: bool
    secret: str = ""

    def to_wire(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "url": self.url,
            "events": self.events,
            "person_id": self.person_id,
            "company": self.company,
            "min_duration": self.min_duration_s,
            "created": format_time(self.created),
            "active": self.active,
            **({"secret": self.secret} if self.secret else {}),
        }


def list_all(caller: Caller) -> list[Webhook]:
    """All webhooks, ordered by id."""
    _check(caller)
    return [_of(each) for each in storage.webhooks()]


def get(caller: Caller, webhook_id: int) -> Webhook | None:
    """None if there is none with this id."""
    _check(caller)
    return next((_of(each) for each in storage.webhooks(webhook_id)), None)


def create(
    caller: Caller,
    *,
    url: str,
    events: list[str],
    person_id: int | None = None,
    company: str | None = None,
    min_duration_s: float | None = None,
) -> Webhook:
    """Returns the new webhook with its secret. Raises OutOfBounds."""
    _check(caller)
    try:
        addresses.parse(url)
    except addresses.Forbidden as fault:
        raise OutOfBounds({"url": [str(fault)]}) from None
    known = [each for each in limits.EVENTS if each in events]
    filters = {"person_id": person_id, "company": company, "min_duration_s": min_duration_s}
    try:
        created = storage.create(url=url, events=known, **filters)
    except storage.UnknownPerson:
        raise OutOfBounds({"person_id": [f"There is no person {person_id}."]}) from None
    except storage.TooManyWebhooks:
        text = f"There are {limits.MAX_WEBHOOKS} webhooks already; no more are allowed."
        raise OutOfBounds({"non_field_errors": [text]}) from None
    return _of(created, secret=created.secret)


def delete(caller: Caller, webhook_id: int) -> bool:
    """Deletes a webhook and what waits for it. False if there is none with this id."""
    _check(caller)
    return storage.delete(webhook_id)


def _of(row: storage.Webhook, *, secret: str = "") -> Webhook:
    return Webhook(
        row.id,
        row.url,
        row.events,
        row.person_id,
        row.company,
        row.min_duration_s,
        row.created,
        row.active,
        secret,
    )


def _check(caller: Caller) -> None:
    if not caller.may(EDITORS):
        raise PermissionDenied
