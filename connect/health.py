"""Is this process alive, and does it have what it needs?"""

from typing import Any

from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from connect.needs import AWAY, OK, check
from connect.web.openapi import errors, response_spec
from connect.web.query_parameters import Query
from connect.web.rest import RETRY_AFTER_S, JsonRenderer


@extend_schema_serializer(component_name="Readiness")
class _Readiness(serializers.Serializer):
    status = serializers.ChoiceField(["ready", "not ready"])
    needs = serializers.DictField(child=serializers.ChoiceField([OK, AWAY]))


class Live(APIView):
    """This process answers. It says nothing about what it needs."""

    authentication_classes: list[Any] = []  # probes show nothing
    permission_classes: list[Any] = []
    renderer_classes = [JsonRenderer]

    @extend_schema(
        tags=["health"],
        summary="Alive?",
        description="`healthy` from any process that answers. It says nothing about what the process needs.",
        responses={
            200: response_spec(OpenApiTypes.STR, "It answers.", {"alive": "healthy"}),
            **errors(public=True),
        },
    )
    def get(self, request: Request) -> Response:
        Query.of(request)
        return Response("healthy")


class Ready(APIView):
    """Whether this process can do its work, and each thing that it needs for that (connect/needs.py)."""

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []
    renderer_classes = [JsonRenderer]

    @extend_schema(
        tags=["health"],
        summary="Ready?",
        description=(
            "Whether the process that answers can do its work, and each thing that it needs for that; a "
            "process that needs nothing says so with an empty `needs`. `/health/ready/locations` and "
            "`/health/ready/connections` are answered by the processes that serve these paths."
        ),
        responses={
            200: response_spec(
                _Readiness,
                "It can.",
                {"ready": {"status": "ready", "needs": {"database": "ok"}}},
            ),
            503: response_spec(
                _Readiness,
                "Something that it needs is out of reach.",
                {"not ready": {"status": "not ready", "needs": {"database": "out of reach"}}},
            ),
            **errors(public=True),
        },
    )
    def get(self, request: Request, app: str | None = None) -> Response:
        Query.of(request)
        found = check(settings.SERVED_APPS if app is None else [app])
        if set(found.values()) <= {OK}:
            return Response({"status": "ready", "needs": found})
        answer = Response({"status": "not ready", "needs": found}, status=503)
        answer["Retry-After"] = str(RETRY_AFTER_S)
        return answer
