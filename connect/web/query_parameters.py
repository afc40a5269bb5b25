"""Strict query parameters: an unknown, repeated or malformed parameter is a 400 that names it."""

import base64
import re
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import orjson
from drf_spectacular.drainage import set_override
from drf_spectacular.utils import extend_schema_field
from rest_framework import exceptions, serializers
from rest_framework.request import Request

from access import audit
from connect.wire_format import parse_instant

MAX_LIMIT = 10_000  # rows per page

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# No digit can match in two places, so a long text fails in linear time.
_LOST_PLUS = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d?:\d\d\S* ?) (\d\d:\d\d)", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,40}", re.ASCII)


class StrictInteger(serializers.IntegerField):
    """An integer, in ASCII digits."""

    def to_internal_value(self, data: Any) -> int:
        if not _WHOLE.fullmatch(str(data)):
            self.fail("invalid")
        return int(data)


class Number(serializers.FloatField):
    """A finite number of seconds, metres or degrees."""

    def to_internal_value(self, data: Any) -> float:
        if not _NUMBER.fullmatch(str(data)):
            self.fail("invalid")
        return float(data)


class RepeatableParameter(serializers.ListField):
    """A repeatable parameter. Its errors are one flat list, as for any other parameter."""

    def run_child_validation(self, data: Any) -> list[Any]:
        try:
            return super().run_child_validation(data)
        except exceptions.ValidationError as faults:
            each = faults.detail.values() if isinstance(faults.detail, dict) else [faults.detail]
            raise exceptions.ValidationError(list(dict.fromkeys(chain.from_iterable(each)))) from None


def _parse_time(text: str) -> datetime:
    """An instant of a query, where an unescaped `+` arrives as a space."""
    lost_plus = _LOST_PLUS.fullmatch(text)
    return parse_instant(f"{lost_plus[1]}+{lost_plus[2]}" if lost_plus else text)


class Instant(serializers.DateTimeField):
    """A date with a time of day."""

    def __init__(self, *, example: Any, help_text: str):
        super().__init__(initial=example, help_text=help_text)

    def to_internal_value(self, value: Any) -> datetime:
        try:
            return _parse_time(str(value).strip())
        except ValueError:
            raise exceptions.ValidationError("Must be an instant such as 2020-08-18T10:37:06Z.") from None


@extend_schema_field(
    {"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}], "example": "2026-05-11"}
)
class RangeBound(serializers.DateTimeField):
    """The start or end of a range.

    A date means the whole UTC day: its first instant as a start, the first instant of the next day as an end.
    """

    def __init__(self, *, is_end: bool, **kwargs: Any):
        self.is_end = is_end
        super().__init__(
            help_text=(
                "Up to this instant (exclusive), or to the end of this UTC day."
                if is_end
                else "From this instant (inclusive), or from the beginning of this UTC day."
            )
            + " A date, or ISO 8601 with a time of day; without an offset it is UTC.",
            **kwargs,
        )

    def to_internal_value(self, value: Any) -> datetime:
        text = str(value).strip()
        try:
            if not _DATE.fullmatch(text):
                return _parse_time(text)
            day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            raise exceptions.ValidationError(
                "Must be a date such as 2020-08-18 or an instant such as 2020-08-18T10:37:06Z."
            ) from None
        if not self.is_end:
            return day
        return day + timedelta(days=1) if day.date() < day.date().max else day.max.replace(tzinfo=UTC)


class Cursor(serializers.CharField):
    """A keyset cursor from the `Link` header of the previous page. Opaque to clients; decoded, a tuple."""

    _SAMPLES = {datetime: "2026-05-11T09:00:00Z", int: 1}

    def __init__(self, *, shape: tuple[type, ...], **kwargs: Any):
        self.shape = shape
        super().__init__(
            help_text="Opaque; from the `Link` header of the previous page. Without it, the first page.",
            initial=self.encode(tuple(self._SAMPLES[kind] for kind in shape)),
            **kwargs,
        )
        set_override(self, "field", {"type": "string", "format": f"cursor-{len(shape)}"})

    @staticmethod
    def encode(values: tuple[Any, ...]) -> str:
        return base64.urlsafe_b64encode(orjson.dumps(values)).decode().rstrip("=")

    def to_internal_value(self, data: Any) -> tuple[Any, ...]:  # type: ignore[override]
        try:
            values = orjson.loads(
                base64.b64decode(data + "=" * (-len(data) % 4), altchars=b"-_", validate=True)
            )
            if not isinstance(values, list) or len(values) != len(self.shape):
                raise ValueError
            return tuple(map(self._value, values, self.shape))
        except ValueError:
            raise exceptions.ValidationError("Must be a cursor from the `Link` header of a page.") from None

    @staticmethod
    def _value(value: Any, kind: Any) -> Any:
        if kind is datetime:
            return parse_instant(value)
        if not isinstance(value, kind) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
            raise ValueError
        return value


class Query(serializers.Serializer):
    """The parameters of a GET. Unknown ones are a 400, except `format`, which belongs to DRF."""

    @classmethod
    def of(cls, request: Request) -> dict[str, Any]:
        """The validated parameters; absent ones without a default are None. Passes them to the audit log."""
        query = cls(data=request.query_params)
        if not query.is_valid():
            # A plain dict: the browsable page would render a ReturnDict as errors of a body.
            raise exceptions.ValidationError(dict(query.errors))
        given = {name: query.validated_data.get(name) for name in query.fields.keys()}  # noqa: SIM118 - it iterates over keys, its stubs over fields
        audit.set_query(request, given)
        return given

    def to_internal_value(self, data: Any) -> Any:
        errors = {
            name: ["Unknown parameter."] for name in data if name not in self.fields and name != "format"
        }
        plain: dict[str, Any] = {}
        for name in filter(data.__contains__, self.fields):
            values = data.getlist(name)
            if isinstance(self.fields[name], serializers.ListField):
                plain[name] = values
            elif len(values) > 1:
                errors[name] = ["Must be given once."]
            else:
                plain[name] = values[0]
        if errors:
            raise exceptions.ValidationError(errors)
        return super().to_internal_value(plain)


class PagedQuery(Query):
    limit = StrictInteger(
        min_value=1,
        max_value=MAX_LIMIT,
        required=False,
        initial=100,
        help_text=(
            "Maximum number of rows, 1 to 10,000. The `Link` header has the next page. Without `limit` the "
            "response contains all rows."
        ),
    )


def check_order(query: Query, values: dict[str, Any], start: str, end: str) -> None:
    """Raises ValidationError if the start is after the end. Two dates are compared as whole days."""
    first, last = values.get(start), values.get(end)
    if first is None or last is None:
        return
    # start=2020-08-19&end=2020-08-18 gives two equal instants; unlike an empty range of instants it is an
    # error.
    dates = all(_DATE.fullmatch(str(query.initial_data[name]).strip()) for name in (start, end))
    if first > last or (dates and first == last):
        raise exceptions.ValidationError({start: [f"Must not be after {end}."]})
