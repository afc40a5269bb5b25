"""Webhooks over REST, for staff."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import exceptions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access import audit
from access.authentication import caller_of
from access.callers import EDITORS
from connect.web.openapi import FINN, LOCATION_HEADER, MISSING, UNAVAILABLE, errors, response_spec
from connect.web.query_parameters import Query
from connect.web.rest import object_body
from webhooks import limits, services
from webhooks.serializers import CreatedWebhookSerializer, NewWebhookSerializer, WebhookSerializer

_NEW = {
    "url": "https://example.org/connect",
    "events": ["encounter.ended"],
    "company": FINN["company_name"],
    "min_duration": 60.0,
}
_WEBHOOK = {"id": 1, **_NEW, "person_id": None, "created": "2026-05-11T09:00:00Z", "active": True}
_SECRET = "whsec_cBbx9DRi5tM8UjCzKFdjO0RkIHMxYn4mfZHzCH83Bfk="  # noqa: S105 - an example
_ID = OpenApiParameter(
    "webhook_id",
    int,
    OpenApiParameter.PATH,
    description="The id of a webhook, an integer.",
    examples=[OpenApiExample("the first webhook", value=1)],
)
_NO_WEBHOOK = "There is no webhook 999."


class Webhooks(APIView):
    """The webhooks, ordered by id. They are told about encounters."""

    callers = {"GET": EDITORS, "POST": EDITORS}

    def get_serializer(self, *args: Any, **kwargs: Any) -> serializers.Serializer:
        """Gives the form of the browsable page its initial values."""
        return NewWebhookSerializer(*args, **kwargs)

    @extend_schema(
        operation_id="listWebhooks",
        tags=["webhooks"],
        summary="List the webhooks",
        description="For staff. All webhooks, ordered by id, without their secrets.",
        responses={
            200: response_spec(
                WebhookSerializer(many=True), "The webhooks; may be empty.", {"a webhook": _WEBHOOK}
            ),
            **errors(UNAVAILABLE),
        },
    )
    def get(self, request: Request) -> Response:
        Query.of(request)
        found = services.list_all(caller_of(request))
        audit.set_people(request, [each.person_id for each in found if each.person_id is not None])
        return Response([each.to_wire() for each in found])

    @extend_schema(
        operation_id="createWebhook",
        tags=["webhooks"],
        summary="Create a webhook",
        description=(
            "For staff. From now on the address gets a signed POST for each encounter that starts or ends "
            "and passes the filters: docs/webhooks.md. The answer has the `secret` of the signatures, which "
            f"is not shown again. There are at most {limits.MAX_WEBHOOKS} webhooks. Addresses that are not "
            "public are refused unless WEBHOOKS_ALLOW_PRIVATE is set."
        ),
        parameters=[LOCATION_HEADER],
        request=NewWebhookSerializer,
        responses={
            201: response_spec(
                CreatedWebhookSerializer,
                "Created. The header `Location` has its path.",
                {"the webhook": {**_WEBHOOK, "secret": _SECRET}},
            ),
            **errors(UNAVAILABLE, body=True, wrong={"url": ["Must begin with https:// or http://."]}),
        },
        examples=[OpenApiExample("meetings of a company", value=_NEW, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        Query.of(request)
        serializer = NewWebhookSerializer(data=object_body(request))
        serializer.is_valid(raise_exception=True)
        if person_id := serializer.validated_data.get("person_id"):
            audit.set_people(request, [person_id])
        created = services.create(caller_of(request), **serializer.validated_data)
        return Response(
            created.to_wire(),
            status=status.HTTP_201_CREATED,
            headers={"Location": f"/api/webhooks/{created.id}"},
        )


class OneWebhook(APIView):
    """One webhook."""

    callers = {"GET": EDITORS, "DELETE": EDITORS}

    @extend_schema(
        operation_id="getWebhook",
        tags=["webhooks"],
        summary="Get a webhook",
        description="For staff. The webhook with this id, without its secret.",
        parameters=[_ID],
        responses={
            200: response_spec(WebhookSerializer, "This webhook.", {"the webhook": _WEBHOOK}),
            **errors(MISSING, UNAVAILABLE, missing=_NO_WEBHOOK),
        },
    )
    def get(self, request: Request, webhook_id: int) -> Response:
        Query.of(request)
        found = services.get(caller_of(request), webhook_id)
        if found is None:
            raise _not_found(webhook_id)
        if found.person_id is not None:
            audit.set_people(request, [found.person_id])
        return Response(found.to_wire())

    @extend_schema(
        operation_id="deleteWebhook",
        tags=["webhooks"],
        summary="Delete a webhook",
        description=(
            "For staff. Deletes the webhook and everything that waits for it. An attempt that has begun "
            "goes on."
        ),
        parameters=[_ID],
        responses={
            204: OpenApiResponse(description="Deleted."),
            **errors(MISSING, UNAVAILABLE, missing=_NO_WEBHOOK),
        },
    )
    def delete(self, request: Request, webhook_id: int) -> Response:
        Query.of(request)
        if not services.delete(caller_of(request), webhook_id):
            raise _not_found(webhook_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _not_found(webhook_id: int) -> exceptions.NotFound:
    return exceptions.NotFound(f"There is no webhook {webhook_id}.")
