"""What the protocols of phone apps share: a request as it came, the pings in it, times and numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

import orjson

from connect.wire_format import from_microseconds, parse_instant
from locations import pings
from locations.pings import Ping, Refusal, Refused

MAX_PARAMETERS = 100
NO_OBJECT = "The body is not a JSON object."
_NO_EPOCH = "Must be seconds since 1970."
_MILLISECONDS_FROM = 2_147_483_647  # a larger number of seconds would be after 2038


@dataclass(frozen=True, slots=True)
class PhoneRequest:
    """A request of an app: query and body as sent, and the user name of Basic authentication."""

    content_type: str = ""
    query: str = ""
    body: bytes = b""
    user: str = ""


class NoPerson(ValueError):
    """Neither the token nor the app says whose positions these are. The text says what is missing."""


class Reading:
    """The pings of a request and the reasons of its refused points, both with their person.

    `person_of` gives the person of what an app calls its device, or raises NoPerson.
    """

    def __init__(self, person_of: Callable[[Any], int]):
        self._person_of = person_of
        self.pings: list[Ping] = []
        self.refused: list[tuple[int | None, str]] = []

    def add(
        self,
        device: Any,
        *,
        time: Any,
        latitude: Any,
        longitude: Any,
        accuracy: Any,
        read_time: Callable[[Any], datetime] = parse_instant,
    ) -> None:
        """Adds a position, or the reason why it is refused. WGS84 degrees; the accuracy in metres.

        Raises NoPerson.
        """
        person_id = self._person_of(device)
        try:
            moment = None if time is None else _read_time(read_time, time)
            fields = {
                "person_id": person_id,
                "creation_time": moment,
                "latitude": latitude,
                "longitude": longitude,
                "accuracy": _known_radius(accuracy),
            }
            self.pings.append(pings.parse({name: each for name, each in fields.items() if each is not None}))
        except Refused as fault:
            self.refused.append((person_id, reason(fault.errors)))

    def refuse(self, device: Any, why: str) -> None:
        """Refuses what is no position, whether or not it says whose."""
        try:
            person_id = self._person_of(device)
        except NoPerson:
            person_id = None
        self.refused.append((person_id, why))


def _read_time(read_time: Callable[[Any], datetime], value: Any) -> datetime:
    try:
        return read_time(value)
    except ValueError as fault:
        raise Refused({"creation_time": [str(fault)]}) from None


def _known_radius(value: Any) -> Any:
    """None if the value stands for an unknown accuracy: apps send 0, -1 or an empty text."""
    if value == "":
        return None
    try:
        return None if pings.parse_number(value, "") <= 0 else value
    except ValueError:
        return value  # the rules of a ping refuse it


def reason(errors: dict[str, list[str]]) -> str:
    """`latitude: Must be a number from -90 to 90.`: the first error of a refused point."""
    field, texts = next(iter(errors.items()))
    return f"{field}: {texts[0]}"


def reason_of(refusal: Refusal) -> str:
    """As `reason`. One text for all unknown people, so that the number of different reasons is bounded."""
    return "person_id: There is no such person." if refusal.status == 404 else reason(refusal.errors)


# --- values --------------------------------------------------------------------------------------


def json_object(body: bytes) -> dict[str, Any] | None:
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return message if isinstance(message, dict) else None


def parameters(text: str | bytes) -> dict[str, str]:
    """The parameters of a query or of a form; of a repeated one the last. Empty if they are too many."""
    if isinstance(text, bytes):
        text = text.decode("ascii", "replace")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS))
    except ValueError:
        return {}


def from_seconds(value: Any) -> datetime:
    """The time of a number of seconds since 1970, or of a decimal string of one."""
    return _from_epoch(pings.parse_number(value, _NO_EPOCH))


def from_number_or_text(value: Any) -> datetime:
    """The time of seconds or milliseconds since 1970, or of an ISO 8601 text; UTC if it has no offset."""
    try:
        number = pings.parse_number(value, _NO_EPOCH)
    except ValueError:
        return parse_instant(value)
    return _from_epoch(number if number < _MILLISECONDS_FROM else number / 1000)


def _from_epoch(seconds: float) -> datetime:
    try:
        return from_microseconds(round(seconds * 1_000_000))
    except OverflowError:
        raise ValueError(_NO_EPOCH) from None
