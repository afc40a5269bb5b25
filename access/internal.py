"""`/internal/callers`, for access.http_client alone: whose token or session another process was shown."""

from dataclasses import asdict

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access import services
from access.http_client import SESSION, TOKEN
from connect.callers import PROCESSES, Asking
from connect.rest import JsonRenderer


class Callers(APIView):
    """An empty object for one who is nobody."""

    callers = {"GET": PROCESSES}
    renderer_classes = [JsonRenderer]
    schema = None  # not for the public

    def get(self, request: Request) -> Response:
        what, person_id = (request.query_params.get(name) for name in ("what", "person_id"))
        asking = Asking(what, int(person_id) if person_id else None) if what else None
        if token := request.headers.get(TOKEN):
            caller = services.of_token(token, asking)
        else:
            caller = services.of_session(request.headers.get(SESSION, ""), asking)
        return Response(asdict(caller) if caller else {})
