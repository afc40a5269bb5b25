"""Reads and writes webhooks and deliveries.

Locks are taken in one order, so that no two transactions wait for each other: people, webhooks, deliveries.
"""

import base64
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from locations import person_rows
from webhooks import limits
from webhooks.messages import Filter, Message, People, identifier
from webhooks.models import Delivery, State, Webhook

_LOCK = 0x776562  # class of the advisory locks: one process delivers to a webhook at a time
_MAX_REASON = 300  # characters


class UnknownPerson(LookupError):
    """The person of a filter does not exist."""


class TooManyWebhooks(Exception):
    """There are limits.MAX_WEBHOOKS already."""


# --- webhooks ------------------------------------------------------------------------------------


def webhooks(webhook_id: int | None = None) -> QuerySet[Webhook]:
    """All webhooks, or the one with this id."""
    found = Webhook.objects.order_by("id")
    return found if webhook_id is None else found.filter(id=_possible(webhook_id))


def _possible(webhook_id: int) -> int:
    """An id that the database can compare; no webhook has the id 0."""
    return webhook_id if webhook_id < 2**31 else 0


def create(**fields: Any) -> Webhook:
    """Stores a webhook with a new secret. Raises UnknownPerson, TooManyWebhooks."""
    now = timezone.now()
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    with transaction.atomic():
        person_id = fields.get("person_id")
        if person_id is not None and not person_rows.lock_existing([person_id]):
            raise UnknownPerson
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, 0)", [_LOCK])  # one at a time is counted
        if Webhook.objects.count() >= limits.MAX_WEBHOOKS:
            raise TooManyWebhooks
        return Webhook.objects.create(secret=secret, created=now, next_attempt=now, **fields)


def delete(webhook_id: int) -> bool:
    """Deletes a webhook and its deliveries. False if there is none."""
    with transaction.atomic():
        # Locked first: nobody adds deliveries between the deletion of the others and that of the webhook.
        found = Webhook.objects.select_for_update().filter(id=_possible(webhook_id)).first()
        if found is None:
            return False
        found.delete()
    return True


# --- deliveries ----------------------------------------------------------------------------------

_FINDABLE = f"SELECT id FROM unnest(%s::bigint[]) AS id WHERE {person_rows.is_findable('id')}"

# A correction that comes before the first attempt replaces the message. After that it is not told.
_INSERT = """
INSERT INTO webhooks_delivery AS stored (webhook_id, message_id, event, person_a_id, person_b_id, content,
    occurred, state, attempts, give_up_at, last_reason)
SELECT *, 'waiting', 0, %s, ''
  FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::jsonb[],
              %s::timestamptz[])
    ON CONFLICT (message_id) DO UPDATE SET content = excluded.content
 WHERE stored.state = 'waiting' AND stored.attempts = 0
"""

_GIVE_UP_OLDEST = """
UPDATE webhooks_delivery SET state = 'given up', finished = now(), last_reason = %(reason)s
 WHERE id IN (SELECT id FROM webhooks_delivery WHERE webhook_id = %(webhook_id)s AND state = 'waiting'
               ORDER BY id DESC OFFSET %(limit)s)
"""


def add(messages: Sequence[Message], people_of: Callable[[set[int]], People]) -> int:
    """Adds the deliveries of these messages in one transaction; returns their number with repeats.

    `people_of` is called only if a webhook filters by company. Nothing is added about people who do not
    exist or are not findable.
    """
    filters = _filters(Webhook.objects.filter(active=True))
    passed = [(each, message) for message in messages for each in filters if each.passes(message)]
    if any(each.company is not None for each, _ in passed):
        ids = {i for each, message in passed if each.company is not None for i in message.person_ids}
        people = people_of(ids)
        passed = [(each, message) for each, message in passed if each.passes_people(message, people)]
    # By id: the last one of a batch counts.
    found = {identifier(each.webhook_id, message): (each.webhook_id, message) for each, message in passed}
    if not found:
        return 0
    with transaction.atomic():
        visible = _lock_findable({i for _, message in found.values() for i in message.person_ids})
        present = _lock_webhooks({webhook_id for webhook_id, _ in found.values()})
        rows = [
            (webhook_id, message_id, *_columns(message))
            for message_id, (webhook_id, message) in found.items()
            if webhook_id in present and visible.issuperset(message.person_ids)
        ]
        if rows:
            _insert(rows, present)
    return len(rows)


