"""Locations in REST, and the parameters of their list. Pings are validated by locations.pings."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from drf_spectacular.drainage import set_override
from drf_spectacular.utils import extend_schema_field
from rest_framework import exceptions, serializers

from connect.web.openapi import FINN
from connect.web.query_parameters import (
    Cursor,
    Number,
    PagedQuery,
    Query,
    RangeBound,
    StrictInteger,
    check_order,
)
from locations import limits, pings
from locations.storage import Bounds


def _described(schema: Mapping[str, Any], **options: Any) -> serializers.Field:
    """A field that only describes: locations.pings validates and formats."""
    made: serializers.Field = serializers.Field(**options)
    set_override(made, "field", dict(schema))
    return made


class PingSerializer(serializers.Serializer):
    """A ping on its way in."""

    requires_time = False

    def get_fields(self) -> dict[str, serializers.Field]:
        return {
            name: _described(
                field.accepts,
                required=field.required and (name != "creation_time" or self.requires_time),
                allow_null=not field.required,
                initial=field.example,
                help_text=field.help_text,
            )
            for name, field in pings.FIELDS.items()
        }


class TimedPingSerializer(PingSerializer):
    """A ping in an array: its time is required."""

    requires_time = True


class LocationSerializer(serializers.Serializer):
    """An accepted ping or a stored location."""

    id = serializers.CharField(help_text="The person and the time in microseconds since 1970.")

    def get_fields(self) -> dict[str, serializers.Field]:
        return super().get_fields() | {
            name: _described(field.shown, allow_null=not field.required, help_text=field.shown_help_text)
            for name, field in pings.FIELDS.items()
        }


class ResultSerializer(serializers.Serializer):
    """The result of one ping of an array."""

    index = serializers.IntegerField()
    status = serializers.IntegerField(help_text="202, 400 or 404, as for a single ping.")
    id = serializers.CharField(required=False)
    errors = serializers.DictField(  # type: ignore[assignment] # the name on the wire
        child=serializers.ListField(child=serializers.CharField()), required=False
    )


class BatchSerializer(serializers.Serializer):
    accepted = serializers.IntegerField(help_text="The number of durable pings, repeats included.")
    results = ResultSerializer(
        many=True, required=False, help_text="One per item, in order, if any item was refused."
    )


@extend_schema_field(
    {"type": "string", "pattern": f"^{pings.LONGITUDE},{pings.LATITUDE},{pings.LONGITUDE},{pings.LATITUDE}$"}
)
class BoundingBox(serializers.CharField):
    """west,south,east,north in degrees, borders included; west > east crosses the 180th meridian."""

    def to_internal_value(self, data: Any) -> Bounds:  # type: ignore[override]
        parts = str(data).split(",")
        if len(parts) != 4:
            raise exceptions.ValidationError("Must be four numbers: west,south,east,north.")
        try:
            west, east = (pings.parse_degrees(part, limit=180) for part in parts[::2])
            south, north = (pings.parse_degrees(part, limit=90) for part in parts[1::2])
        except ValueError as fault:
            raise exceptions.ValidationError(f"west,south,east,north: {fault}") from None
        try:
            return Bounds(west, south, east, north)
        except ValueError as fault:
            raise exceptions.ValidationError(str(fault)) from None


class ParameterField(Number):
    """The field of a parameter of a question."""

    def __init__(self, parameter: limits.Parameter):
        self.parameter = parameter
        # The default of a parameter that depends on the caller is known to the use case only.
        depends = parameter.default != parameter.default_for(is_person=True)
        options: dict[str, Any] = {"initial": parameter.example, "help_text": parameter.help_text}
        if depends or parameter.default is None:
            options["required"] = False
        else:
            options["default"] = parameter.default
        if not parameter.excludes_minimum:
            options["min_value"] = parameter.minimum
        if not parameter.clamps:
            options["max_value"] = parameter.maximum
        super().__init__(**options)
        if parameter.excludes_minimum:
            bounds = {"minimum": parameter.minimum, "exclusiveMinimum": True, "maximum": parameter.maximum}
            set_override(self, "field", {"type": "number", "format": "double", **bounds})

    def to_internal_value(self, data: Any) -> float:
        value = super().to_internal_value(data)
        if self.parameter.excludes_minimum and value <= self.parameter.minimum:
            raise exceptions.ValidationError(f"Must be more than {self.parameter.minimum:g}.")
        return min(value, self.parameter.maximum) if self.parameter.clamps else value


# No docstring: it would become a description of each component in the schema.
class NamedPersonSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    first_name = serializers.CharField()
    last_name = serializers.CharField()
    company_name = serializers.CharField()


class QuestionQuery(Query):
    """The fields of a query and those of `parameters`."""

    parameters: tuple[limits.Parameter, ...] = ()

    def get_fields(self) -> dict[str, serializers.Field]:
        return super().get_fields() | {each.rest_name: ParameterField(each) for each in self.parameters}

    @classmethod
    def numbers(cls, query: dict[str, Any]) -> dict[str, Any]:
        """The validated `parameters` as keywords of the use case."""
        return {each.name: query[each.rest_name] for each in cls.parameters}


class RangeQuery(QuestionQuery):
    """The range of a question and its parameters."""

    start_date = RangeBound(is_end=False)
    end_date = RangeBound(is_end=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        check_order(self, attrs, "start_date", "end_date")
        if error := limits.range_error(attrs["start_date"], attrs["end_date"]):
            raise exceptions.ValidationError({"end_date": [error]})
        return attrs

    @classmethod
    def keywords(cls, query: dict[str, Any]) -> dict[str, Any]:
        """The validated range and parameters as keywords of the use case."""
        return {"start": query["start_date"], "end": query["end_date"]} | cls.numbers(query)


BBOX = (
    "west,south,east,north in WGS84 degrees, borders included; -180 to 180 and -90 to 90; west > east "
    "crosses the antimeridian."
)


class LocationsQuery(PagedQuery):
    person_id = StrictInteger(
        required=False, initial=FINN["id"], help_text="Only locations of the person with this integer id."
    )
    start = RangeBound(is_end=False, required=False)
    end = RangeBound(is_end=True, required=False)
    bbox = BoundingBox(
        required=False,
        initial="13.3,52.4,13.5,52.6",
        help_text=BBOX,
    )
    order = serializers.ChoiceField(
        choices=["oldest", "newest"],
        default="oldest",
        initial="oldest",
        help_text="`oldest` first: by time, then person; `newest` first: the reverse.",
        error_messages={"invalid_choice": "Must be oldest or newest."},
    )
    after = Cursor(shape=(datetime, int), required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        check_order(self, attrs, "start", "end")
        if not ("person_id" in attrs or "limit" in attrs or {"start", "end"} <= attrs.keys()):
            raise exceptions.ValidationError("One of person_id, start with end, or limit is required.")
        return attrs
