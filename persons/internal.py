"""`/internal/persons?id=5&id=6`: people by id, for persons.http_client. No proxy route leads to it.

Unlike the list for clients it contains people who are not findable, because their pings are still accepted;
`findable=true` leaves them out.
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
    """Returns those of the people who exist."""

    callers = {"GET": PROCESSES}
    renderer_classes = [JsonRenderer]
    schema = None  # not in the public API description

    def get(self, request: Request) -> Response:
        try:
            ids = [int(each) for each in request.query_params.getlist("id")]
        except ValueError as fault:
            raise exceptions.ParseError(f"Not an id of a person: {fault}") from None
        audit.set_people(request, ids)
        find = services.findable if "findable" in request.query_params else services.get_many
        return Response([person.to_wire() for person in find(ids).values()])
