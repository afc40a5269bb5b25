"""Shared by all REST views: parsers, renderers, errors in DRF's shapes, strict bodies."""

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

from connect.errors import (
    NeighbourUnavailable,
    OutOfBounds,
    QuestionTooLarge,
    RequestTooLarge,
    TooMany,
    UnknownPerson,
    UnknownZone,
)

RETRY_AFTER_S = 2


class Unavailable(exceptions.APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_detail = "What this call needs is out of reach. Sending it again is safe."
    default_code = "unavailable"
    wait = RETRY_AFTER_S  # DRF sends it as the header Retry-After


class TooLarge(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The request is too large."
    default_code = "too_large"


class _Throttled(exceptions.Throttled):
    """A 429 with this text. DRF makes the header Retry-After from `wait`."""

    def __init__(self, text: str, wait_s: int):
        super().__init__(wait_s)
        self.detail = exceptions.ErrorDetail(text, self.default_code)


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler, extended by the exceptions of the use cases and of the database.

    Errors are JSON even if the response would have been CSV.
    """
    if isinstance(exc, NeighbourUnavailable | OperationalError | InterfaceError):
        exc = Unavailable()
    elif isinstance(exc, QuestionTooLarge | RequestTooLarge):
        exc = TooLarge(str(exc))
    elif isinstance(exc, TooMany):
        exc = _Throttled(str(exc), exc.wait_s)
    elif isinstance(exc, OutOfBounds):
        exc = exceptions.ValidationError(
            {name.removesuffix("_m").removesuffix("_s"): texts for name, texts in exc.errors.items()}
        )
    elif isinstance(exc, UnknownPerson):
        exc = person_not_found(exc.person_id)
    elif isinstance(exc, UnknownZone):
        exc = exceptions.NotFound(str(exc))
    request = context["request"]
    if isinstance(getattr(request, "accepted_renderer", None), RowRenderer) and exc:
        request.accepted_renderer, request.accepted_media_type = JsonRenderer(), JsonRenderer.media_type
    from rest_framework.views import exception_handler as drf_exception_handler  # noqa: PLC0415 - it imports us

    return drf_exception_handler(exc, context)


# --- bodies --------------------------------------------------------------------------------------


class Json(parsers.JSONParser):
    """JSON parsed by orjson: UTF-8 and finite numbers only, bounded nesting."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return orjson.loads(stream.read())
        except orjson.JSONDecodeError as fault:
            raise exceptions.ParseError(f"JSON parse error - {fault}") from None


class RowRenderer(renderers.BaseRenderer):
    """A renderer of rows, whole or streamed: opening, blocks with a separator between them, closing."""

    opening = separator = closing = b""
    charset: str | None = "utf-8"  # None: DRF sends no charset

    def encode(self, rows: list[Any]) -> bytes:
        """One or more rows, without opening and closing."""
        raise TypeError(f"{type(self).__name__} cannot encode rows.")

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
    """The browsable API page of a path."""

    def get_context(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Without code styles: the content security policy forbids inline styles."""
        return super().get_context(*args, **kwargs) | {"code_style": None}

    def get_breadcrumbs(self, request: Request) -> list[tuple[str, str]]:
        """The parent paths, including those of other processes."""
        served = get_urlconf()
        set_urlconf("connect.api_urls")
        try:
            return super().get_breadcrumbs(request)
        finally:
            set_urlconf(served)


def object_body(request: Request) -> Mapping[str, Any]:
    """The body; anything but a JSON object is a 400."""
    if not isinstance(request.data, Mapping):
        raise exceptions.ValidationError({"non_field_errors": ["Must be an object."]})
    return request.data


class StrictSerializer(serializers.Serializer):
    """A body whose unknown fields are a 400. `id` is ignored, so that a GET response can be sent back."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = sorted(set(map(str, data)) - set(self.fields) - {"id"})
            if unknown:
                raise exceptions.ValidationError({name: ["Unknown field."] for name in unknown})
        return super().to_internal_value(data)


class Text(serializers.CharField):
    """A JSON string without NUL; numbers are refused, and blanks unless `allow_blank`."""

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
    """JSON true or false; strings and numbers are refused."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise exceptions.ValidationError("Must be true or false.")
        return data


def person_not_found(person_id: int) -> exceptions.NotFound:
    return exceptions.NotFound(f"There is no person {person_id}.")


# --- Django's error pages, in DRF's shape for API paths ------------------------------------------


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