def _insert(rows: list[tuple[Any, ...]], webhook_ids: set[int]) -> None:
    columns = list(map(list, zip(*rows, strict=True)))
    reason = f"More than {limits.MAX_WAITING:,} deliveries waited."
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, [timezone.now() + limits.PATIENCE, *columns])
        for webhook_id in sorted(webhook_ids):
            values: dict[str, Any] = {"webhook_id": webhook_id, "reason": reason}
            cursor.execute(_GIVE_UP_OLDEST, values | {"limit": limits.MAX_WAITING})


def _columns(message: Message) -> tuple[Any, ...]:
    content = orjson.dumps(message.content).decode()
    return (message.event, *message.person_ids, content, message.sent)


def _filters(webhooks: QuerySet[Webhook]) -> list[Filter]:
    names = ("id", "events", "created", "person_id", "company", "min_duration_s")
    return [Filter(*row) for row in webhooks.values_list(*names)]


def _lock_findable(person_ids: set[int]) -> set[int]:
    """Those who exist and are findable. Nobody can delete them before the transaction ends."""
    known = person_rows.lock_existing(person_ids)
    with connection.cursor() as cursor:
        cursor.execute(_FINDABLE, [sorted(known)])
        return {person_id for (person_id,) in cursor.fetchall()}


def _lock_webhooks(ids: set[int]) -> set[int]:
    """Those that exist. Until the transaction ends, nobody deletes them or changes many deliveries."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM webhooks_webhook WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE", [sorted(ids)]
        )
        return {webhook_id for (webhook_id,) in cursor.fetchall()}


# --- delivering ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Next:
    """The delivery that a webhook waits for. `is_visible`: both people are findable."""

    id: int
    url: str
    secret: str
    failures: int
    message_id: str
    event: str
    person_ids: list[int]
    content: Any  # as in Message
    occurred: datetime
    give_up_at: datetime
    is_visible: bool


# Webhooks with something to deliver now to which nobody delivers, those first that have waited longest.
_DUE = """
SELECT id FROM webhooks_webhook AS webhook WHERE active AND next_attempt <= now()
   AND EXISTS (SELECT FROM webhooks_delivery WHERE webhook_id = webhook.id AND state = 'waiting')
   AND NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = webhook.id
                      AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
 ORDER BY next_attempt, id
"""

_NEXT = f"""
SELECT delivery.id, url, secret, failures, message_id, event, ARRAY[person_a_id, person_b_id], content,
       occurred, give_up_at,
       {person_rows.is_findable("person_a_id")} AND {person_rows.is_findable("person_b_id")}
  FROM webhooks_delivery AS delivery JOIN webhooks_webhook AS webhook ON webhook.id = webhook_id
 WHERE webhook_id = %s AND state = 'waiting' AND active AND next_attempt <= now()
 ORDER BY delivery.id LIMIT 1
"""


def due() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(_DUE, [_LOCK])
        return [webhook_id for (webhook_id,) in cursor.fetchall()]


@contextmanager
def only_process(webhook_id: int) -> Iterator[bool]:
    """Whether this thread alone delivers to the webhook meanwhile.

    The lock belongs to the session of the database: it ends with it, also when the process is killed.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [_LOCK, webhook_id])
        (is_locked,) = cursor.fetchone()
    try:
        yield is_locked
    finally:
        if is_locked:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [_LOCK, webhook_id])


def next_delivery(webhook_id: int) -> Next | None:
    """The oldest one that waits, if its webhook is active and the time for an attempt has come."""
    with connection.cursor() as cursor:
        cursor.execute(_NEXT, [webhook_id])
        row = cursor.fetchone()
    if row is None:
        return None
    found = Next(*row)
    return replace(found, content=orjson.loads(found.content))


def drop(delivery: Next) -> None:
    """Forgets a delivery that may not be told."""
    Delivery.objects.filter(id=delivery.id).delete()


def delivered(webhook_id: int, delivery: Next, status: int | None) -> None:
    with transaction.atomic():
        Webhook.objects.filter(id=webhook_id).update(failures=0, next_attempt=Now())
        _attempted(delivery, status, "", state=State.DELIVERED, content=None, finished=timezone.now())


