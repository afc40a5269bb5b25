"""Connections and encounters over REST."""

from typing import Any

import orjson
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.metadata import SimpleMetadata
from rest_framework.request import Request
from rest_framework.views import APIView

from access.authentication import caller_of
from access.callers import READERS, Kind
from connect.people_cache import PeopleCache
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
from connect.web.renderers import FEATURES, FormatsView, GeoJson, format_parameter
from connect.web.rest import JsonRenderer, Page
from connect.web.streaming import answer
from connect.wire_format import format_degrees, format_time
from connections import services
from connections.renderers import Csv
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
        "accuracy": None,
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
_COLLECTION = FEATURES | {
    "description": "A FeatureCollection. Each Point is the own ping nearest to the other person."
}
_GEOJSON = orjson.loads(GeoJson().render([_ENCOUNTER]))
_CSV = Csv().render([_ENCOUNTER]).decode()
_ENCOUNTERS = "The encounters as JSON, GeoJSON or CSV; may be empty."
_NO_DISTANCE = {"distance": ["Must be more than 0."]}
_FORMAT = format_parameter("json", "geojson", "csv")


class QuestionMetadata(SimpleMetadata):
    """DRF's description of a path, and the parameters of its question as this caller may use them."""

    def determine_metadata(self, request: Request, view: Any) -> dict[str, Any]:
        is_person = caller_of(request).kind is Kind.PERSON
        described = {}
        for each in view.parameters:
            minimum, maximum = each.bounds(is_person=is_person)
            described[each.rest_name] = {
                "default": each.default_for(is_person=is_person),
                "minimum": minimum,
                "exclusive_minimum": each.excludes_minimum,
                "maximum": maximum,
                "description": each.help_text,
            }
        return super().determine_metadata(request, view) | {"parameters": described}


class Connections(APIView):
    """Locations of others near an own one, each once, with the person.

    Try [a day](?start_date=2026-05-11&end_date=2026-05-11&within=60&limit=10), within 5 metres
    and 60 seconds.
    """

    callers = {"GET": READERS}
    metadata_class = QuestionMetadata  # type: ignore[assignment] # the stub expects an instance
    parameters = ConnectionsQuery.parameters

    @extend_schema(
        operation_id="listConnections",
        tags=["connections"],
        summary="Where others were near a person",
        description=(
            "The answer has each location of another person once if it and at least one own ping are in the "
            "range, at most `distance` metres apart and, with `within`, at most that many seconds apart. "
            "Ordered by time, then person; positions in WGS84 degrees, times in UTC. "
            "Not for a person's token."
        ),
        parameters=[PERSON_ID, ConnectionsQuery, LINK_HEADER],
        responses={
            200: response_spec(
                ConnectionSerializer(many=True),
                "The locations of others; may be empty.",
                {"near David": _CONNECTION},
            ),
            **errors(MISSING, TOO_LARGE, UNAVAILABLE, wrong=_NO_DISTANCE),
        },
    )
    def get(self, request: Request, person_id: int) -> HttpResponseBase:
        query = ConnectionsQuery.of(request)
        cache = PeopleCache()
        return answer(
            request,
            lambda limit: services.connections(
                caller_of(request),
                person_id=person_id,
                limit=limit,
                **ConnectionsQuery.keywords(query),
            ),
            limit=query["limit"],
            to_wire=cache.with_people,
            prefetch=cache.load,
            key=lambda location: (format_time(location.creation_time), location.person_id),
        )


class Encounters(FormatsView):
    """Uninterrupted times together, with start, end and duration.

    Try [a day](?start_date=2026-05-11&end_date=2026-05-11), the encounters of
    [five minutes and more](?start_date=2026-05-11&end_date=2026-05-11&min_duration=300),
    or a day [as CSV](?start_date=2026-05-11&end_date=2026-05-11&format=csv).
    """

    callers = {"GET": READERS}
    renderer_classes = [JsonRenderer, Page, GeoJson, Csv]
    metadata_class = QuestionMetadata  # type: ignore[assignment] # the stub expects an instance
    parameters = EncountersQuery.parameters

    @extend_schema(
        operation_id="listEncounters",
        tags=["connections"],
        summary="When a person was together with others",
        description=(
            "A pair is an own ping and a ping of another person, near in space and time. Pairs with the same "
            "person belong to one encounter while the gap from one to the next is at most `max_gap` seconds. "
            "Ordered by start, then person; durations in seconds, distances in metres, positions in WGS84 "
            "degrees, times in UTC. With a person's token the bounds are narrower, own pings at impossible "
            "speed do not count, and at least half of the own pings from the first to the last of an "
            "encounter must be in its pairs."
        ),
        parameters=[PERSON_ID, EncountersQuery, _FORMAT, LINK_HEADER],
        responses={
            (200, "application/json"): response_spec(
                EncounterSerializer(many=True), _ENCOUNTERS, {"with David": _ENCOUNTER}
            ),
            (200, "application/geo+json"): response_spec(_COLLECTION, _ENCOUNTERS, {"as GeoJSON": _GEOJSON}),
            (200, "text/csv"): response_spec(OpenApiTypes.STR, _ENCOUNTERS, {"as CSV": _CSV}),
            **errors(MISSING, TOO_LARGE, UNAVAILABLE, wrong=_NO_DISTANCE),
        },
    )
    def get(self, request: Request, person_id: int) -> HttpResponseBase:
        query = EncountersQuery.of(request)
        cache = PeopleCache()

        def to_wire(encounters: list[Any]) -> list[dict[str, Any]]:
            people = cache.load(encounters)
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
                limit=limit,
                **EncountersQuery.keywords(query),
            ),
            limit=query["limit"],
            to_wire=to_wire,
            prefetch=cache.load,
            key=lambda encounter: (format_time(encounter.start), encounter.person_id, encounter.nth),
        )
