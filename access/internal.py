"""For access.http_client: `/internal/callers` identifies a caller, `/internal/token-changes` counts changes
of tokens, `/internal/questions` notes a question.
"""

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
    """POST takes an array of tokens, and gives the caller of each that is valid. GET gives the caller of a
    session; an empty object for none.
    """

    callers = {"GET": PROCESSES, "POST": PROCESSES}
    renderer_classes = [JsonRenderer]
    schema = None  # not for the public

    def get(self, request: Request) -> Response:
        caller = services.of_session(request.headers.get(SESSION, ""))
        return Response(asdict(caller) if caller else {})

    def post(self, request: Request) -> Response:
        if not isinstance(request.data, list):
            raise exceptions.ParseError("Not an array of tokens.")
        found = services.of_tokens(map(str, request.data))
        return Response({token: asdict(caller) for token, caller in found.items()})


class TokenChanges(APIView):
    """The number of changes of tokens so far."""

    callers = {"GET": PROCESSES}
    renderer_classes = [JsonRenderer]
    schema = None  # not for the public

    def get(self, request: Request) -> Response:
        return Response({"number": services.token_changes()})


class Questions(APIView):
    """The audit log, to be added to."""

    callers = {"POST": PROCESSES}
    renderer_classes = [JsonRenderer]
    schema = None  # not for the public

    def post(self, request: Request) -> Response:
        try:
            caller, question = _read(object_body(request))
        except (KeyError, ValueError, TypeError) as fault:
            raise exceptions.ParseError(f"Not a question to note: {fault}") from None
        services.note(caller, question)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _read(fact: Any) -> tuple[Caller, Question]:
    asked = dict(fact["question"])
    people = asked.pop("people")
    for bound in ("start", "end"):
        asked[bound] = datetime.fromisoformat(asked[bound]) if asked[bound] else None
    question = Question(**asked, people=People(**people | {"ids": tuple(map(int, people["ids"]))}))
    return Caller(Kind(fact["kind"]), str(fact["name"])), question
