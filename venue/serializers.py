"""The event and visits in REST, and the schema of zones. Zones are validated by venue.geojson."""

from datetime import date
from typing import Any

from django.core.exceptions import ValidationError
from drf_spectacular.drainage import set_override
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import exceptions, serializers

from connect.web.query_parameters import RangeBound, check_order
from connect.web.rest import StrictSerializer, Text
from locations.limits import VISITS
from locations.serializers import QuestionQuery
from venue import limits
from venue.models import Kind, validate_bounds, validate_time_zone

_DEGREES = {"type": "number", "minimum": -180, "maximum": 180}


class _TimeZone(Text):
    def to_internal_value(self, data: Any) -> str:
        name = super().to_internal_value(data)
        try:
            validate_time_zone(name)
        except ValidationError as fault:
            raise exceptions.ValidationError(fault.messages) from None
        return name


class _Day(serializers.DateField):
    def to_internal_value(self, value: Any) -> date:
        if not isinstance(value, str):
            self.fail("invalid", format="YYYY-MM-DD")
        return super().to_internal_value(value)


class _Bounds(serializers.Field):
    """west, south, east, north in degrees; west > east crosses the 180th meridian."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        set_override(
            self,
            "field",
            {"type": "array", "items": _DEGREES, "minItems": 4, "maxItems": 4, "nullable": True},
        )

    def to_internal_value(self, data: Any) -> tuple[float, ...]:
        is_list = isinstance(data, list) and len(data) == 4
        if not is_list or any(isinstance(one, bool) or not isinstance(one, int | float) for one in data):
            raise exceptions.ValidationError("Must be four numbers: west, south, east, north.")
        bounds = [float(one) for one in data]
        try:
            validate_bounds(bounds)
        except ValidationError as fault:
            raise exceptions.ValidationError(fault.messages) from None
        return tuple(bounds)

    def to_representation(self, value: Any) -> list[float]:
        return list(value)


class EventSerializer(StrictSerializer):
    """The event."""

    name = Text(max_length=255, initial="Spring Fair", help_text="1 to 255 characters after trimming.")
    time_zone = _TimeZone(
        max_length=64,
        initial="Europe/Berlin",
        help_text="An IANA time zone. The app shows times and days in it.",
    )
    first_day = _Day(initial=date(2026, 5, 11), help_text="In the time zone of the event.")
    last_day = _Day(
        initial=date(2026, 5, 12), help_text="In the time zone of the event; not before first_day."
    )
    bounds = _Bounds(
        required=False,
        allow_null=True,
        help_text="What maps show first: west, south, east, north in degrees. Null: the extent of the zones.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["first_day"] > attrs["last_day"]:
            raise exceptions.ValidationError({"first_day": ["Must not be after last_day."]})
        return attrs


@extend_schema_serializer(component_name="StoredEvent")
class EventAnswerSerializer(serializers.Serializer):
    """The event. Without a stored one the name is empty, the zone UTC, and everything else null."""

    name = serializers.CharField(allow_blank=True)
    time_zone = serializers.CharField(help_text="An IANA time zone.")
    first_day = serializers.DateField(allow_null=True)
    last_day = serializers.DateField(allow_null=True)
    bounds = _Bounds(allow_null=True, help_text="West, south, east, north in degrees; null without zones.")


# --- zones ---------------------------------------------------------------------------------------

_POSITION = {"type": "array", "minItems": 2, "maxItems": 3, "items": {"type": "number"}}


def _collection(*, is_request: bool) -> dict[str, Any]:
    """The JSON Schema of the zones."""
    text = {"type": "string", "maxLength": 255}
    properties = {
        "id": {
            "type": "integer",
            "minimum": 1,
            "maximum": limits.MAX_ID,
            "nullable": is_request,
            "description": "Unique. A zone without one gets the number after the highest.",
        },
        "name": text
        | ({"pattern": r"^[^\u0000]*[^\s\u0000\u001c-\u001f\u0085][^\u0000]*$"} if is_request else {}),
        "kind": {"type": "string", "enum": Kind.values},
        "company": text | {"nullable": True} | ({"pattern": r"^[^\u0000]*$"} if is_request else {}),
    }
    geometry = {
        "type": {"type": "string", "enum": ["Polygon"]},
        "coordinates": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "array", "minItems": 4, "items": _POSITION},
            "description": "The outer ring, then its holes; longitude and latitude in WGS84 degrees.",
        },
    }
    feature = {
        "type": {"type": "string", "enum": ["Feature"]},
        "properties": _object(properties, ["name", "kind"] if is_request else [*properties]),
        "geometry": _object(geometry, [*geometry]),
    }
    collection = {
        "type": {"type": "string", "enum": ["FeatureCollection"]},
        "features": {
            "type": "array",
            "maxItems": limits.MAX_ZONES,
            "items": _object(feature, [*feature]),
        },
    }
    return _object(collection, [*collection])


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


ZONES = _collection(is_request=False)
ZONES_REQUEST = _collection(is_request=True)


# --- visits --------------------------------------------------------------------------------------


class VisitsQuery(QuestionQuery):
    parameters = VISITS
    start_date = RangeBound(is_end=False)
    end_date = RangeBound(is_end=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        check_order(self, attrs, "start_date", "end_date")
        return attrs


@extend_schema_serializer(component_name="ZoneVisited")
class _ZoneSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=Kind.values)
    company = serializers.CharField(allow_null=True)


class VisitsSerializer(serializers.Serializer):
    """The visits of a zone."""

    zone = _ZoneSerializer()
    people = serializers.IntegerField(help_text="The number of people with a visit.")
    visits = serializers.IntegerField()
    person_minutes = serializers.FloatField(help_text="The sum of all visits in minutes, 2 decimals.")
    median_stay_s = serializers.FloatField(allow_null=True, help_text="Seconds; null without visits.")
    longest_stay_s = serializers.FloatField(allow_null=True, help_text="Seconds; null without visits.")
