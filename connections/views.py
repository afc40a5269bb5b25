"""The REST door to connections and encounters."""

from dataclasses import asdict
from typing import Any

import orjson
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from connect import neighbours
from connect.listing import answer
from connect.openapi import BAD, MISSING, NEXT_PAGE, PERSON_ID, UNAVAILABLE, errors
from connect.rest import JsonRenderer, Page, no_person
from connect.wire import format_degrees, format_time
from connections import services
from connections.renderers import Csv, GeoJson
from connections.serializers import (
    ConnectionSerializer,
    ConnectionsQuery,
    EncounterSerializer,
    EncountersQuery,
)

_GRACE = {"id": 7, "first_name": "Grace", "last_name": "Hopper", "company_name": "Flow-Matic"}
_CONNECTION = {
    "location": {
        "id": "7-1597747020000000",
        "person_id": 7,
        "latitude": "37.5534400",
        "longitude": "-122.2905200",
        "creation_time": "2020-08-18T10:37:00Z",
    },
    "person": _GRACE,
}
_ENCOUNTER = {
    "person": _GRACE,
    "start": "2020-08-18T10:37:00Z",
    "end": "2020-08-18T10:42:12Z",
    "duration_s": 312.0,
    "pings": 11,
    "min_distance_m": 0.84,
    "latitude": "37.5534410",
    "longitude": "-122.2905240",
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


class Connections(APIView):
    """Locations of others near an own one, each once, with the person.

    Try [a day](?start_date=2026-05-11&end_date=2026-05-11&within=60&limit=10), at most 5 metres
    and 60 seconds apart.
    """

    @extend_schema(
        operation_id="listConnections",
        tags=["connections"],
        summary="Where others were near a person",
        description=(
            "A location of another person is in the answer, once, if it and at least one own ping lie in the "
            "range, at most `distance` metres apart and, with `within`, at most that many seconds apart."
        ),
        parameters=[PERSON_ID, ConnectionsQuery, NEXT_PAGE],
        responses={200: ConnectionSerializer(many=True), **errors(BAD, MISSING, UNAVAILABLE)},
        examples=[OpenApiExample("near Grace", value=_CONNECTION, response_only=True, status_codes=["200"])],
    )
    def get(self, request: Request, person_id: int) -> HttpResponseBase:
        query = ConnectionsQuery.of(request)
        if not services.exists(person_id):
            raise no_person(person_id)
        company = services.Company()

        def to_wire(locations: list[Any]) -> list[dict[str, Any]]:
            people = company.meet(location.person_id for location in locations)
            return [
                {"location": location.to_wire(), "person": asdict(person)}
                for location in locations
                if (person := people[location.person_id])
            ]

        return answer(
            request,
            lambda limit: neighbours.locations().connections(
                person_id,
                start=query["start_date"],
                end=query["end_date"],
                distance_m=query["distance"],
                within_s=query["within"],
                after=query["after"],
                limit=limit,
            ),
            limit=query["limit"],
            to_wire=to_wire,
            key=lambda location: (format_time(location.creation_time), location.person_id),
        )


class Encounters(APIView):
    """Uninterrupted times together, with start, end and duration.

    Try [a day](?start_date=2026-05-11&end_date=2026-05-11), the meetings of
    [five minutes and more](?start_date=2026-05-11&end_date=2026-05-11&min_duration=300),
    or the same [as a table](?start_date=2026-05-11&end_date=2026-05-11&format=csv).
    """

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
            "belong to one encounter while the step from one to the next is at most `max_gap` seconds."
        ),
        parameters=[PERSON_ID, EncountersQuery, NEXT_PAGE],
        responses={
            (200, "application/json"): EncounterSerializer(many=True),
            (200, "application/geo+json"): OpenApiResponse(
                _COLLECTION, examples=[OpenApiExample("a map", value=_MAP)]
            ),
            (200, "text/csv"): OpenApiResponse(
                OpenApiTypes.STR, examples=[OpenApiExample("a table", value=_TABLE)]
            ),
            **errors(BAD, MISSING, UNAVAILABLE),
        },
        examples=[
            OpenApiExample(
                "with Grace",
                value=_ENCOUNTER,
                response_only=True,
                media_type="application/json",
                status_codes=["200"],
            )
        ],
    )
    def get(self, request: Request, person_id: int) -> HttpResponseBase:
        query = EncountersQuery.of(request)
        if not services.exists(person_id):
            raise no_person(person_id)
        company = services.Company()

        def to_wire(encounters: list[Any]) -> list[dict[str, Any]]:
            people = company.meet(encounter.person_id for encounter in encounters)
            return [
                {
                    "person": asdict(person),
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
            lambda limit: neighbours.locations().encounters(
                person_id,
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
            key=lambda encounter: (format_time(encounter.start), encounter.person_id, encounter.nth),
        )
