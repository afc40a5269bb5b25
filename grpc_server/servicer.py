"""The gRPC door to locations. Like every door it ends in the seam: pings in, what is stored out."""

from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any, TypeVar

import grpc

from connect import neighbours
from connect.database import BLOCK
from grpc_server import locations_pb2 as pb
from grpc_server import messages, questions
from grpc_server.calls import Failure
from grpc_server.locations_pb2_grpc import LocationServiceServicer
from locations.pings import MAX_BATCH, Refused, parse_id

Row = TypeVar("Row")
Rows = Generator[Row, None, None]


class LocationService(LocationServiceServicer):
    """What grpc_server.calls does for every call is not repeated here: errors, deadlines, connections."""

    def RecordLocation(self, request: pb.Location, context: Any) -> pb.Location:
        ping = messages.to_ping(request, now=datetime.now(UTC))
        for refusal in neighbours.pings().submit([ping]).refused:
            raise Failure(grpc.StatusCode.NOT_FOUND, refusal.errors["person_id"][0])
        return messages.to_location(ping)

    def RecordLocations(
        self, requests: Iterator[pb.RecordLocationsRequest], context: Any
    ) -> Rows[pb.RecordLocationsResponse]:
        for request in requests:
            yield _record(request)

    def GetLocation(self, request: pb.GetLocationRequest, context: Any) -> pb.Location:
        identity = parse_id(request.id)
        location = neighbours.locations().get(*identity) if identity else None
        if location is None:
            raise Failure(grpc.StatusCode.NOT_FOUND, f"There is no location {request.id[:100]}.")
        return messages.to_location(location)

    def ListLocations(self, request: pb.ListLocationsRequest, context: Any) -> Rows[pb.ListLocationsResponse]:
        with closing(neighbours.locations().list_between(**questions.locations(request))) as rows:
            while batch := list(islice(rows, BLOCK)):
                response = pb.ListLocationsResponse()
                messages.add_locations(response.locations, batch, with_ids=True)
                yield response

    def FindConnections(
        self, request: pb.FindConnectionsRequest, context: Any
    ) -> Rows[pb.FindConnectionsResponse]:
        question = questions.connections(request)
        with closing(neighbours.locations().connections(**question)) as found:
            rows = _of_somebody(question["person_id"], found)
            while batch := list(islice(rows, BLOCK)):
                response = pb.FindConnectionsResponse()
                messages.add_locations(response.locations, batch, with_ids=True)
                yield response

    def FindEncounters(
        self, request: pb.FindEncountersRequest, context: Any
    ) -> Rows[pb.FindEncountersResponse]:
        question = questions.encounters(request)
        with closing(neighbours.locations().encounters(**question)) as found:
            rows = _of_somebody(question["person_id"], found)
            while batch := list(islice(rows, BLOCK)):
                yield pb.FindEncountersResponse(encounters=map(messages.to_encounter, batch))


def _record(request: pb.RecordLocationsRequest) -> pb.RecordLocationsResponse:
    count = len(request.locations)
    if not count:
        raise Refused({"locations": [f"Must be 1 to {MAX_BATCH}."]})
    if count > MAX_BATCH:
        text = f"locations: The batch has {count}; {MAX_BATCH} are allowed."
        raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
    good, indexes, refusals = messages.to_pings(request.locations)
    receipt = neighbours.pings().submit(good)
    refused = {refusal.index: refusal for refusal in refusals}
    for late in receipt.refused:
        index = indexes[late.index]
        refused[index] = type(late)(index, late.status, late.errors)
    return pb.RecordLocationsResponse(
        accepted=count - len(refused),
        refused=[messages.to_refusal(refused[index]) for index in sorted(refused)],
        stored=receipt.stored,
    )


def _of_somebody(person_id: int, rows: Iterator[Row]) -> Iterator[Row]:
    """The rows; where there are none, whether there is such a person at all is asked."""
    for first in rows:
        return chain([first], rows)
    if not neighbours.persons().get_many([person_id]):
        raise Failure(grpc.StatusCode.NOT_FOUND, f"There is no person {person_id}.")
    return iter([])
