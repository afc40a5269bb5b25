"""Days, positions and heat in REST, and their query parameters."""

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import exceptions, serializers

from connect.time_zones import time_zone_error
from connect.web.openapi import FINN
from connect.web.query_parameters import Instant, Query, RangeBound, StrictInteger, check_order
from locations import limits
from locations.serializers import (
    BBOX,
    BoundingBox,
    LocationSerializer,
    NamedPersonSerializer,
    QuestionQuery,
)


class DaysQuery(Query):
    person_id = StrictInteger(
        required=False, initial=FINN["id"], help_text="Only days of the person with this integer id."
    )
    time_zone = serializers.CharField(
        default="UTC",
        initial="Europe/Berlin",
        help_text="The IANA time zone of the days, such as Europe/Berlin; default UTC.",
    )

    def validate_time_zone(self, name: str) -> str:
        if error := time_zone_error(name):
            raise exceptions.ValidationError(error)
        return name


class DaySerializer(serializers.Serializer):
    """A day that has pings."""

    day = serializers.DateField(help_text="In the time zone of the question.")
    first = serializers.CharField(help_text="UTC: the time of its first ping.")
    last = serializers.CharField(help_text="UTC: the time of its last ping.")


class PositionsQuery(QuestionQuery):
    parameters = limits.POSITIONS
    at = Instant(
        example="2026-05-11T12:00:00Z",
        help_text="The instant of the positions; ISO 8601 with a time of day, UTC without an offset.",
    )
    bbox = BoundingBox(
        required=False,
        initial="13.3,52.4,13.5,52.6",
        help_text=f"Only people whose newest location is in this box: {BBOX}",
    )


@extend_schema_serializer(component_name="PersonThere")
class _Person(NamedPersonSerializer):
    pass


@extend_schema_serializer(component_name="NewestLocation")
class _Location(LocationSerializer):
    pass


class PositionSerializer(serializers.Serializer):
    """The newest location of a person, and that person."""

    location = _Location()
    person = _Person()


class HeatQuery(QuestionQuery):
    parameters = limits.HEAT
    start = RangeBound(is_end=False)
    end = RangeBound(is_end=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        check_order(self, attrs, "start", "end")
        if error := limits.range_error(attrs["start"], attrs["end"], max_days=limits.MAX_HEAT_DAYS):
            raise exceptions.ValidationError({"end": [error]})
        return attrs


class HeatCellSerializer(serializers.Serializer):
    """A cell of the grid that has pings."""

    latitude = serializers.CharField(help_text="Of the centre; 7 decimals.")
    longitude = serializers.CharField(help_text="Of the centre; 7 decimals.")
    person_minutes = serializers.IntegerField(help_text="The number of distinct pairs of person and minute.")
    people = serializers.IntegerField(help_text="The number of distinct people.")
