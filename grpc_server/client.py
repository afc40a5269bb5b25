"""Implements LOCATIONS_URL and PINGS_URL=grpc://: the verbs of locations.storage, over gRPC.

All calls are retried a few times within their deadline, then raise NeighbourUnavailable. Retries are safe: a
query is retried only before its first row, and a repeated ping is stored once.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from operator import attrgetter
from typing import Any, TypeVar

import grpc
from django.conf import settings
from google.protobuf.timestamp_pb2 import Timestamp

from connect.errors import NeighbourUnavailable
from connect.web.query_parameters import MAX_LIMIT
from grpc_server import converter, transport
from grpc_server import locations_pb2 as pb
from grpc_server.presence_client import days, heat, positions, visits
from grpc_server.transport import is_alive
from locations.person_rows import may_exist
from locations.pings import EARLIEST, LATEST, MAX_BATCH, Ping, Refusal, make_id, unknown_person
from locations.proximity import Encounter
from locations.storage import MAX_ID, Bounds, Receipt

__all__ = [
    "connections",
    "days",
    "encounters",
    "get",
    "heat",
    "is_alive",
    "list_between",
    "positions",
    "submit",
    "visits",
]

Row = TypeVar("Row")
Key = TypeVar("Key")

_CONFIRMED = {"plausible_only", "max_accuracy_m"}  # a response repeats the applied ones


# --- pings ---------------------------------------------------------------------------------------


def submit(pings: Sequence[Ping]) -> Receipt:
    """Sends pings; the server stores each batch in one transaction. Idempotent."""
    stored: int | None = 0
    refused = []
    for first in range(0, len(pings), MAX_BATCH):
        batch = pings[first : first + MAX_BATCH]
        sendable = [index for index, ping in enumerate(batch) if abs(ping.person_id) <= MAX_ID]
        refusals = [
            unknown_person(first + n, batch[n].person_id) for n in set(range(len(batch))) - set(sendable)
        ]
        if sendable:
            answer = _record([batch[index] for index in sendable])
            stored = stored + answer.stored if stored is not None and answer.HasField("stored") else None
            refusals += [
                Refusal(first + sendable[refusal.index], refusal.status, refusal.errors)
                for refusal in map(converter.from_refusal, answer.refused)
            ]
        refused += sorted(refusals, key=attrgetter("index"))
    return Receipt(stored, refused)


def _record(pings: Sequence[Ping]) -> pb.RecordLocationsResponse:
    request = pb.RecordLocationsRequest()
    converter.add_locations(request.locations, pings, with_ids=False)
    try:
        return transport.client(settings.PINGS_URL).record(
            request, **transport.call_options(settings.GRPC_TIMEOUT_S)
        )
    except grpc.RpcError as error:
        raise transport.translated(error) from error


# --- locations -----------------------------------------------------------------------------------


def get(person_id: int, creation_time: datetime) -> Ping | None:
    """The stored location of this person and time."""
    request = pb.GetLocationRequest(id=make_id(person_id, creation_time))
    try:
        client = transport.client(settings.LOCATIONS_URL)
        found = client.ask.GetLocation(request, **transport.call_options(settings.GRPC_TIMEOUT_S))
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return None
        raise transport.translated(error) from error
    return converter.from_location(found)


def list_between(
    *,
    person_id: int | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    bounds: Bounds | None = None,
    after: tuple[datetime, int] | None = None,
    limit: int | None = None,
    newest_first: bool = False,
) -> Iterator[Ping]:
    """Locations in [start, end), ordered by creation_time, then person, as they arrive."""
    if not may_exist(person_id):
        return iter([])
    if person_id is None and limit is None:
        start, end = start or EARLIEST, end or LATEST  # the server requires a filter
    box = pb.Bounds(**asdict(bounds)) if bounds else None

    def page(after: tuple[datetime, int] | None, limit: int | None) -> Iterator[Ping]:
        request = pb.ListLocationsRequest(
            person_id=person_id,
            start=_moment(start),
            end=_moment(end),
            bounds=box,
            after=_location_key(after),
            order=pb.ListLocationsRequest.NEWEST if newest_first else pb.ListLocationsRequest.OLDEST,
            **_limit_fields(limit),
        )
        for batch in transport.batches("ListLocations", request):
            yield from map(converter.from_location, batch.locations)

    return _pages(page, _location_place, after=after, limit=limit)


def connections(
    person_id: int,
    *,
    start: datetime,
    end: datetime,
    after: tuple[datetime, int] | None = None,
    limit: int | None = None,
    **parameters: Any,
) -> Iterator[Ping]:
    """Others' locations in [start, end) near an own one, each once, ordered by creation_time, person.

    `parameters` are those of limits.CONNECTIONS. Raises NeighbourUnavailable if an older server ignored
    `max_accuracy_m`.
    """
    if not may_exist(person_id):
        return iter([])

    def page(after: tuple[datetime, int] | None, limit: int | None) -> Iterator[Ping]:
        request = pb.FindConnectionsRequest(
            person_id=person_id,
            start=_moment(start),
            end=_moment(end),
            after=_location_key(after),
            **_limit_fields(limit),
            **parameters,
        )
        for batch in transport.batches("FindConnections", request):
            _check_applied(request, batch)
            yield from map(converter.from_location, batch.locations)

    return _pages(page, _location_place, after=after, limit=limit)


def encounters(
    person_id: int,
    *,
    start: datetime,
    end: datetime,
    plausible_only: bool = False,
    after: tuple[datetime, int, int] | None = None,
    limit: int | None = None,
    **parameters: Any,
) -> Iterator[Encounter]:
    """A person's encounters in [start, end), ordered by start, person; `after` is (start, person, nth).

    See locations.proximity.encounters; `parameters` are those of limits.ENCOUNTERS. Raises
    NeighbourUnavailable if an older server ignored `plausible_only` or `max_accuracy_m`.
    """
    if not may_exist(person_id):
        return iter([])

    def page(after: tuple[datetime, int, int] | None, limit: int | None) -> Iterator[Encounter]:
        request = pb.FindEncountersRequest(
            person_id=person_id,
            start=_moment(start),
            end=_moment(end),
            plausible_only=plausible_only or None,
            after=_encounter_key(after),
            **_limit_fields(limit),
            **parameters,
        )
        for batch in transport.batches("FindEncounters", request):
            _check_applied(request, batch)
            yield from map(converter.from_encounter, batch.encounters)

    return _pages(
        page,
        lambda encounter: (encounter.start, encounter.person_id, encounter.nth),
        after=after,
        limit=limit,
    )


def _check_applied(request: Any, batch: Any) -> None:
    """Raises NeighbourUnavailable if the server did not apply a field that an older release does not know.

    An answer without a batch needs no check: with the field it would be empty, too.
    """
    for name in _CONFIRMED & {field.name for field, _ in request.ListFields()}:
        if not getattr(batch, name):
            raise NeighbourUnavailable(f"The gRPC server is of an older release: it ignores {name}.")


def _moment(moment: datetime | None) -> Timestamp | None:
    return None if moment is None else converter.to_timestamp(moment)


def _location_key(key: tuple[datetime, int] | None) -> pb.LocationKey | None:
    return pb.LocationKey(creation_time=_moment(key[0]), person_id=key[1]) if key else None


def _encounter_key(key: tuple[datetime, int, int] | None) -> pb.EncounterKey | None:
    return pb.EncounterKey(start=_moment(key[0]), person_id=key[1], nth=key[2]) if key else None


def _location_place(ping: Ping) -> tuple[datetime, int]:
    return ping.creation_time, ping.person_id


def _pages(
    page: Callable[[Key | None, int | None], Iterator[Row]],
    key: Callable[[Row], Key],
    *,
    after: Key | None,
    limit: int | None,
) -> Iterator[Row]:
    """The rows of one call, or of several if `limit` exceeds a page and the row after it."""
    while limit is None or limit > 0:
        size = None if limit is None else min(limit, MAX_LIMIT + 1)
        count = 0
        for row in page(after, size):
            yield row
            count += 1
        # An older server does not look ahead: more rows may follow a full page.
        if limit is None or count < MAX_LIMIT:
            return
        limit -= count
        after = key(row)


def _limit_fields(limit: int | None) -> dict[str, Any]:
    """The limit fields of a request: at most one page and the row after it."""
    if limit is None or limit <= MAX_LIMIT:
        return {"limit": limit}
    return {"limit": MAX_LIMIT, "look_ahead": True}
