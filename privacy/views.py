"""The REST paths of a person's own data: export, erasure, and who asked about them."""

from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access import services as access
from access.authentication import caller_of
from access.callers import OWNERS
from connect.web.openapi import FINN, MISSING, PERSON_ID, UNAVAILABLE, errors, response_spec
from connect.web.query_parameters import Query
from connect.web.rest import JsonRenderer, RowRenderer, person_not_found
from connect.web.streaming import answer
from connect.wire_format import format_time
from persons import services as persons
from privacy import archive, erasure

MAX_QUESTIONS = 100
CHUNKS = 8  # read before the answer begins; a shorter archive is sent whole


class Zip(RowRenderer):
    """Renders an archive, whose rows are chunks of bytes."""

    media_type = "application/zip"
    format = "zip"
    charset = None

    def encode(self, rows: list[Any]) -> bytes:
        return b"".join(rows)


class Export(APIView):
    """All data about a person."""

    callers = {"GET": OWNERS}
    renderer_classes = [Zip]

    @extend_schema(
        operation_id="exportPerson",
        tags=["persons"],
        summary="Export all data about a person",
        description=(
            "A zip archive with the names and the consent, every stored ping exactly, rejected pings, "
            "tokens, questions about the person from the audit log, and changes by staff. Its README "
            "describes the files."
        ),
        parameters=[PERSON_ID],
        responses={
            (200, "application/zip"): response_spec(
                OpenApiTypes.BINARY, "The archive.", {"the first bytes": "PK\u0003\u0004"}
            ),
            **errors(MISSING, UNAVAILABLE),
        },
    )
    def get(self, request: Request, person_id: int) -> HttpResponseBase:
        Query.of(request)
        chunks = archive.stream(person_id) if caller_of(request).speaks_for(person_id) else None
        if chunks is None:
            raise person_not_found(person_id)
        response = answer(
            request,
            lambda _: chunks,
            limit=None,
            to_wire=lambda block: block,
            key=lambda _: (),
            block_size=CHUNKS,
        )
        response["Content-Disposition"] = f'attachment; filename="person-{person_id}.zip"'
        return response

    def perform_content_negotiation(
        self,
        request: Request,
        force: bool = False,  # noqa: FBT001, FBT002 - as DRF calls it
    ) -> tuple[BaseRenderer, str]:
        """Everything but the archive is JSON: a 406 and the answer to OPTIONS."""
        if force or request.method not in ("GET", "HEAD"):
            return JsonRenderer(), "application/json"
        return super().perform_content_negotiation(request)


@extend_schema_serializer(component_name="ErasureReceipt")
class _Receipt(serializers.Serializer):
    person_id = serializers.IntegerField()
    erased_at = serializers.DateTimeField(help_text="UTC.")
    pings = serializers.IntegerField(help_text="Deleted stored pings.")
    rejected_pings = serializers.IntegerField(help_text="Deleted rejected pings.")
    tokens = serializers.IntegerField(help_text="Deleted tokens of this person.")


_RECEIPT = {
    "person_id": FINN["id"],
    "erased_at": "2026-05-11T18:00:00Z",
    "pings": 2880,
    "rejected_pings": 0,
    "tokens": 2,
}


class Erasure(APIView):
    """Deletes a person for good."""

    callers = {"POST": OWNERS}
    renderer_classes = [JsonRenderer]

    @extend_schema(
        operation_id="erasePerson",
        tags=["persons"],
        summary="Erase a person and get the receipt",
        description=(
            "Deletes the person with all pings, tokens and sign-in links in one transaction, as `DELETE` "
            "does, and returns the receipt, which has no name. Pings that are not stored yet are dropped. A "
            "person may erase only themselves."
        ),
        parameters=[PERSON_ID],
        request=None,
        responses={
            200: response_spec(_Receipt, "Erased.", {"a receipt": _RECEIPT}),
            **errors(MISSING, UNAVAILABLE),
        },
    )
    def post(self, request: Request, person_id: int) -> Response:
        Query.of(request)
        exists = caller_of(request).speaks_for(person_id) and persons.get_many([person_id])
        receipt = erasure.erase(person_id) if exists else None
        if receipt is None:
            raise person_not_found(person_id)
        values = {name: getattr(receipt, name) for name in _RECEIPT}
        return Response(values | {"erased_at": format_time(receipt.erased_at)})


@extend_schema_serializer(component_name="Question")
class _Question(serializers.Serializer):
    at = serializers.DateTimeField(help_text="UTC.")
    kind = serializers.CharField(help_text="The kind of caller.")
    caller = serializers.CharField(help_text="The user, or the prefix of the token.")
    what = serializers.CharField(help_text="The call.")
    start = serializers.DateTimeField(allow_null=True, help_text="The range that was asked for, UTC.")
    end = serializers.DateTimeField(allow_null=True)
    outcome = serializers.CharField(help_text="The HTTP or gRPC status.")


_QUESTION = {
    "at": "2026-05-12T08:00:00Z",
    "kind": "staff",
    "caller": "user admin",
    "what": "GET encounters",
    "start": "2026-05-11T00:00:00Z",
    "end": "2026-05-12T00:00:00Z",
    "outcome": "200",
}


class Questions(APIView):
    """Who asked about a person."""

    callers = {"GET": OWNERS}
    renderer_classes = [JsonRenderer]

    @extend_schema(
        operation_id="listQuestions",
        tags=["persons"],
        summary="List who asked about a person",
        description=(
            f"The newest {MAX_QUESTIONS} questions about this person in the audit log, newest first, without "
            "those of persons: they ask only about themselves. Questions about everybody are not listed. "
            "Empty with ACCESS=open, which has no audit log."
        ),
        parameters=[PERSON_ID],
        responses={
            200: response_spec(
                _Question(many=True), "The questions; may be empty.", {"a question": _QUESTION}
            ),
            **errors(MISSING, UNAVAILABLE),
        },
    )
    def get(self, request: Request, person_id: int) -> Response:
        Query.of(request)
        if not caller_of(request).speaks_for(person_id) or not persons.get_many([person_id]):
            raise person_not_found(person_id)
        return Response(
            [
                {
                    "at": format_time(each.at),
                    "kind": each.kind,
                    "caller": each.caller,
                    "what": each.what,
                    "start": each.range_start and format_time(each.range_start),
                    "end": each.range_end and format_time(each.range_end),
                    "outcome": each.outcome,
                }
                for each in access.questions_about(person_id, MAX_QUESTIONS)
            ]
        )
