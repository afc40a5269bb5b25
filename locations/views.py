"""Locations over REST: receives pings, lists stored locations."""

from datetime import UTC, datetime
from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, PolymorphicProxySerializer, extend_schema
from rest_framework import exceptions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access.authentication import caller_of
from access.callers import READERS, SENDERS, Caller
from connect.web.openapi import (
    LINK_HEADER,
    LOCATION_HEADER,
    LOCATION_ID,
    MISSING,
    TOO_LARGE,
    UNAVAILABLE,
    errors,
    response_spec,
)
from connect.web.query_parameters import Query
from connect.web.rest import TooLarge
from connect.web.streaming import answer
from connect.wire_format import format_time
from locations import pings, services
from locations.serializers import (
    BatchSerializer,
    LocationSerializer,
    LocationsQuery,
    PingSerializer,
    TimedPingSerializer,
)

_PING = {
    "person_id": 1000001,
    "latitude": "52.520008",
    "longitude": "13.404954",
    "creation_time": "2026-05-11T09:30:00Z",
    "accuracy": 12.5,
}
_ACCEPTED = {
    "id": "1000001-1778491800000000",
    **_PING,
    "latitude": "52.5200080",
    "longitude": "13.4049540",
}
_LOCATION = {
    "id": "1000001-1778490034343000",
    "person_id": 1000001,
    "latitude": "52.4999544",
    "longitude": "13.4016121",
    "creation_time": "2026-05-11T09:00:34.343000Z",
    "accuracy": None,
}


