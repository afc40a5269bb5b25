"""The event, its zones and their visits over REST."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access.authentication import caller_of
from access.callers import EDITORS, READERS
from connect import bulkhead
from connect.web.openapi import TOO_LARGE, UNAVAILABLE, errors, response_spec
from connect.web.query_parameters import Query
from connect.web.rest import object_body
from venue import geojson, services, storage
from venue.serializers import (
    ZONES,
    ZONES_REQUEST,
    EventAnswerSerializer,
    EventSerializer,
    VisitsQuery,
    VisitsSerializer,
)

_EVENT = {
    "name": "Simulated event",
    "time_zone": "Europe/Berlin",
    "first_day": "2026-05-11",
    "last_day": "2026-05-12",
    "bounds": [13.4, 52.4998921, 13.4044176, 52.5017975],
}
_HALL = {
    "type": "Feature",
    "properties": {"id": 1, "name": "Hall 1", "kind": "hall", "company": None},
    "geometry": {
        "type": "Polygon",
        "coordinates": [
            [[13.4, 52.5], [13.4044176, 52.5], [13.4044176, 52.5017975], [13.4, 52.5017975], [13.4, 52.5]]
        ],
    },
}
_ZONES = {"type": "FeatureCollection", "features": [_HALL]}
_VISITS = {
    "zone": _HALL["properties"],
    "people": 200,
    "visits": 471,
    "person_minutes": 85669.29,
    "median_stay_s": 8854.48,
    "longest_stay_s": 28766.676,
}


class _View(APIView):
    is_about_people = False  # for the audit log


class Event(_View):
    """The event: its name, time zone, days and bounds."""

    callers = {"GET": READERS, "PUT": EDITORS}

    def get_serializer(self, *args: Any, **kwargs: Any) -> serializers.Serializer:
        """Gives the form of the browsable page its initial values."""
        return EventSerializer(*args, **kwargs)

    @extend_schema(
        operation_id="getEvent",
        tags=["venue"],
        summary="Get the event",
        description=(
            "Name, time zone, days and bounds in WGS84 degrees. The API keeps UTC; the time zone is for "
            "display. Without a stored event the name is empty and the time zone UTC."
        ),
        responses={
            200: response_spec(EventAnswerSerializer, "The event.", {"the simulated event": _EVENT}),
            **errors(UNAVAILABLE),
        },
    )
    def get(self, request: Request) -> Response:
        Query.of(request)
        return Response(EventAnswerSerializer(services.event(caller_of(request))).data)

    @extend_schema(
        operation_id="replaceEvent",
        tags=["venue"],
        summary="Replace the event",
        description="For staff. Without `bounds` the event has those of its zones.",
        request=EventSerializer,
        responses={
            200: response_spec(EventAnswerSerializer, "The event as stored.", {"the event": _EVENT}),
            **errors(
                UNAVAILABLE,
                body=True,
                wrong={"time_zone": ["Must be an IANA time zone such as Europe/Berlin."]},
            ),
        },
        examples=[OpenApiExample("an event", value=_EVENT, request_only=True)],
    )
    def put(self, request: Request) -> Response:
        Query.of(request)
        serializer = EventSerializer(data=object_body(request))
        serializer.is_valid(raise_exception=True)
        event = storage.Event(**serializer.validated_data)
        return Response(EventAnswerSerializer(services.replace_event(caller_of(request), event)).data)


class Zones(_View):
    """The zones of the floor plan as a GeoJSON FeatureCollection of polygons."""

    callers = {"GET": READERS, "PUT": EDITORS}

    @extend_schema(
        operation_id="listZones",
        tags=["venue"],
        summary="List the zones of the venue",
        description=(
            "A GeoJSON FeatureCollection, ordered by id; positions are WGS84 degrees. Zones may overlap: a "
            "booth is inside a hall. `company` is the company of a booth, or null."
        ),
        responses={
            200: response_spec(ZONES, "The zones; may be empty.", {"a hall": _ZONES}),
            **errors(UNAVAILABLE),
        },
    )
    def get(self, request: Request) -> Response:
        Query.of(request)
        return Response(geojson.collection(services.zones(caller_of(request))))

    @extend_schema(
        operation_id="replaceZones",
        tags=["venue"],
        summary="Replace the zones of the venue",
        description=(
            "For staff. Replaces all zones in one transaction. At most 1,000 zones, each one Polygon with at "
            "most 1,000 points and all together at most 100,000; holes are allowed, self-intersections are "
            "not. A zone keeps its `id`; one without gets the number after the highest."
        ),
        request={"application/json": ZONES_REQUEST},
        responses={
            200: response_spec(ZONES, "The zones as stored.", {"a hall": _ZONES}),
            **errors(
                UNAVAILABLE,
                body=True,
                wrong={"features": ["Feature 1 (Hall 1): its geometry must be a Polygon, not a Point."]},
            ),
        },
        examples=[OpenApiExample("a hall", value=_ZONES, request_only=True)],
    )
    def put(self, request: Request) -> Response:
        Query.of(request)
        try:
            zones = geojson.parse_collection(object_body(request))
        except geojson.InvalidZones as fault:
            raise exceptions.ValidationError(fault.errors) from None
        return Response(geojson.collection(services.replace_zones(caller_of(request), zones)))


class Visits(APIView):
    """The visits of each zone: people, number, and length of the stays.

    Try [a day](?start_date=2026-05-11&end_date=2026-05-11).
    """

    callers = {"GET": READERS}

    @extend_schema(
        operation_id="listVisits",
        tags=["venue"],
        summary="How long people were in each zone",
        description=(
            "One row for each zone, ordered by its id. A visit: pings of one person in the zone, border "
            "included, while the step from one to the next is at most `max_gap` seconds; it lasts from the "
            "first to the last. Visits shorter than `min_duration` seconds are left out. Counts findable "
            "people; with a person's token only that person."
        ),
        parameters=[VisitsQuery],
        responses={
            200: response_spec(
                VisitsSerializer(many=True), "A row per zone; empty without zones.", {"a hall": _VISITS}
            ),
            **errors(TOO_LARGE, UNAVAILABLE, wrong={"max_gap": ["A valid number is required."]}),
        },
    )
    def get(self, request: Request) -> Response:
        query = VisitsQuery.of(request)
        caller = caller_of(request)
        with bulkhead.slot(caller):
            found = services.visits(
                caller,
                start=query["start_date"],
                end=query["end_date"],
                **VisitsQuery.numbers(query),
            )
        return Response([each.to_wire() for each in found])
