"""The REST door to connections and encounters."""

from typing import Any

import orjson
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access.authentication import caller_of
from access.callers import READERS
from connect.web.openapi import (
    DAVID,
    LINK_HEADER,
    MISSING,
    PERSON_ID,
    TOO_LARGE,
    UNAVAILABLE,
    errors,
    response_spec,
)
from connect.web.rest import JsonRenderer, Page
from connect.web.streaming import answer
from connect.wire_format import format_degrees, format_time
from connections import services
from connections.renderers import Csv, GeoJson
from connections.serializers import (
    ConnectionSerializer,
    ConnectionsQuery,
    EncounterSerializer,
    EncountersQuery,
)

_CONNECTION = {
    "location": {
        "id": "1000004-1778490475857000",
        "person_id": 1000004,
        "latitude": "52.5001609",
        "longitude": "13.4002631",
        "creation_time": "2026-05-11T09:07:55.857000Z",
    },
    "person": DAVID,
}
_ENCOUNTER = {
    "person": DAVID,
    "start": "2026-05-11T09:07:55.857000Z",
    "end": "2026-05-11T09:24:07.640000Z",
    "duration_s": 971.783,
    "pings": 17,
    "min_distance_m": 0.91,
    "latitude": "52.5001674",
    "longitude": "13.4002777",
}
_COLLECTION = {
    "type": "object",
    "description": "A FeatureCollection: each encounter a Point where the own ping was at its nearest.",
    "properties": {
        "type": {"type": "string", "enum": ["FeatureCollection"]},
        "features": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["type", "features"],
}
_MAP = orjson.loads(GeoJson().render([_ENCOUNTER]))
_TABLE = Csv().render([_ENCOUNTER]).decode()
_MET = "The encounters, maybe none: as JSON, as a map (GeoJSON) or as a table (CSV)."
_NO_DISTANCE = {"distance": ["Must be more than 0."]}
_FORMAT = OpenApiParameter(
    "format",
    str,
    enum=["json", "geojson", "csv"],
    description="The form of the answer, for clients that cannot send `Accept`; JSON if both are left out.",
    examples=[OpenApiExample("as JSON", value="json"), OpenApiExample("a table", value="csv")],
)


class Connections(APIView):
    """Locations of others near an own one, each once, with the person.

    Try [a day](?start_date=2026-05-11&end_date=2026-05-11&within=60&limit=10), at most 5 metres
    and 60 seconds apart.
    """

    callers = {"GET": READERS}

    @extend_schema(
        operation_id="listConnections",
        tags=["connections"],
        summary="Where others were near a person",
        description=(
            "A location of another person is in the answer, once, if it and at least one own ping lie in the "
            "range, at most `distance` metres apart and, with `within`, at most that many seconds apart. "
            "Ordered by time, then person; positions in WGS84 degrees, times in UTC. "
            "Not for a person's token."
        ),
        parameters=[PERSON_ID, ConnectionsQuery, LINK_HEADER],
        responses={
            200: response_spec(
                ConnectionSerializer(many=True),
                "The locations of others, maybe none.",
                {"near David": _CONNECTION},
            ),
            **errors(MISSING, TOO_LARGE, UNAVAILABLE, wrong=_NO_DISTANCE),
        },
    )
    def get(self, request: Request, person_id: int) -> HttpResponseBase:
        query = ConnectionsQuery.of(request)
        company = services.Company()

        def to_wire(locations: list[Any]) -> list[dict[str, Any]]:
            people = company.of(locations)
            return [
                {"location": location.to_wire(), "person": person}
                for location in locations
                if (person := people[location.person_id])
            ]

        return answer(
            request,
            lambda limit: services.connections(
                caller_of(request),
                person_id=person_id,
                start=query["start_date"],
                end=query["end_date"],
                distance_m=query["distance"],
                within_s=query["within"],
                after=query["after"],
                limit=limit,
            ),
            limit=query["limit"],
            to_wire=to_wire,
            prefetch=company.of,
            key=lambda location: (format_time(location.creation_time), location.person_id),
        )


class Encounters(APIView):
    """Uninterrupted times together, with start, end and duration.

    Try [a day](?start_date=2026-05-11&end_date=2026-05-11), the meetings of
    [five minutes and more](?start_date=2026-05-11&end_date=2026-05-11&min_duration=300),
    or the same [as a table](?start_date=2026-05-11&end_date=2026-05-11&format=csv).
    """

    callers = {"GET": READERS}
    renderer_classes = [JsonRenderer, Page, GeoJson, Csv]

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]
        """The description of the path is no encounter: it has no other form than JSON or a page."""
        if isinstance(request.accepted_renderer, GeoJson | Csv):
            request.accepted_renderer, request.accepted_media_type = JsonRenderer(), JsonRenderer.media_type
        return super().options(request, *args, **kwargs)

    @extend_schema(
        operation_id="listEncounters",
        tags=["connections"],
        summary="When a person was together with others",
        description=(
            "A pair is an own ping and another person's, near in space and time; pairs with the same person "
            "belong to one encounter while the step from one to the next is at most `max_gap` seconds. "
            "Ordered by start, then person; durations in seconds, distances in metres, positions in WGS84 "
            "degrees, times in UTC. With a person's token the bounds are narrower, own pings that cannot "
            "have been reached in time do not count, and an encounter needs half of the own pings from its "
            "first to its last one."
        ),
        parameters=[PERSON_ID, EncountersQuery, _FORMAT, LINK_HEADER],
        responses={
            (200, "application/json"): response_spec(
                EncounterSerializer(many=True), _MET, {"with David": _ENCOUNTER}
            ),
            (200, "application/geo+json"): response_spec(_COLLECTION, _MET, {"a map": _MAP}),
            (200, "text/csv"): response_spec(OpenApiTypes.STR, _MET, {"a table": _TABLE}),
            **errors(MISSING, TOO_LARGE, UNAVAILABLE, wrong=_NO_DISTANCE),
        },
    )
    def get(self, request: Request, person_id: int) -> HttpResponseBase:
        query = EncountersQuery.of(request)
        company = services.Company()

        def to_wire(encounters: list[Any]) -> list[dict[str, Any]]:
            people = company.of(encounters)
            return [
                {
                    "person": person,
                    "start": format_time(encounter.start),
                    "end": format_time(encounter.end),
                    "duration_s": encounter.duration_s,
                    "pings": encounter.pings,
                    "min_distance_m": encounter.min_distance_m,
                    "latitude": format_degrees(encounter.latitude),
                    "longitude": format_degrees(encounter.longitude),
                }
                for encounter in encounters
                if (person := people[encounter.person_id])
            ]

        return answer(
            request,
            lambda limit: services.encounters(
                caller_of(request),
                person_id=person_id,
                start=query["start_date"],
                end=query["end_date"],
                distance_m=query["distance"],
                within_s=query["within"],
                max_gap_s=query["max_gap"],
                min_duration_s=query["min_duration"],
                after=query["after"],
                limit=limit,
            ),
            limit=query["limit"],
            to_wire=to_wire,
            prefetch=company.of,
            key=lambda encounter: (format_time(encounter.start), encounter.person_id, encounter.nth),
        )
