"""The entry points of the API, for a client that knows only the address, and the schema."""

import hashlib
import threading
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.http import quote_etag
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from connect.web.openapi import errors, response_spec
from connect.web.query_parameters import Query

ENTRY_POINTS = {
    "persons": "/api/persons",
    "locations": "/api/locations",
    "event": "/api/event",
    "zones": "/api/zones",
    "caller": "/api/caller",
    "docs": "/api/docs",
    "schema": "/api/schema",
    "health": "/health",
}


class EntryPoints(APIView):
    """The main paths of the API."""

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []

    @extend_schema(
        operation_id="listEntryPoints",
        tags=["entry points"],
        summary="Entry points",
        description="The main paths of the API, by name. No token is needed.",
        responses={
            200: response_spec(
                {"type": "object", "additionalProperties": {"type": "string"}},
                "Paths relative to this address.",
                {"entry points": ENTRY_POINTS},
            ),
            **errors(public=True),
        },
    )
    def get(self, request: Request) -> Response:
        Query.of(request)
        return Response(ENTRY_POINTS)


@require_safe
def root(request: HttpRequest) -> HttpResponseBase:
    """Redirects a browser to the docs; any other client gets the entry points."""
    if request.get_preferred_type(["application/json", "text/html"]) == "text/html":
        return HttpResponseRedirect(ENTRY_POINTS["docs"])
    return EntryPoints.as_view()(request)


class Schema(SpectacularAPIView):
    """The schema, cached per process and format; it is the same for every client."""

    _cache: dict[type[BaseRenderer], bytes] = {}
    _lock = threading.Lock()

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponseBase:
        renderer = request.accepted_renderer
        body = self._rendered(type(renderer))
        kind = f"{renderer.media_type}; charset=utf-8" if renderer.charset else str(renderer.media_type)
        etag = quote_etag(f"{hashlib.sha256(body).hexdigest()[:16]}")
        response = HttpResponse(body, content_type=kind, headers={"ETag": etag})
        response["Cache-Control"] = "public, max-age=300"
        patch_vary_headers(response, ["Accept", "Accept-Encoding"])
        return get_conditional_response(request, etag=etag, response=response) or response

    def _rendered(self, renderer: type[BaseRenderer]) -> bytes:
        with self._lock:
            if renderer not in self._cache:
                schema = SchemaGenerator(urlconf=self.urlconf).get_schema(request=None, public=True)
                self._cache[renderer] = renderer().render(schema, renderer.media_type, {})
            return self._cache[renderer]
