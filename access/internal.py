"""Paths for access.http_client: identify callers, count token changes, write to the audit log."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from rest_framework import exceptions, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access import services
from access.audit import People, Question
from access.callers import PROCESSES, Caller, Kind
from access.http_client import SESSION
from connect.web.rest import JsonRenderer, object_body


class Callers(APIView):
    """POST takes an array of tokens and returns the caller of each valid one.

    GET returns the caller of a session, or an empty object.
    """

    callers = {"GET": PROCESSES, "POST": PROCESSES}
    renderer_classes = [JsonRenderer]
    schema = None  # not in the public API description

    def get(self, request: Request) -> Response:
        caller = services.identify_session(request.headers.get(SESSION, ""))
        return Response(asdict(caller) if caller else {})

    def post(self, request: Request) -> Response:
        if not isinstance(request.data, list):
            raise exceptions.ParseError("Not an array of tokens.")
        callers = services.identify_tokens(map(str, request.data))
        return Response({token: asdict(caller) for token, caller in callers.items()})


class TokenChanges(APIView):
    """The number of token changes so far."""

    callers = {"GET": PROCESSES}
    renderer_classes = [JsonRenderer]
    schema = None  # not in the public API description

    def get(self, request: Request) -> Response:
        return Response({"number": services.token_changes()})


class Questions(APIView):
    """Adds a question to the audit log."""

    callers = {"POST": PROCESSES}
    renderer_classes = [JsonRenderer]
    schema = None  # not in the public API description

    def post(self, request: Request) -> Response:
        try:
            caller, question = _parse(object_body(request))
        except (KeyError, ValueError, TypeError) as fault:
            raise exceptions.ParseError(f"Not a question for the audit log: {fault}") from None
        services.note(caller, question)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _parse(body: Any) -> tuple[Caller, Question]:
    fields = dict(body["question"])
    people = fields.pop("people")
    for bound in ("start", "end"):
        fields[bound] = datetime.fromisoformat(fields[bound]) if fields[bound] else None
    question = Question(**fields, people=People(**people | {"ids": tuple(map(int, people["ids"]))}))
    return Caller(Kind(body["kind"]), str(body["name"])), question
