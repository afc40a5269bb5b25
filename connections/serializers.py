"""Connections and encounters in REST, and their query parameters."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import exceptions, serializers

from connect.web.query_parameters import Cursor, Number, PagedQuery, RangeBound, check_order
from locations import limits


@extend_schema_field(
    {
        "type": "number",
        "format": "double",
        "minimum": 0,
        "exclusiveMinimum": True,
        "maximum": limits.MAX_DISTANCE_M,
    }
)
class _Distance(Number):
    def to_internal_value(self, data: Any) -> float:
        metres = super().to_internal_value(data)
        if metres <= 0:
            raise exceptions.ValidationError("Must be more than 0.")
        return metres


class _RangeQuery(PagedQuery):
    start_date = RangeBound(is_end=False)
    end_date = RangeBound(is_end=True)
    distance = _Distance(
        default=limits.DISTANCE_M,
        initial=limits.DISTANCE_M,
        help_text=(
            "Maximum geodesic distance of the two pings in metres: more than 0, at most 10,000 (10 for a "
            "person's token); default 5."
        ),
        max_value=limits.MAX_DISTANCE_M,
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        check_order(self, attrs, "start_date", "end_date")
        if error := limits.range_error(attrs["start_date"], attrs["end_date"]):
            raise exceptions.ValidationError({"end_date": [error]})
        return attrs


class ConnectionsQuery(_RangeQuery):
    within = Number(
        required=False,
        min_value=0,
        max_value=limits.MAX_WITHIN_S,
        initial=limits.WITHIN_S,
        help_text=(
            "Maximum time between the two pings in seconds, 0 to 3,600; by default any time in the range."
        ),
    )
    after = Cursor(shape=(datetime, int), required=False)


class EncountersQuery(_RangeQuery):
    within = Number(
        default=limits.WITHIN_S,
        min_value=0,
        max_value=limits.MAX_WITHIN_S,
        initial=limits.WITHIN_S,
        help_text=(
            "Maximum time between the two pings of a pair in seconds, 0 to 3,600 (60 for a person's token); "
            "default 60."
        ),
    )
    max_gap = Number(
        default=limits.MAX_GAP_S,
        min_value=0,
        max_value=limits.LONGEST_GAP_S,
        initial=limits.MAX_GAP_S,
        help_text=(
            "Maximum time between two pairs of an encounter in seconds, 0 to 86,400 (120 for a person's "
            "token); default 75."
        ),
    )
    min_duration = Number(
        required=False,
        min_value=0,
        initial=300,
        help_text=(
            "Minimum duration in seconds; shorter encounters are left out. 0 or more, default 0; for a "
            "person's token 60 or more, default 60."
        ),
    )
    after = Cursor(shape=(datetime, int, int), required=False)

    def validate_min_duration(self, value: float) -> float:
        return min(value, limits.MAX_DURATION_S)


@extend_schema_serializer(component_name="PersonMet")
class _Person(serializers.Serializer):
    id = serializers.IntegerField()
    first_name = serializers.CharField()
    last_name = serializers.CharField()
    company_name = serializers.CharField()


@extend_schema_serializer(component_name="LocationNear")
class _Location(serializers.Serializer):
    id = serializers.CharField()
    person_id = serializers.IntegerField()
    latitude = serializers.CharField(help_text="WGS84 degrees, 7 decimals.")
    longitude = serializers.CharField(help_text="WGS84 degrees, 7 decimals.")
    creation_time = serializers.CharField(help_text="UTC.")


class ConnectionSerializer(serializers.Serializer):
    """A location of another person, and that person."""

    location = _Location()
    person = _Person()

    class Meta:
        ref_name = "Connection"


class EncounterSerializer(serializers.Serializer):
    """An uninterrupted time together; its start and end are the same for both people."""

    person = _Person()
    start = serializers.CharField(help_text="UTC: the later of the two people's first pings in it.")
    end = serializers.CharField(help_text="UTC: the earlier of their last pings in it; never before start.")
    duration_s = serializers.FloatField(help_text="Seconds from start to end; 0 for a single pair.")
    pings = serializers.IntegerField(help_text="The other person's distinct pings in it.")
    min_distance_m = serializers.FloatField(help_text="The smallest distance in metres, 2 decimals.")
    latitude = serializers.CharField(help_text="Of the own ping at the smallest distance; 7 decimals.")
    longitude = serializers.CharField(help_text="Of the own ping at the smallest distance; 7 decimals.")
