"""The gRPC door to locations. Like every door it ends in the seam: pings in, what is stored out."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

import grpc
from django.core.exceptions import PermissionDenied

from access import callers
from access.audit import People, Question
from access.callers import PROCESSES, READERS, SENDERS
from connect.database import BLOCK
from connect.errors import OutOfBounds, UnknownPerson
from connections import services as people_near
from grpc_server import converter, request_parser
from grpc_server import locations_pb2 as pb
from grpc_server.calls import Failure, Method
from grpc_server.locations_pb2_grpc import LocationServiceServicer
from locations import services
from locations.pings import MAX_BATCH, Ping, Refused, parse_id
from locations.quota import BatchTooLarge, TooManyPings
from locations.storage import Receipt

Row = TypeVar("Row")
Rows = Generator[Row, None, None]


class LocationService(LocationServiceServicer):
    """Answers requests in a thread; grpc_server.calls does what every call needs.

    `RecordLocations` answers one batch of the stream.
    """

    def RecordLocation(self, request: pb.Location, context: Any) -> pb.Location:
        ping = converter.to_ping(request, now=datetime.now(UTC))
        for refusal in _submit([ping]).refused:
            if refusal.status == 404:
                raise Failure(grpc.StatusCode.NOT_FOUND, refusal.errors["person_id"][0])
            raise Refused(refusal.errors)
        return converter.to_location(ping)

    def RecordLocations(self, request: pb.RecordLocationsRequest, context: Any) -> pb.RecordLocationsResponse:
        return _record(request)

    def GetLocation(self, request: pb.GetLocationRequest, context: Any) -> pb.Location:
        identity = parse_id(request.id)
        with _noted("GetLocation", {"person_id": identity[0] if identity else None}):
            with _in_words_of_grpc():
                location = services.get(callers.current(), *identity) if identity else None
            if location is None:
                raise Failure(grpc.StatusCode.NOT_FOUND, f"There is no location {request.id[:100]}.")
        return converter.to_location(location)

    def ListLocations(self, request: pb.ListLocationsRequest, context: Any) -> Rows[pb.ListLocationsResponse]:
        question = request_parser.locations(request)
        if question["person_id"] is None:
            question["person_id"] = callers.current().person_id
        with _noted("ListLocations", question), _in_words_of_grpc():
            found = services.list_between(callers.current(), **question)
        with closing(found) as rows:
            while batch := list(islice(rows, BLOCK)):
                response = pb.ListLocationsResponse()
                converter.add_locations(response.locations, batch, with_ids=True)
                yield response

    def FindConnections(
        self, request: pb.FindConnectionsRequest, context: Any
    ) -> Rows[pb.FindConnectionsResponse]:
        question = request_parser.connections(request)
        with _noted("FindConnections", question), _in_words_of_grpc():
            found = people_near.connections(callers.current(), **question)
        with _in_words_of_grpc(), closing(found) as rows:
            while batch := list(islice(rows, BLOCK)):
                response = pb.FindConnectionsResponse()
                converter.add_locations(response.locations, batch, with_ids=True)
                yield response

    def FindEncounters(
        self, request: pb.FindEncountersRequest, context: Any
    ) -> Rows[pb.FindEncountersResponse]:
        caller, question = callers.current(), request_parser.encounters(request)
        with _noted("FindEncounters", question), _in_words_of_grpc():
            found = people_near.encounters(caller, **question)
        plausible_only = people_near.only_plausible(caller, asked=request.plausible_only)
        with _in_words_of_grpc(), closing(found) as rows:
            while batch := list(islice(rows, BLOCK)):
                yield pb.FindEncountersResponse(
                    encounters=map(converter.to_encounter, batch), plausible_only=plausible_only
                )


@contextmanager
def _noted(what: str, question: dict[str, Any]) -> Iterator[None]:
    """Notes the validated question, before rows are read: with the status of a refusal inside, or as OK."""

    def note(outcome: grpc.StatusCode) -> None:
        person_id = question["person_id"]
        people = People() if person_id is None else People.of([person_id])
        asked = Question(what, people, question.get("start"), question.get("end"), outcome.name)
        callers.note(callers.current(), asked)

    try:
        yield
    except Refused:
        note(grpc.StatusCode.INVALID_ARGUMENT)
        raise
    except Failure as failure:
        note(failure.code)
        raise
    note(grpc.StatusCode.OK)


def _record(request: pb.RecordLocationsRequest) -> pb.RecordLocationsResponse:
    count = len(request.locations)
    if not count:
        raise Refused({"locations": [f"Must be 1 to {MAX_BATCH}."]})
    if count > MAX_BATCH:
        text = f"locations: The batch has {count}; {MAX_BATCH} are allowed."
        raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
    good, indexes, refusals = converter.to_pings(request.locations)
    receipt = _submit(good)
    refused = {refusal.index: refusal for refusal in refusals}
    for late in receipt.refused:
        index = indexes[late.index]
        refused[index] = type(late)(index, late.status, late.errors)
    return pb.RecordLocationsResponse(
        accepted=count - len(refused),
        refused=[converter.to_refusal(refused[index]) for index in sorted(refused)],
        stored=receipt.stored,
    )


def _submit(good: list[Ping]) -> Receipt:
    with _in_words_of_grpc():
        return services.submit(callers.current(), good)


@contextmanager
def _in_words_of_grpc() -> Iterator[None]:
    """Turns what the use cases raise into the status of the call."""
    try:
        yield
    except PermissionDenied as fault:
        raise Failure(grpc.StatusCode.PERMISSION_DENIED, str(fault)) from None
    except UnknownPerson as fault:
        raise Failure(grpc.StatusCode.NOT_FOUND, str(fault)) from None
    except OutOfBounds as fault:
        raise Refused(fault.errors) from None
    except TooManyPings as fault:
        raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, str(fault), wait_s=fault.wait_s) from None
    except BatchTooLarge as fault:
        raise Failure(grpc.StatusCode.INVALID_ARGUMENT, str(fault)) from None


_WHO_MAY = {
    "RecordLocation": SENDERS | PROCESSES,
    "RecordLocations": SENDERS | PROCESSES,
    "GetLocation": READERS | PROCESSES,
    "ListLocations": READERS | PROCESSES,
    "FindConnections": READERS | PROCESSES,
    "FindEncounters": READERS | PROCESSES,
}
_SERVICE = pb.DESCRIPTOR.services_by_name["LocationService"]
SERVICE = _SERVICE.full_name
METHODS = [
    Method(
        name=each.name,
        who=_WHO_MAY[each.name],
        request=getattr(pb, each.input_type.name),
        behaviour=getattr(LocationService(), each.name),
        sends_many=each.client_streaming,
        answers_many=each.server_streaming and not each.client_streaming,
    )
    for each in _SERVICE.methods
]