class Locations(APIView):
    """Where people were, ordered by time.

    Ask for [the first ten](?limit=10), [a person's](?person_id=1&limit=10), or
    [a day in a box](?start=2026-05-11&end=2026-05-11&bbox=13.3,52.4,13.5,52.6&limit=10).

    Send one ping as an object, or up to 10,000 as an array.
    """

    callers = {"GET": READERS, "POST": SENDERS}

    def get_serializer(self, *args: Any, **kwargs: Any) -> serializers.Serializer:
        """The form of the browsable page."""
        return PingSerializer(*args, **kwargs)

    @extend_schema(
        operation_id="listLocations",
        tags=["locations"],
        summary="List locations",
        description=(
            "Stored pings, ordered by time, then person; `order` sets oldest or newest first. "
            "Positions are WGS84 degrees, times UTC. One of `person_id`, `start` with `end`, or `limit` is "
            "required."
        ),
        parameters=[LocationsQuery, LINK_HEADER],
        responses={
            200: response_spec(
                LocationSerializer(many=True),
                "The matching locations; may be empty.",
                {"a location": _LOCATION},
            ),
            **errors(
                MISSING,
                TOO_LARGE,
                UNAVAILABLE,
                wrong={"bbox": ["Must be four numbers: west,south,east,north."]},
            ),
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        query = LocationsQuery.of(request)
        return answer(
            request,
            lambda limit: services.list_between(
                caller_of(request),
                person_id=query["person_id"],
                start=query["start"],
                end=query["end"],
                bounds=query["bbox"],
                after=query["after"],
                limit=limit,
                newest_first=query["order"] == "newest",
            ),
            limit=query["limit"],
            to_wire=lambda locations: [location.to_wire() for location in locations],
            key=lambda location: (format_time(location.creation_time), location.person_id),
        )

    @extend_schema(
        operation_id="sendPings",
        tags=["locations"],
        summary="Send a ping, or an array of them",
        description=(
            "One ping as an object, or up to 10,000 as an array. Positions are WGS84 degrees, times are ISO "
            "8601, UTC if there is no offset. A person and a time identify a ping. A repeat is accepted "
            "again, and the position stored first stays. A 202 repeats the ping as sent."
        ),
        parameters=[LOCATION_HEADER],
        request=PolymorphicProxySerializer(
            component_name="PingOrPings",
            serializers=[PingSerializer(), TimedPingSerializer(many=True)],
            resource_type_field_name=None,
            many=False,
        ),
        responses={
            202: response_spec(
                PolymorphicProxySerializer(
                    component_name="Accepted",
                    serializers=[LocationSerializer, BatchSerializer],
                    resource_type_field_name=None,
                ),
                "Durable, but maybe not stored yet. The ping as sent, or for an array the number accepted.",
                {"one ping": _ACCEPTED, "several pings": {"accepted": 2}},
            ),
            207: response_spec(
                BatchSerializer,
                "Some or all pings of the array were refused; the good ones are kept.",
                {
                    "some pings": {
                        "accepted": 1,
                        "results": [
                            {"index": 0, "status": 202, "id": _ACCEPTED["id"]},
                            {
                                "index": 1,
                                "status": 400,
                                "errors": {"latitude": ["Must be a number from -90 to 90."]},
                            },
                        ],
                    }
                },
            ),
            **errors(
                MISSING,
                UNAVAILABLE,
                body=True,
                wrong={"latitude": ["Must be a number from -90 to 90."]},
                too_large="The array has 10001 items; 10000 are allowed.",
            ),
        },
        examples=[
            OpenApiExample("one ping", value=_PING, request_only=True),
            OpenApiExample(
                "several pings",
                value=[_PING, _PING | {"creation_time": "2026-05-11T09:31:00Z"}],
                request_only=True,
            ),
            OpenApiExample("some pings", value=[_PING, _PING | {"latitude": "91"}], request_only=True),
        ],
    )
    def post(self, request: Request) -> Response:
        Query.of(request)
        if isinstance(request.data, list):
            return _submit_batch(request.data, caller_of(request))
        return _submit_one(request.data, caller_of(request))


class OneLocation(APIView):
    """One stored location. For a ping that is accepted but not stored yet the answer is a 404."""

    callers = {"GET": READERS}

    @extend_schema(
        operation_id="getLocation",
        tags=["locations"],
        summary="Get a location",
        parameters=[LOCATION_ID],
        description=(
            "One stored ping; its position in WGS84 degrees, its time in UTC. For a ping that is accepted "
            "but not stored yet the answer is a 404."
        ),
        responses={
            200: response_spec(LocationSerializer, "The stored location.", {"a location": _LOCATION}),
            **errors(MISSING, UNAVAILABLE, missing="There is no location 999-1."),
        },
    )
    def get(self, request: Request, location_id: str) -> Response:
        Query.of(request)
        identity = pings.parse_id(location_id)
        location = services.get(caller_of(request), *identity) if identity else None
        if location is None:
            raise exceptions.NotFound(f"There is no location {location_id}.")
        return Response(location.to_wire())


def _submit_one(fields: Any, caller: Caller) -> Response:
    try:
        ping = pings.parse(fields, now=datetime.now(UTC))
    except pings.Refused as refused:
        raise exceptions.ValidationError(refused.errors) from None
    for refusal in services.submit(caller, [ping]).refused:
        if refusal.status == status.HTTP_404_NOT_FOUND:
            raise exceptions.NotFound(refusal.errors["person_id"][0])
        raise exceptions.ValidationError(refusal.errors)
    return Response(
        ping.to_wire(), status=status.HTTP_202_ACCEPTED, headers={"Location": f"/api/locations/{ping.id}"}
    )


def _submit_batch(items: list[Any], caller: Caller) -> Response:
    if len(items) > pings.MAX_BATCH:
        raise TooLarge(f"The array has {len(items)} items; {pings.MAX_BATCH} are allowed.")
    good, indexes, refusals = pings.parse_batch(items)
    receipt = services.submit(caller, good)
    refused = {refusal.index: refusal for refusal in refusals}
    refused |= {indexes[refusal.index]: refusal for refusal in receipt.refused}
    accepted = len(items) - len(refused)
    if not refused:
        return Response({"accepted": accepted}, status=status.HTTP_202_ACCEPTED)
    results: list[dict[str, Any]] = []
    pings_by_index = dict(zip(indexes, good, strict=True))
    for index in range(len(items)):
        if refusal := refused.get(index):
            results.append({"index": index, "status": refusal.status, "errors": refusal.errors})
        else:
            results.append({"index": index, "status": 202, "id": pings_by_index[index].id})
    return Response({"accepted": accepted, "results": results}, status=status.HTTP_207_MULTI_STATUS)
