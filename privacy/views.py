"""The REST path of a person's export."""

from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from access.authentication import caller_of
from access.callers import OWNERS
from connect.web.openapi import MISSING, PERSON_ID, UNAVAILABLE, errors, response_spec
from connect.web.query_parameters import Query
from connect.web.rest import JsonRenderer, RowRenderer, person_not_found
from connect.web.streaming import answer
from privacy import archive

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
