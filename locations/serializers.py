"""Locations in REST, and the parameters of their list. Pings are validated by locations.pings."""

from datetime import datetime
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import exceptions, serializers

from connect.web.openapi import FINN
from connect.web.query_parameters import Cursor, PagedQuery, RangeBound, StrictInteger, check_order
from locations import pings
from locations.storage import Bounds


def _or_string(pattern: str, kind: str = "integer", **limits: int) -> dict[str, Any]:
    return {"oneOf": [{"type": kind, **limits}, {"type": "string", "pattern": pattern}]}


@extend_schema_field(_or_string("^[+-]?[0-9]{1,40}$", minimum=-(2**63), maximum=2**63 - 1))
class _PersonId(serializers.Field):
    pass


_LATITUDE = r"[+-]?(90(\.0*)?|[0-8]?[0-9](\.[0-9]*)?)"
_LONGITUDE = r"[+-]?(180(\.0*)?|(1[0-7][0-9]|[0-9]{1,2})(\.[0-9]*)?)"


@extend_schema_field(_or_string(f"^{_LATITUDE}$", "number", minimum=-90, maximum=90))
class _Latitude(serializers.Field):
    pass


@extend_schema_field(_or_string(f"^{_LONGITUDE}$", "number", minimum=-180, maximum=180))
class _Longitude(serializers.Field):
    pass


@extend_schema_field(OpenApiTypes.DATETIME)
class _Time(serializers.CharField):
    pass


class PingSerializer(serializers.Serializer):
    """A ping on its way in."""

    person_id = _PersonId(initial=1, help_text="The id of the person; must exist, else 404.")
    latitude = _Latitude(
        initial="52.5200080",
        help_text="WGS84 degrees, -90 to 90, a string or a number with any number of decimals.",
    )
    longitude = _Longitude(
        initial="13.4049540",
        help_text="WGS84 degrees, -180 to 180, a string or a number with any number of decimals.",
    )
    creation_time = _Time(
        required=False,
        initial="2026-05-11T09:30:00Z",
        help_text=(
            "ISO 8601 from 1900-01-01 to before 2100-01-01; UTC if there is no offset; truncated to "
            "microseconds. Required in an array; a single ping without it gets the current time."
        ),
    )


class TimedPingSerializer(PingSerializer):
    """A ping in an array: its time is required."""

    creation_time = _Time(
        help_text="ISO 8601 from 1900-01-01 to before 2100-01-01; UTC if there is no offset. Required."
    )


class LocationSerializer(serializers.Serializer):
    """An accepted ping or a stored location."""

    id = serializers.CharField(help_text="The person and the time in microseconds since 1970.")
    person_id = serializers.IntegerField()
    latitude = serializers.CharField(help_text="WGS84 degrees, 7 decimals.")
    longitude = serializers.CharField(help_text="WGS84 degrees, 7 decimals.")
    creation_time = serializers.CharField(help_text="UTC, microseconds only where there are any.")


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


@extend_schema_field({"type": "string", "pattern": f"^{_LONGITUDE},{_LATITUDE},{_LONGITUDE},{_LATITUDE}$"})
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


class LocationsQuery(PagedQuery):
    person_id = StrictInteger(
        required=False, initial=FINN["id"], help_text="Only locations of the person with this integer id."
    )
    start = RangeBound(is_end=False, required=False)
    end = RangeBound(is_end=True, required=False)
    bbox = BoundingBox(
        required=False,
        initial="13.3,52.4,13.5,52.6",
        help_text=(
            "west,south,east,north in WGS84 degrees, borders included; -180 to 180 and -90 to 90; west > "
            "east crosses the antimeridian."
        ),
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
