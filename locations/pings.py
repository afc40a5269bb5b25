"""The validation rules of a ping, the same for REST, gRPC, files and the topic.

A ping is a location on its way in. Its person and time identify it. Its id is made of the two, so every
process can compute it.
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
SMALLEST_DEGREES = 1e-9  # a tenth of a millimetre; a smaller magnitude counts as 0

_INTEGER = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
# Each digit can match in one place only, so there is no backtracking: a long text takes linear time.
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", re.ASCII)
_ID = re.compile(r"([0-9]{1,19})-(-?[0-9]{1,17})", re.ASCII)

REQUIRED = "This field is required."
NOT_NULL = "This field may not be null."


class Ping(NamedTuple):
    """A person's position at a time: WGS84 degrees as sent, an aware UTC time. Also a stored location."""

    person_id: int
    creation_time: datetime
    latitude: float
    longitude: float

    @property
    def id(self) -> str:
        return make_id(self.person_id, self.creation_time)

    def to_wire(self) -> dict[str, Any]:
        """The ping as REST shows it."""
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
    """Why the ping at `index` of a batch was refused: the status of REST, and the errors by field."""

    index: int
    status: int
    errors: dict[str, list[str]]


class Refused(ValueError):
    """An invalid ping. `errors` maps each invalid field to its error texts."""

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
    """The person and the time of an id; None if it is not in the form that make_id gives."""
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
    """An integer, or a decimal string of one. The person need not exist."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    raise ValueError("Must be the integer id of a person.")


def parse_degrees(value: Any, *, limit: int) -> float:
    """A finite number or a decimal string, from -limit to limit; below SMALLEST_DEGREES it becomes 0."""
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
    return flush_to_zero(degrees)


def flush_to_zero(degrees: float) -> float:
    """Replaces a magnitude that underflows in PostgreSQL's arithmetic, or a negative zero, by 0."""
    return 0.0 if math.fabs(degrees) < SMALLEST_DEGREES else degrees


def parse_creation_time(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else parse_instant(value)
    if not EARLIEST <= moment < LATEST:
        raise ValueError("Must be from 1900-01-01 to before 2100-01-01.")
    return moment


# --- a whole ping --------------------------------------------------------------------------------


def is_valid(ping: Ping) -> bool:
    """A quick check of values that have their types already (gRPC). `parse` says what is wrong."""
    return (
        EARLIEST <= ping.creation_time < LATEST
        and flush_to_zero(ping.latitude) == ping.latitude
        and flush_to_zero(ping.longitude) == ping.longitude
        and math.fabs(ping.latitude) <= 90
        and math.fabs(ping.longitude) <= 180
    )


_PARSERS = {
    "person_id": parse_person_id,
    "latitude": lambda value: parse_degrees(value, limit=90),
    "longitude": lambda value: parse_degrees(value, limit=180),
    "creation_time": parse_creation_time,
}
_IGNORED = {"id"}  # so that clients can send the answer of a GET back


def parse(fields: Any, *, now: datetime | None = None) -> Ping:
    """A ping from a mapping. `now` is the default of creation_time, which is required without it.

    Raises Refused with all errors of all fields.
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


# Fast path: one regular expression for the form that nearly every device sends. All other forms go through
# parse. A test compares the two.
_COMMON_FORM = re.compile(
    r"[0-9]{1,18},-?[0-9]{1,3}(?:\.[0-9]+)?,-?[0-9]{1,3}(?:\.[0-9]+)?,"
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{3}(?:[0-9]{3})?)?Z"
)


def parse_fast(fields: Any) -> Ping | None:
    """The ping if it is valid and in the common form, else None: then `parse` decides."""
    try:
        person_id, moment = fields["person_id"], fields["creation_time"]
        latitude, longitude = fields["latitude"], fields["longitude"]
        if len(fields) != 4 or not _COMMON_FORM.fullmatch(f"{person_id},{latitude},{longitude},{moment}"):
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
    """The good pings of a batch, their indexes in it, and a refusal for each other item."""
    good: list[Ping] = []
    indexes: list[int] = []
    refusals: list[Refusal] = []
    for index, item in enumerate(items):
        try:
            good.append(parse_fast(item) or parse(item))
        except Refused as refused:
            refusals.append(Refusal(index, 400, refused.errors))
        else:
            indexes.append(index)
    return good, indexes, refusals
