"""The path for phones.http_client: counts refused points."""

from rest_framework import exceptions, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access.callers import PROCESSES
from connect.web.rest import JsonRenderer, object_body
from phones import refusals


class Refused(APIView):
    """Adds refused points to the counts."""

    callers = {"POST": PROCESSES}
    renderer_classes = [JsonRenderer]
    schema = None  # not in the public API description

    def post(self, request: Request) -> Response:
        body = object_body(request)
        try:
            app = str(body["app"])
            refused = {
                (None if person_id is None else int(person_id), str(reason)): int(count)
                for person_id, reason, count in body["refused"]
            }
        except (KeyError, TypeError, ValueError) as fault:
            raise exceptions.ParseError(f"Not a count of refused points: {fault}") from None
        if refused:
            refusals.count(app, refused)
        return Response(status=status.HTTP_204_NO_CONTENT)
