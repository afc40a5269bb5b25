"""Liveness and readiness of this process."""

from typing import Any

from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from connect import __version__
from connect.needs import AWAY, OK, check
from connect.web.openapi import errors, response_spec
from connect.web.query_parameters import Query
from connect.web.rest import RETRY_AFTER_S, JsonRenderer


@extend_schema_serializer(component_name="Readiness")
class _Readiness(serializers.Serializer):
    status = serializers.ChoiceField(["ready", "not ready"])
    version = serializers.CharField(help_text="The version of Connect.")
    needs = serializers.DictField(child=serializers.ChoiceField([OK, AWAY]))


class Live(APIView):
    """Liveness of this process, without its dependencies."""

    authentication_classes: list[Any] = []  # probes have no token
    permission_classes: list[Any] = []
    renderer_classes = [JsonRenderer]

    @extend_schema(
        tags=["health"],
        summary="Liveness",
        description="`healthy` if the process responds. Its dependencies are not checked.",
        responses={
            200: response_spec(OpenApiTypes.STR, "The process responds.", {"alive": "healthy"}),
            **errors(public=True),
        },
    )
    def get(self, request: Request) -> Response:
        Query.of(request)
        return Response("healthy")


class Ready(APIView):
    """Readiness of this process: the state of each dependency (connect/needs.py)."""

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []
    renderer_classes = [JsonRenderer]

    @extend_schema(
        tags=["health"],
        summary="Readiness",
        description=(
            "Whether the process has all its dependencies, and the state of each; `needs` is empty if it "
            "has none. `/health/ready/locations`, `/health/ready/connections` and, where these run, "
            "`/health/ready/encounters` and `/health/ready/live` report the processes that serve these apps."
        ),
        responses={
            200: response_spec(
                _Readiness,
                "All dependencies are available.",
                {"ready": {"status": "ready", "version": __version__, "needs": {"database": "ok"}}},
            ),
            503: response_spec(
                _Readiness,
                "A dependency is unavailable.",
                {
                    "not ready": {
                        "status": "not ready",
                        "version": __version__,
                        "needs": {"database": "out of reach"},
                    }
                },
            ),
            **errors(public=True),
        },
    )
    def get(self, request: Request, app: str | None = None) -> Response:
        Query.of(request)
        found = check(settings.SERVED_APPS if app is None else [app])
        if set(found.values()) <= {OK}:
            return Response({"status": "ready", "version": __version__, "needs": found})
        answer = Response({"status": "not ready", "version": __version__, "needs": found}, status=503)
        answer["Retry-After"] = str(RETRY_AFTER_S)
        return answer
