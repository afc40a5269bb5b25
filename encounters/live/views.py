"""Live events over REST, as Server-Sent Events."""

from collections.abc import Awaitable, Callable
from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access import callers
from access.authentication import caller_of
from access.callers import READERS, Kind
from connect.middleware import session_key
from connect.web.openapi import FINN, MISSING, UNAVAILABLE, errors, response_spec
from connect.web.query_parameters import Query, StrictInteger
from connect.web.rest import JsonRenderer, RowRenderer
from encounters.live import services
from encounters.live.events import time_of
from encounters.live.readers import Reader
from locations.serializers import BBOX, BoundingBox

_EXAMPLE = (
    "retry: 2000\n\n"
    "id: 1778490475857\nevent: position\n"
    'data: [{"id":"1000004-1778490475857000","person_id":1000004,"latitude":"52.5001609",'
    '"longitude":"13.4002631","creation_time":"2026-05-11T09:07:55.857000Z","accuracy":null}]\n\n'
    'event: heartbeat\ndata: {"time":"2026-05-11T09:08:00.000000Z"}\n\n'
)


class Events(RowRenderer):
    """Makes the path acceptable to clients that want events. Errors are JSON."""

    media_type = "text/event-stream"
    format = "events"


class EventsResponse(StreamingHttpResponse):
    """Has no content: connect.asgi calls `follow`, which writes it."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(
            content_type=Events.media_type,
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        self.follow: Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]] = reader.follow


class LiveQuery(Query):
    person_id = StrictInteger(
        required=False, initial=FINN["id"], help_text="Only events of the person with this integer id."
    )
    bbox = BoundingBox(required=False, initial="13.3,52.4,13.5,52.6", help_text=f"Only events in it: {BBOX}")


class Live(APIView):
    """Positions and encounters as they happen, as Server-Sent Events."""

    callers = {"GET": READERS}
    renderer_classes = [JsonRenderer, Events]

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]
        """Answers as JSON: the description of the path is no event."""
        request.accepted_renderer, request.accepted_media_type = JsonRenderer(), JsonRenderer.media_type
        return super().options(request, *args, **kwargs)

    @extend_schema(
        operation_id="followLive",
        tags=["live"],
        summary="Positions and encounters as they happen",
        description=(
            "Server-Sent Events, without an end of their own. `position`: an array of locations, at most "
            "once a second, the newest one of each person. `encounter`: `change` is `started` or `ended`; "
            "the row is that of `GET /api/encounters`. `heartbeat`: every 15 seconds. Staff see people who "
            "are findable. A person's token sees own positions, and own encounters as "
            "`GET /api/persons/{person_id}/encounters` answers them, with the default bounds. With "
            "`Last-Event-ID` the stream goes on after that event if it is at most five minutes old; an event "
            "may come twice, with the same id. After ten minutes the server ends the stream, and the client "
            "resumes, as browsers do by themselves."
        ),
        parameters=[
            LiveQuery,
            OpenApiParameter("format", exclude=True),
            OpenApiParameter(
                "Last-Event-ID",
                str,
                OpenApiParameter.HEADER,
                description="The id of the last event that the client has.",
                examples=[OpenApiExample("an id", value="1778490475857")],
            ),
        ],
        responses={
            (200, Events.media_type): response_spec(
                OpenApiTypes.STR, "Events, until one of the two sides ends the stream.", {"events": _EXAMPLE}
            ),
            **errors(MISSING, UNAVAILABLE, wrong={"bbox": ["Must be four numbers: west,south,east,north."]}),
        },
    )
    def get(self, request: Request) -> EventsResponse:
        query = LiveQuery.of(request)
        last_id = request.headers.get("Last-Event-ID", "").strip()
        if last_id and time_of(last_id) is None:
            raise exceptions.ValidationError({"Last-Event-ID": ["Must be the id of an event."]})
        box = query["bbox"]
        return EventsResponse(
            services.follow(
                caller_of(request),
                bounds=box and (box.west, box.south, box.east, box.north),
                person_id=query["person_id"],
                last_id=last_id,
                still_valid=_identity(request),
            )
        )


def _identity(request: Request) -> Callable[[], bool]:
    """A function that identifies the caller of this request again."""
    caller = caller_of(request)
    authorization = request.headers.get("Authorization")
    session = session_key(request.headers.get("Cookie", ""))

    def is_same() -> bool:
        if authorization is None and caller.kind is not Kind.OPEN:
            return callers.identify_session(session) == caller
        return callers.identify_authorization(authorization or "") == caller

    return is_same
