"""Messages: read from the topic of encounters, matched with webhooks, written as the body of a request."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from connect.wire_format import format_time, parse_instant, to_microseconds

EVENTS = {"ongoing": "encounter.started", "ended": "encounter.ended"}  # by the state of the encounter
_NUMBERS = ("duration_s", "pings", "min_distance_m")
_TEXTS = ("latitude", "longitude")
_DEGREES = re.compile(r"-?\d{1,3}\.\d{1,12}", re.ASCII)

People = Mapping[int, dict[str, Any] | None]  # in wire form by id; None for a deleted person


@dataclass(frozen=True, slots=True)
class Message:
    """An encounter that has started or ended.

    `content` is the row of GET /api/encounters without its people. `sent` is the time of the message.
    """

    event: str
    person_ids: tuple[int, int]
    start: datetime
    duration_s: float
    content: dict[str, Any]
    sent: datetime


@dataclass(frozen=True, slots=True)
class Filter:
    """What a webhook wants to be told. None lets everything through."""

    webhook_id: int
    events: Sequence[str]
    created: datetime
    person_id: int | None = None
    company: str | None = None
    min_duration_s: float | None = None

    def passes(self, message: Message) -> bool:
        """Whether to tell this message, as far as it is known without the names of its people.

        A webhook is not told what happened before it was created. The duration of an encounter that goes on
        is not known, so `min_duration_s` applies only to one that has ended.
        """
        return (
            message.event in self.events
            and message.sent >= self.created
            and self.person_id in (None, *message.person_ids)
            and (message.event != "encounter.ended" or message.duration_s >= (self.min_duration_s or 0))
        )

    def passes_people(self, message: Message, people: People) -> bool:
        """Whether one of the two is of the company."""
        both = map(people.get, message.person_ids)
        companies = {person["company_name"] for person in both if person}
        return self.company is None or self.company in companies


def parse(value: bytes | None, sent: datetime) -> Message | None:
    """None for a message that tells nothing: a withdrawn encounter or a deleted person.

    Raises ValueError for a value that is no encounter.
    """
    if value is None:
        return None
    row = orjson.loads(value)
    try:
        if row["state"] == "withdrawn":
            return None
        event = EVENTS[row["state"]]
        first, second = row["person_ids"]
        start = parse_instant(row["start"])
        content = {
            "start": format_time(start),
            "end": format_time(parse_instant(row["end"])),
            **{name: row[name] for name in (*_NUMBERS, *_TEXTS)},
            "state": row["state"],
        }
    except (KeyError, TypeError) as fault:
        raise ValueError(f"The value is no encounter: {fault!r}") from None
    numbers = [first, second, *(content[name] for name in _NUMBERS)]
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in numbers):
        raise ValueError("The value has a text where a number belongs.")
    if not (isinstance(first, int) and isinstance(second, int) and 0 < first < second < 2**63):
        raise ValueError("The ids must be two integers, the smaller first.")
    if not all(isinstance(content[name], str) and _DEGREES.fullmatch(content[name]) for name in _TEXTS):
        raise ValueError("Latitude and longitude must be texts with a number of degrees.")
    return Message(event, (first, second), start, content["duration_s"], content, sent)


def identifier(webhook_id: int, message: Message) -> str:
    """The header `webhook-id`: the same for the same event of the same encounter, however often it is sent.

    A hash, so that it shows nobody's id.
    """
    key = (webhook_id, *message.person_ids, to_microseconds(message.start), message.event)
    digest = hashlib.sha256("|".join(map(str, key)).encode()).hexdigest()
    return f"msg_{digest[:32]}"


def body(
    event: str, occurred: datetime, content: Mapping[str, Any], people: Sequence[Mapping[str, Any]]
) -> bytes:
    """The body of a request. `people` are the two in wire form, the smaller id first."""
    return orjson.dumps(
        {"type": event, "timestamp": format_time(occurred), "data": {"persons": people, **content}}
    )
