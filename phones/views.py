"""The doors of phone apps. Each answers exactly what its app parses (phones/services.py)."""

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import exceptions
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access.authentication import Bearer, caller_of
from access.callers import SENDERS
from connect.web.openapi import UNAVAILABLE, Detail, errors, response_spec
from connect.web.rest import JsonRenderer
from phones import credentials, services
from phones.authentication import BasicToken, DeviceToken
from phones.reading import NoPerson
from phones.services import APPS, WHOSE, App

_ANY_OBJECT = {"type": "object", "additionalProperties": True}
_REFUSED = (
    "A point that breaks a rule is counted in the admin site under *Refused points*, and the app gets the "
    "same answer, so that its queue goes on."
)


# The doors ignore unknown parameters, Accept and Content-Type, except values that Connect refuses everywhere
# (connect.middleware).
_ERRORS = {
    (code, "application/json"): response_spec(Detail, description, {"refused": {"detail": detail}})
    for code, description, detail in (
        (400, "The token is of several people, and the app names none of them.", WHOSE),
        (406, "The header Accept is too long.", "Could not satisfy the request Accept header."),
        (
            415,
            "The header Content-Type is too long or unreadable.",
            'Unsupported charset "x" in request Content-Type header.',
        ),
    )
}


class _AlwaysJson(BaseContentNegotiation):
    """An app that asks for another format would keep its points for ever."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return None

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class _Door(APIView):
    """A path for one app. It reads the body itself, because many apps send a wrong Content-Type."""

    app: ClassVar[App]
    callers = {"GET": SENDERS, "POST": SENDERS}
    authentication_classes: list[Any] = [Bearer]
    renderer_classes = [JsonRenderer]
    content_negotiation_class = _AlwaysJson
    http_method_names = ["post", "options"]

    def take(self, request: Request) -> Response:
        phone_request = credentials.phone_request(request.META, request.body)
        try:
            return Response(services.take(self.app, phone_request, caller_of(request)))
        except NoPerson as fault:
            raise exceptions.ParseError(str(fault)) from None


def _described(
    app: App,
    operation_id: str,
    summary: str,
    description: str,
    request: Any,
    example: Any = None,
    **options: Any,
) -> Any:
    """The description of a door in the schema."""
    examples = [OpenApiExample("a position", value=example, request_only=True)] if example else []
    return extend_schema(
        operation_id=operation_id,
        tags=["phones"],
        summary=summary,
        description=f"{description} {_REFUSED}",
        request=request,
        responses={
            200: response_spec(
                {"type": "array", "items": {}} if isinstance(app.answer, list) else _ANY_OBJECT,
                "The positions are durable.",
                {"what the app expects": app.answer},
            ),
            **errors(UNAVAILABLE, body=True),
            **_ERRORS,
        },
        examples=examples + options.pop("examples", []),
        **options,
    )


class OwnTracks(_Door):
    """OwnTracks in HTTP mode."""

    app = APPS["owntracks"]
    authentication_classes = [BasicToken]

    @_described(
        app,
        "sendOwnTracks",
        "Send a position with OwnTracks",
        "The token is the password; with ACCESS=open the user name is the person's id. Messages that are no "
        "positions, such as waypoints, are answered and not stored.",
        {"application/json": _ANY_OBJECT},
        {"_type": "location", "lat": 52.520008, "lon": 13.404954, "tst": 1778491800, "acc": 12, "tid": "FB"},
    )
    def post(self, request: Request) -> Response:
        return self.take(request)


class Overland(_Door):
    """Overland for iOS."""

    app = APPS["overland"]

    @_described(
        app,
        "sendOverland",
        "Send a batch of positions with Overland",
        "The token is a Bearer token; with ACCESS=open `device_id` is the person's id.",
        {"application/json": _ANY_OBJECT},
        {
            "locations": [
                {
                    "type": "Feature",
                    "geometry": {"type": "Point", "coordinates": [13.404954, 52.520008]},
                    "properties": {
                        "timestamp": "2026-05-11T11:30:00+0200",
                        "horizontal_accuracy": 12,
                        "device_id": "1000001",
                    },
                }
            ]
        },
    )
    def post(self, request: Request) -> Response:
        return self.take(request)


class OsmAnd(_Door):
    """OsmAnd and Traccar Client."""

    app = APPS["osmand"]
    authentication_classes = [DeviceToken]
    http_method_names = ["get", "post", "options"]

    @_described(
        app,
        "sendOsmAndQuery",
        "Send a position with OsmAnd or Traccar Client, in the query",
        "`id` (or `deviceid`, `device_id`) is the token; with ACCESS=open the person's id. The time is now "
        "unless `timestamp` is given. Other parameters are ignored.",
        None,
        parameters=[
            OpenApiParameter(name, description=text, examples=[OpenApiExample("a position", value=value)])
            for name, value, text in (
                ("id", "1000001", "The token, or with ACCESS=open the person's id."),
                ("lat", "52.520008", "WGS84 degrees."),
                ("lon", "13.404954", "WGS84 degrees."),
                ("timestamp", "1778491800", "Seconds or milliseconds since 1970, or ISO 8601."),
                ("accuracy", "12", "The radius of the fix in metres."),
            )
        ],
    )
    def get(self, request: Request) -> Response:
        return self.take(request)

    @_described(
        app,
        "sendOsmAnd",
        "Send a position with OsmAnd or Traccar Client, in the body",
        "A form, or the JSON of Traccar Client 9 and later. `device_id` (in a form also `id` or "
        "`deviceid`) is the token; with ACCESS=open the person's id.",
        {"application/json": _ANY_OBJECT, "application/x-www-form-urlencoded": _ANY_OBJECT},
        {
            "location": {
                "timestamp": "2026-05-11T09:30:00.000Z",
                "coords": {"latitude": 52.520008, "longitude": 13.404954, "accuracy": 12},
            },
            "device_id": "1000001",
        },
        examples=[
            OpenApiExample(
                "a form",
                value={"id": "1000001", "lat": 52.520008, "lon": 13.404954, "timestamp": 1778491800},
                request_only=True,
                media_type="application/x-www-form-urlencoded",
            )
        ],
    )
    def post(self, request: Request) -> Response:
        return self.take(request)


class GpsLogger(_Door):
    """GPSLogger with a custom URL."""

    app = APPS["gpslogger"]
    authentication_classes = [BasicToken]

    @_described(
        app,
        "sendGpsLogger",
        "Send a position with GPSLogger",
        "The token is a Bearer token or the password; with ACCESS=open the user name is the person's id. "
        "`lat`, `lon` and `tst` are required; numbers may be texts. JSON, a form or the query.",
        {"application/json": _ANY_OBJECT},
        {"_type": "location", "lat": 52.520008, "lon": 13.404954, "acc": 12, "tst": 1778491800},
    )
    def post(self, request: Request) -> Response:
        return self.take(request)
