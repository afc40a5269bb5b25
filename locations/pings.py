"""The rules that a ping must meet, whatever door it comes through: REST, gRPC, a file or the topic.

A ping is a location on its way in. It is identified by its person and its time; the identifier that
clients see is made of the two, so every door knows it without asking anyone.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from connect.wire_format import (
    format_degrees,
    format_time,
    from_microseconds,
    parse_instant,
    to_microseconds,
)

MAX_BATCH = 10_000
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)  # exclusive
SMALLEST_DEGREES = 1e-9  # a tenth of a millimetre; a coordinate of less is taken as 0

_INTEGER = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
# Each digit can match in one place only, so that a long text is refused in linear time.
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)
_ID = re.compile(r"([0-9]{1,19})-(-?[0-9]{1,17})", re.ASCII)

REQUIRED = "This field is required."
NOT_NULL = "This field may not be null."


class Ping(NamedTuple):
    """Where a person was: WGS84 degrees as sent, and an aware UTC time. Stored, it is a location."""

    person_id: int
    creation_time: datetime
    latitude: float
    longitude: float

    @property
    def id(self) -> str:
        return make_id(self.person_id, self.creation_time)

    def to_wire(self) -> dict[str, Any]:
        """As REST shows it."""
        person_id, creation_time, latitude, longitude = self
        return {
            "id": make_id(person_id, creation_time),
            "person_id": person_id,
            "latitude": format_degrees(latitude),
            "longitude": format_degrees(longitude),
            "creation_time": format_time(creation_time),
        }


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the ping at `index` of a batch was not taken; `status` as REST says it, errors by field."""

    index: int
    status: int
    errors: dict[str, list[str]]


class Refused(ValueError):
    """A ping broke the rules. `errors` maps each field to what is wrong with it and what is allowed."""

    def __init__(self, errors: dict[str, list[str]]):
        super().__init__(errors)
        self.errors = errors


def unknown_person(index: int, person_id: int) -> Refusal:
    return Refusal(index, 404, {"person_id": [f"There is no person {person_id}."]})


# --- identity ------------------------------------------------------------------------------------


def make_id(person_id: int, creation_time: datetime) -> str:
    """`5-1597747026000000`: the person, and the time in microseconds since 1970."""
    return f"{person_id}-{to_microseconds(creation_time)}"


def parse_id(text: str) -> tuple[int, datetime] | None:
    """The person and the time in an identifier; None when it can be nobody's."""
    match = _ID.fullmatch(text)
    if not match:
        return None
    try:
        moment = from_microseconds(int(match[2]))
    except OverflowError:
        return None
    person_id = int(match[1])
    return (person_id, moment) if make_id(person_id, moment) == text else None


# --- single values -------------------------------------------------------------------------------


def parse_person_id(value: Any) -> int:
    """An integer, or one written in decimal. Whether there is such a person is another question."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    raise ValueError("Must be the integer id of a person.")


def parse_degrees(value: Any, *, limit: int) -> float:
    """A finite number, or one written in decimal, from -limit to limit; one below SMALLEST_DEGREES is 0."""
    allowed = f"Must be a number from -{limit} to {limit}."
    if isinstance(value, str):
        if not _DECIMAL.fullmatch(value.strip()):
            raise ValueError(allowed)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(allowed)
    try:
        degrees = float(value)
    except OverflowError:
        raise ValueError(allowed) from None
    if not math.fabs(degrees) <= limit:  # NaN compares false
        raise ValueError(allowed)
    return not_tiny(degrees)


def not_tiny(degrees: float) -> float:
    """Without magnitudes with which PostgreSQL's arithmetic underflows, and without a negative zero."""
    return 0.0 if math.fabs(degrees) < SMALLEST_DEGREES else degrees


def parse_creation_time(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else parse_instant(value)
    if not EARLIEST <= moment < LATEST:
        raise ValueError("Must be from 1900-01-01 to before 2100-01-01.")
    return moment


# --- a whole ping --------------------------------------------------------------------------------


def is_good(ping: Ping) -> bool:
    """The rules at one look, for a door whose values have their types already; `parse` says what is wrong."""
    return (
        EARLIEST <= ping.creation_time < LATEST
        and not_tiny(ping.latitude) == ping.latitude
        and not_tiny(ping.longitude) == ping.longitude
        and math.fabs(ping.latitude) <= 90
        and math.fabs(ping.longitude) <= 180
    )


_PARSERS = {
    "person_id": parse_person_id,
    "latitude": lambda value: parse_degrees(value, limit=90),
    "longitude": lambda value: parse_degrees(value, limit=180),
    "creation_time": parse_creation_time,
}
_IGNORED = {"id"}  # what a GET gave can be sent back


def parse(fields: Any, *, now: datetime | None = None) -> Ping:
    """A ping from the fields of a mapping; `now` stands in for an absent time, without it one is required.

    Raises Refused with every fault of every field.
    """
    if not isinstance(fields, Mapping):
        raise Refused({"non_field_errors": ["Must be an object with person_id, latitude and longitude."]})
    values: dict[str, Any] = {}
    errors: dict[str, list[str]] = {}
    for name, parser in _PARSERS.items():
        if name not in fields:
            if name == "creation_time" and now is not None:
                values[name] = now
            else:
                errors[name] = [REQUIRED]
            continue
        value = fields[name]
        if value is None:
            errors[name] = [NOT_NULL]
            continue
        try:
            values[name] = parser(value)
        except ValueError as fault:
            errors[name] = [str(fault)]
    for name in fields.keys() - _PARSERS.keys() - _IGNORED:
        errors[str(name)] = ["Unknown field."]
    if errors:
        raise Refused(errors)
    return Ping(**values)


# How nearly every device writes a ping. It is read in one step here; whatever looks otherwise goes through
# parse, which knows every form and says what is wrong. A test holds the two together.
_USUAL = re.compile(
    r"[0-9]{1,18},-?[0-9]{1,3}(?:\.[0-9]+)?,-?[0-9]{1,3}(?:\.[0-9]+)?,"
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{3}(?:[0-9]{3})?)?Z"
)


def parse_usual(fields: Any) -> Ping | None:
    """The ping, if it is written in the usual way; None says nothing about it."""
    try:
        person_id, moment = fields["person_id"], fields["creation_time"]
        latitude, longitude = fields["latitude"], fields["longitude"]
        if len(fields) != 4 or not _USUAL.fullmatch(f"{person_id},{latitude},{longitude},{moment}"):
            return None
        ping = Ping(int(person_id), datetime.fromisoformat(moment), float(latitude), float(longitude))
    except (KeyError, TypeError, ValueError):
        return None
    in_bounds = (
        SMALLEST_DEGREES <= math.fabs(ping.latitude) <= 90
        and SMALLEST_DEGREES <= math.fabs(ping.longitude) <= 180
    )
    return ping if in_bounds and EARLIEST <= ping.creation_time < LATEST else None


def parse_batch(items: list[Any]) -> tuple[list[Ping], list[int], list[Refusal]]:
    """The good pings of a batch, the index that each had in it, and a refusal for every other."""
    good: list[Ping] = []
    indexes: list[int] = []
    refusals: list[Refusal] = []
    for index, item in enumerate(items):
        try:
            good.append(parse_usual(item) or parse(item))
        except Refused as refused:
            refusals.append(Refusal(index, 400, refused.errors))
        else:
            indexes.append(index)
    return good, indexes, refusals