def failed(webhook_id: int, delivery: Next, status: int | None, reason: str, *, pause_s: float) -> None:
    """The next attempt is after the pause. The last one is at the end of the delivery's time."""
    now = timezone.now()
    next_attempt = now + timedelta(seconds=pause_s)
    is_last = now >= delivery.give_up_at
    if not is_last:
        next_attempt = min(next_attempt, delivery.give_up_at)
    more = {"state": State.GIVEN_UP, "finished": now} if is_last else {}
    with transaction.atomic():
        Webhook.objects.filter(id=webhook_id).update(
            failures=delivery.failures + 1, next_attempt=next_attempt
        )
        _attempted(delivery, status, reason, **more)


def gone(webhook_id: int, delivery: Next, status: int | None, reason: str) -> None:
    """Deactivates the webhook and gives up everything that waits for it."""
    with _locked(webhook_id):
        Webhook.objects.filter(id=webhook_id).update(active=False)
        _attempted(delivery, status, reason)
        Delivery.objects.filter(webhook_id=webhook_id, state=State.WAITING).update(
            state=State.GIVEN_UP, finished=timezone.now(), last_status=status, last_reason=_printable(reason)
        )


@contextmanager
def _locked(webhook_id: int) -> Iterator[None]:
    """A transaction that changes many deliveries of a webhook. Meanwhile nobody adds any."""
    with transaction.atomic():
        Webhook.objects.select_for_update().filter(id=webhook_id).first()
        yield


def _attempted(delivery: Next, status: int | None, reason: str, **more: Any) -> None:
    values = {"last_status": status, "last_reason": _printable(reason), **more}
    Delivery.objects.filter(id=delivery.id).update(attempts=F("attempts") + 1, **values)


def _printable(reason: str) -> str:
    return "".join(each if each.isprintable() else " " for each in reason)[:_MAX_REASON]


def resend(deliveries: QuerySet[Delivery]) -> int:
    """Lets given-up deliveries to active webhooks wait again, as if they were new. Returns their number."""
    now = timezone.now()
    again = {"state": State.WAITING, "finished": None, "attempts": 0, "give_up_at": now + limits.PATIENCE}
    chosen = deliveries.filter(state=State.GIVEN_UP, webhook__active=True)
    number = 0
    for webhook_id in sorted(set(chosen.order_by().values_list("webhook_id", flat=True))):
        with _locked(webhook_id):
            number += chosen.filter(webhook_id=webhook_id).update(**again)
            Webhook.objects.filter(id=webhook_id).update(failures=0, next_attempt=now)
    return number


# --- what is not kept ----------------------------------------------------------------------------

_EXPIRE = """
UPDATE webhooks_delivery SET state = 'given up', finished = now(),
       last_reason = CASE WHEN last_reason = '' THEN %(reason)s ELSE last_reason END
 WHERE webhook_id = %(webhook_id)s AND state = 'waiting' AND give_up_at < now() - interval '1 minute'
"""

_TRIM = """
DELETE FROM webhooks_delivery AS old
 WHERE webhook_id = %(webhook_id)s AND state = %(state)s AND (finished < %(before)s OR id IN (
       SELECT id FROM webhooks_delivery WHERE webhook_id = %(webhook_id)s AND state = %(state)s
        ORDER BY id DESC OFFSET %(limit)s))
"""


def tidy() -> None:
    """Gives up what has waited too long, and deletes what is too old or too much."""
    now = timezone.now()
    bounds = {
        State.DELIVERED: (limits.KEEP_DELIVERED, limits.MAX_DELIVERED),
        State.GIVEN_UP: (limits.KEEP_GIVEN_UP, limits.MAX_GIVEN_UP),
    }
    hours = limits.PATIENCE.total_seconds() / 3600
    for webhook_id in Webhook.objects.values_list("id", flat=True):
        with _locked(webhook_id), connection.cursor() as cursor:
            reason = f"Not delivered within {hours:g} hours."
            cursor.execute(_EXPIRE, {"webhook_id": webhook_id, "reason": reason})
            for state, (age, limit) in bounds.items():
                values: dict[str, Any] = {"webhook_id": webhook_id, "state": state.value}
                cursor.execute(_TRIM, values | {"before": now - age, "limit": limit})
