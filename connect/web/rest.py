"""What every REST view shares: parsing, rendering, errors in DRF's shapes, strict bodies."""

from collections.abc import Mapping
from typing import Any

import orjson
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import get_urlconf, set_urlconf
from django.views import defaults
from drf_spectacular.drainage import set_override
from rest_framework import exceptions, parsers, renderers, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from connect.errors import NeighbourUnavailable, OutOfBounds, QuestionTooLarge, UnknownPerson

RETRY_AFTER_S = 2


class Unavailable(exceptions.APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "What this call needs is out of reach. Sending it again is safe."
    default_code = "unavailable"
    wait = RETRY_AFTER_S  # DRF makes the header Retry-After of it


class TooLarge(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The request is too large."
    default_code = "too_large"


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's own, told what the use cases raise and what is out of reach.

    Errors leave as JSON where the answer would have been CSV.
    """
    if isinstance(exc, NeighbourUnavailable | OperationalError | InterfaceError):
        exc = Unavailable()
    elif isinstance(exc, QuestionTooLarge):
        exc = TooLarge(str(exc))
    elif isinstance(exc, OutOfBounds):
        exc = exceptions.ValidationError(
            {name.removesuffix("_m").removesuffix("_s"): texts for name, texts in exc.errors.items()}
        )
    elif isinstance(exc, UnknownPerson):
        exc = person_not_found(exc.person_id)
    request = context["request"]
    if isinstance(getattr(request, "accepted_renderer", None), RowRenderer) and exc:
        request.accepted_renderer, request.accepted_media_type = JsonRenderer(), JsonRenderer.media_type
    from rest_framework.views import exception_handler as drf_exception_handler  # noqa: PLC0415 - it imports us

    return drf_exception_handler(exc, context)


# --- bodies --------------------------------------------------------------------------------------


class Json(parsers.JSONParser):
    """JSON by orjson: UTF-8 and finite numbers only, nesting bounded."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return orjson.loads(stream.read())
        except orjson.JSONDecodeError as fault:
            raise exceptions.ParseError(f"JSON parse error - {fault}") from None


class RowRenderer(renderers.BaseRenderer):
    """A renderer of rows that can also write them block by block: opening, blocks with joints, closing."""

    opening = separator = closing = b""
    charset: str | None = "utf-8"  # DRF sends none where it is None

    def encode(self, rows: list[Any]) -> bytes:
        """A block of at least one row, without the frame."""
        raise TypeError(f"{type(self).__name__} has no way to write rows.")

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        return self.opening + (self.encode(data) if data else b"") + self.closing


class JsonRenderer(RowRenderer, renderers.JSONRenderer):
    charset = None  # JSON is UTF-8
    opening, separator, closing = b"[", b",", b"]"

    def encode(self, rows: list[Any]) -> bytes:
        return orjson.dumps(rows)[1:-1]

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        if data is None:
            return b""
        if self.get_indent(accepted_media_type or "", renderer_context or {}):  # the browsable pages
            return renderers.JSONRenderer.render(self, data, accepted_media_type, renderer_context)
        return orjson.dumps(data, default=str)


class Page(renderers.BrowsableAPIRenderer):
    """A path as a browser shows it."""

    def get_context(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Without styles for code, which there is none of: within a page the policy allows no styles."""
        return super().get_context(*args, **kwargs) | {"code_style": None}

    def get_breadcrumbs(self, request: Request) -> list[tuple[str, str]]:
        """The paths above this one, also those that another process serves."""
        served = get_urlconf()
        set_urlconf("connect.api_urls")
        try:
            return super().get_breadcrumbs(request)
        finally:
            set_urlconf(served)


def object_body(request: Request) -> Mapping[str, Any]:
    """The body, which must be a JSON object."""
    if not isinstance(request.data, Mapping):
        raise exceptions.ValidationError({"non_field_errors": ["Must be an object."]})
    return request.data


class StrictSerializer(serializers.Serializer):
    """A body whose unknown fields are refused by name; an `id` is ignored: what GET gave can be sent back."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = sorted(set(map(str, data)) - set(self.fields) - {"id"})
            if unknown:
                raise exceptions.ValidationError({name: ["Unknown field."] for name in unknown})
        return super().to_internal_value(data)


class Text(serializers.CharField):
    """A JSON string, not a number in its place; not blank, unless it may be, and without NUL."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        some = (
            "" if self.allow_blank else r"[^\s\u0000\u001c-\u001f\u0085][^\u0000]*"
        )  # what str.strip leaves
        length = {"maxLength": self.max_length} if self.max_length else {}
        set_override(self, "field", {"type": "string", "pattern": rf"^[^\u0000]*{some}$", **length})

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise exceptions.ValidationError("Must be a string.")
        return super().to_internal_value(data)


class StrictBoolean(serializers.BooleanField):
    """JSON's true or false, not a word or a number in its place."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise exceptions.ValidationError("Must be true or false.")
        return data


def person_not_found(person_id: int) -> exceptions.NotFound:
    return exceptions.NotFound(f"There is no person {person_id}.")


# --- pages of Django's own, in DRF's shape for API paths -----------------------------------------


def _plain(code: int, detail: str) -> Any:
    page = {400: defaults.bad_request, 403: defaults.permission_denied, 404: defaults.page_not_found}.get(
        code
    )

    def view(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
        if request.path.startswith(("/api", "/health", "/internal")):
            return JsonResponse({"detail": detail}, status=code)
        return page(request, exception or Exception()) if page else defaults.server_error(request)

    return view


bad_request = _plain(400, "Bad request.")
permission_denied = _plain(403, "You do not have permission to perform this action.")
not_found = _plain(404, "Not found.")
server_error = _plain(500, "A server error occurred.")
