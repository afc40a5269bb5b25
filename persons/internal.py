"""People for other processes over HTTP, on an /internal/ path that no proxy route reaches.

`/internal/persons?id=5&id=6`: everybody asked for, for persons.http_client alone. The list for clients leaves
out those who are not to be found, but whoever takes pings must know whose they are.
"""

from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access import audit
from access.callers import PROCESSES
from connect.web.rest import JsonRenderer
from persons import services


class People(APIView):
    """The people among those asked for who exist."""

    callers = {"GET": PROCESSES}
    renderer_classes = [JsonRenderer]
    schema = None  # not for the public

    def get(self, request: Request) -> Response:
        try:
            ids = [int(each) for each in request.query_params.getlist("id")]
        except ValueError as fault:
            raise exceptions.ParseError(f"Not a question for people: {fault}") from None
        audit.set_people(request, ids)
        return Response([person.to_wire() for person in services.get_many(ids).values()])
