"""The gRPC service of locations: turns requests into calls of the use cases."""

from collections.abc import Callable, Generator, Iterator
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
from connections import services as connections
from grpc_server import converter, request_parser
from grpc_server import locations_pb2 as pb
from grpc_server.calls import Method
from grpc_server.locations_pb2_grpc import LocationServiceServicer
from grpc_server.statuses import Failure
from locations import services
from locations.pings import MAX_BATCH, Ping, Refused, parse_id
from locations.quota import BatchTooLarge, TooManyPings
from locations.storage import Receipt

Row = TypeVar("Row")
Rows = Generator[Row, None, None]


class LocationService(LocationServiceServicer):
    """Runs in the threads of grpc_server.calls. `RecordLocations` answers one batch of the stream."""

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
        with _audited("GetLocation", {"person_id": identity[0] if identity else None}):
            with _translated_errors():
                location = services.get(callers.current(), *identity) if identity else None
            if location is None:
                raise Failure(grpc.StatusCode.NOT_FOUND, f"There is no location {request.id[:100]}.")
        return converter.to_location(location)

    def ListLocations(self, request: pb.ListLocationsRequest, context: Any) -> Rows[pb.ListLocationsResponse]:
        for batch in _answer("ListLocations", services.list_between, request_parser.locations(request)):
            response = pb.ListLocationsResponse()
            converter.add_locations(response.locations, batch, with_ids=True)
            yield response

    def FindConnections(
        self, request: pb.FindConnectionsRequest, context: Any
    ) -> Rows[pb.FindConnectionsResponse]:
        parameters = request_parser.connections(request)
        with _audited("FindConnections", parameters), _translated_errors():
            found = connections.connections(callers.current(), **parameters)
        with _translated_errors(), closing(found) as rows:
            while batch := list(islice(rows, BLOCK)):
                response = pb.FindConnectionsResponse(max_accuracy_m=parameters["max_accuracy_m"])
                converter.add_locations(response.locations, batch, with_ids=True)
                yield response

    def FindEncounters(
        self, request: pb.FindEncountersRequest, context: Any
    ) -> Rows[pb.FindEncountersResponse]:
        caller, parameters = callers.current(), request_parser.encounters(request)
        with _audited("FindEncounters", parameters), _translated_errors():
            found = connections.encounters(caller, **parameters)
        plausible_only = connections.only_plausible(caller, asked=request.plausible_only)
        with _translated_errors(), closing(found) as rows:
            while batch := list(islice(rows, BLOCK)):
                yield pb.FindEncountersResponse(
                    encounters=map(converter.to_encounter, batch),
                    plausible_only=plausible_only,
                    max_accuracy_m=parameters["max_accuracy_m"],
                )

    def ListDays(self, request: pb.ListDaysRequest, context: Any) -> Rows[pb.ListDaysResponse]:
        for batch in _answer("ListDays", services.days, request_parser.days(request)):
            yield pb.ListDaysResponse(days=map(converter.to_day, batch))

    def ListPositions(self, request: pb.ListPositionsRequest, context: Any) -> Rows[pb.ListPositionsResponse]:
        for batch in _answer("ListPositions", services.positions, request_parser.positions(request)):
            response = pb.ListPositionsResponse()
            converter.add_locations(response.locations, batch, with_ids=True)
            yield response

    def ListHeat(self, request: pb.ListHeatRequest, context: Any) -> Rows[pb.ListHeatResponse]:
        for batch in _answer("ListHeat", services.heat, request_parser.heat(request)):
            yield pb.ListHeatResponse(cells=map(converter.to_heat_cell, batch))

    def ListVisits(self, request: pb.ListVisitsRequest, context: Any) -> Rows[pb.ListVisitsResponse]:
        for batch in _answer("ListVisits", services.visits, request_parser.visits(request)):
            yield pb.ListVisitsResponse(areas=map(converter.to_area_visits, batch))


def _answer(what: str, use_case: Callable[..., Rows[Row]], parameters: dict[str, Any]) -> Rows[list[Row]]:
    """The rows of a use case in batches. A person's token asks about the person."""
    if parameters["person_id"] is None:
        parameters["person_id"] = callers.current().person_id
    with _audited(what, parameters), _translated_errors():
        found = use_case(callers.current(), **parameters)
    with _translated_errors(), closing(found) as rows:
        while batch := list(islice(rows, BLOCK)):
            yield batch


@contextmanager
def _audited(what: str, parameters: dict[str, Any]) -> Iterator[None]:
    """Writes the parameters and the status of the block to the audit log, before rows are read."""

    def note(outcome: grpc.StatusCode) -> None:
        person_id = parameters["person_id"]
        people = People() if person_id is None else People.of([person_id])
        start, end = (parameters.get(name, parameters.get("at")) for name in ("start", "end"))
        asked = Question(what, people, start, end, outcome.name)
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
    for refusal in receipt.refused:
        index = indexes[refusal.index]
        refused[index] = type(refusal)(index, refusal.status, refusal.errors)
    return pb.RecordLocationsResponse(
        accepted=count - len(refused),
        refused=[converter.to_refusal(refused[index]) for index in sorted(refused)],
        stored=receipt.stored,
    )


def _submit(good: list[Ping]) -> Receipt:
    with _translated_errors():
        return services.submit(callers.current(), good)


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Translates exceptions of the use cases to statuses."""
    try:
        yield
    except PermissionDenied as error:
        raise Failure(grpc.StatusCode.PERMISSION_DENIED, str(error)) from None
    except UnknownPerson as error:
        raise Failure(grpc.StatusCode.NOT_FOUND, str(error)) from None
    except OutOfBounds as error:
        raise Refused(error.errors) from None
    except TooManyPings as error:
        raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error), wait_s=error.wait_s) from None
    except BatchTooLarge as error:
        raise Failure(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None


_ALLOWED_KINDS = {
    "RecordLocation": SENDERS | PROCESSES,
    "RecordLocations": SENDERS | PROCESSES,
    "GetLocation": READERS | PROCESSES,
    "ListLocations": READERS | PROCESSES,
    "FindConnections": READERS | PROCESSES,
    "FindEncounters": READERS | PROCESSES,
    "ListDays": READERS | PROCESSES,
    "ListPositions": READERS | PROCESSES,
    "ListHeat": READERS | PROCESSES,
    "ListVisits": READERS | PROCESSES,
}
_SERVICE = pb.DESCRIPTOR.services_by_name["LocationService"]
SERVICE = _SERVICE.full_name
METHODS = [
    Method(
        name=each.name,
        allowed_kinds=_ALLOWED_KINDS[each.name],
        request=getattr(pb, each.input_type.name),
        implementation=getattr(LocationService(), each.name),
        receives_batches=each.client_streaming,
        streams_answers=each.server_streaming and not each.client_streaming,
    )
    for each in _SERVICE.methods
]
