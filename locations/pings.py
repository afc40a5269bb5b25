"""The validation rules of a ping, the same for REST, gRPC, files and the topic.

A ping is a location on its way in. Its person and time identify it. Its id is made of the two, so every
process can compute it.
"""

import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from connect.wire_format import (
    format_degrees,
    format_time,
    from_microseconds,
    parse_instant,
    to_microseconds,
)
from locations.limits import MAX_ACCURACY_M, MIN_ACCURACY_M

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
    """A person's position at a time: WGS84 degrees as sent, an aware UTC time. Also a stored location.

    FIELDS describes each field. The required ones come first: the order is that of the columns in every
    statement and of the values between processes, so a new field goes to the end.
    """

    person_id: int
    creation_time: datetime
    latitude: float
    longitude: float
    accuracy: float | None = None  # the radius of the fix in metres; None is unknown

    @property
    def id(self) -> str:
        return make_id(self.person_id, self.creation_time)

    def to_wire(self) -> dict[str, Any]:
        """The ping as REST shows it."""
        person_id, creation_time, latitude, longitude, accuracy = self
        return {
            "id": make_id(person_id, creation_time),
            "person_id": person_id,
            "latitude": format_degrees(latitude),
            "longitude": format_degrees(longitude),
            "creation_time": format_time(creation_time),
            "accuracy": accuracy,
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
    degrees = parse_number(value, allowed)
    if not math.fabs(degrees) <= limit:  # NaN compares false
        raise ValueError(allowed)
    return flush_to_zero(degrees)


def parse_number(value: Any, allowed: str) -> float:
    """A number or a decimal string as a double, which may be infinite. `allowed` is the error text."""
    if isinstance(value, str):
        if not _DECIMAL.fullmatch(value.strip()):
            raise ValueError(allowed)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(allowed)
    try:
        return float(value)
    except OverflowError:
        raise ValueError(allowed) from None


def flush_to_zero(degrees: float) -> float:
    """Replaces a magnitude that underflows in PostgreSQL's arithmetic, or a negative zero, by 0."""
    return 0.0 if math.fabs(degrees) < SMALLEST_DEGREES else degrees


def parse_creation_time(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else parse_instant(value)
    if not EARLIEST <= moment < LATEST:
        raise ValueError("Must be from 1900-01-01 to before 2100-01-01.")
    return moment


def parse_accuracy(value: Any) -> float:
    """A number or a decimal string, more than 0 and at most MAX_ACCURACY_M, rounded by `to_single`."""
    allowed = f"Must be a number, more than 0 and at most {MAX_ACCURACY_M}."
    metres = parse_number(value, allowed)
    if not 0 < metres <= MAX_ACCURACY_M:
        raise ValueError(allowed)
    return to_single(max(metres, MIN_ACCURACY_M))


@lru_cache(maxsize=4096)  # devices report few different values
def to_single(value: float) -> float:
    """The number with the fewest digits that has the same single-precision value.

    Protobuf sends an accuracy in single precision. Every door rounds in this way, so that 3.3 is 3.3 and not
    3.299999952 whatever way it took.
    """
    single = _single(value)
    return next(
        number for digits in range(6, 10) if _single(number := float(f"{single:.{digits}g}")) == single
    )


def _single(value: float) -> float:
    (rounded,) = struct.unpack("f", struct.pack("f", value))
    return float(rounded)


# --- the fields ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a ping: statements, files, the wires between processes and the schema derive from it.

    `parse` raises ValueError with what is allowed. `accepts` and `shown` are its JSON schemas in a ping and
    in a location.
    """

    parse: Callable[[Any], Any]
    column: str  # the SQL type: locations.bulk_insert has the formats
    label: str
    accepts: Mapping[str, Any]
    shown: Mapping[str, Any]
    help_text: str
    shown_help_text: str
    example: Any
    format: Callable[[Any], Any] = str  # for people
    required: bool = True


def _number_or_text(pattern: str, kind: str = "number", **bounds: Any) -> Mapping[str, Any]:
    return {"oneOf": [{"type": kind, **bounds}, {"type": "string", "pattern": pattern}]}


LATITUDE = r"[+-]?(90(\.0*)?|[0-8]?[0-9](\.[0-9]*)?)"
LONGITUDE = r"[+-]?(180(\.0*)?|(1[0-7][0-9]|[0-9]{1,2})(\.[0-9]*)?)"
_ACCURACY = rf"({MAX_ACCURACY_M}(\.0*)?|[1-9][0-9]{{0,4}}(\.[0-9]*)?|0?\.[0-9]*[1-9][0-9]*)"
_TEXT = {"type": "string"}


def _degrees(label: str, limit: int, pattern: str, *, example: str) -> Field:
    return Field(
        parse=lambda value: parse_degrees(value, limit=limit),
        column="float8",
        label=label,
        accepts=_number_or_text(f"^{pattern}$", minimum=-limit, maximum=limit),
        shown=_TEXT,
        help_text=f"WGS84 degrees, -{limit} to {limit}, a string or a number with any number of decimals.",
        shown_help_text="WGS84 degrees, 7 decimals.",
        example=example,
        format=format_degrees,
    )


# By name, in the order of REST and of files.
FIELDS: dict[str, Field] = {
    "person_id": Field(
        parse=parse_person_id,
        column="bigint",
        label="Person id",
        accepts=_number_or_text("^[+-]?[0-9]{1,40}$", "integer", minimum=-(2**63), maximum=2**63 - 1),
        shown={"type": "integer"},
        help_text="The id of the person; must exist, else 404.",
        shown_help_text="The id of the person.",
        example=1,
    ),
    "latitude": _degrees("Latitude", 90, LATITUDE, example="52.5200080"),
    "longitude": _degrees("Longitude", 180, LONGITUDE, example="13.4049540"),
    "creation_time": Field(
        parse=parse_creation_time,
        column="timestamptz",
        label="Time (UTC)",
        accepts={"type": "string", "format": "date-time"},
        shown=_TEXT,
        help_text=(
            "ISO 8601 from 1900-01-01 to before 2100-01-01; UTC if there is no offset; truncated to "
            "microseconds. Required in an array; a single ping without it gets the current time."
        ),
        shown_help_text="UTC, microseconds only where there are any.",
        example="2026-05-11T09:30:00Z",
        format=format_time,
    ),
    "accuracy": Field(
        parse=parse_accuracy,
        column="float8",
        label="Accuracy (m)",
        accepts=_number_or_text(f"^{_ACCURACY}$", minimum=0, exclusiveMinimum=True, maximum=MAX_ACCURACY_M),
        shown={"type": "number", "format": "double"},
        help_text=(
            f"The radius of the fix in metres, more than 0 and at most {MAX_ACCURACY_M:,}, a string or a "
            "number; rounded to single precision. Absent or null is unknown."
        ),
        shown_help_text="The radius of the fix in metres; null is unknown.",
        example=12.5,
        required=False,
    ),
}
COLUMNS = Ping._fields
REQUIRED_FIELDS = tuple(name for name, field in FIELDS.items() if field.required)
OPTIONAL_FIELDS = tuple(name for name, field in FIELDS.items() if not field.required)


# --- a whole ping --------------------------------------------------------------------------------


def is_valid(ping: Ping) -> bool:
    """A quick check of values that have their types already (gRPC). `parse` says what is wrong."""
    return (
        EARLIEST <= ping.creation_time < LATEST
        and flush_to_zero(ping.latitude) == ping.latitude
        and flush_to_zero(ping.longitude) == ping.longitude
        and math.fabs(ping.latitude) <= 90
        and math.fabs(ping.longitude) <= 180
        and (ping.accuracy is None or MIN_ACCURACY_M <= ping.accuracy <= MAX_ACCURACY_M)
    )


_IGNORED = {"id"}  # so that clients can send the answer of a GET back


def parse(fields: Any, *, now: datetime | None = None) -> Ping:
    """A ping from a mapping. `now` is the default of creation_time, which is required without it.

    Raises Refused with all errors of all fields.
    """
    if not isinstance(fields, Mapping):
        raise Refused({"non_field_errors": ["Must be an object with person_id, latitude and longitude."]})
    values: dict[str, Any] = {}
    errors: dict[str, list[str]] = {}
    for name, field in FIELDS.items():
        value = fields.get(name)
        if value is None:
            if name == "creation_time" and now is not None and name not in fields:
                values[name] = now
            elif field.required:
                errors[name] = [NOT_NULL if name in fields else REQUIRED]
            continue
        try:
            values[name] = field.parse(value)
        except ValueError as fault:
            errors[name] = [str(fault)]
    for name in fields.keys() - FIELDS.keys() - _IGNORED:
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
        if not _COMMON_FORM.fullmatch(f"{person_id},{latitude},{longitude},{moment}"):
            return None
        optional = _parse_optional(fields) if len(fields) > len(REQUIRED_FIELDS) else {}
        ping = Ping(
            int(person_id), datetime.fromisoformat(moment), float(latitude), float(longitude), **optional
        )
    except (KeyError, TypeError, ValueError):
        return None
    in_bounds = (
        SMALLEST_DEGREES <= math.fabs(ping.latitude) <= 90
        and SMALLEST_DEGREES <= math.fabs(ping.longitude) <= 180
    )
    return ping if in_bounds and EARLIEST <= ping.creation_time < LATEST else None


def _parse_optional(fields: Any) -> dict[str, Any]:
    """The optional fields of a mapping that has all required ones. Raises ValueError, also for others."""
    given = [name for name in OPTIONAL_FIELDS if name in fields]
    if len(fields) != len(REQUIRED_FIELDS) + len(given):
        raise ValueError("Other fields.")
    return {name: FIELDS[name].parse(value) for name in given if (value := fields[name]) is not None}


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
