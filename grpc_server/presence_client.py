"""The verbs of locations.presence over gRPC: a part of grpc_server.client."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from grpc_server import converter, transport
from grpc_server import locations_pb2 as pb
from grpc_server.converter import to_timestamp
from locations.person_rows import may_exist
from locations.pings import Ping
from locations.presence import Area, AreaVisits, Day, HeatCell
from locations.storage import Bounds


def days(*, person_id: int | None = None, time_zone: str = "UTC") -> Iterator[Day]:
    """The days of an IANA time zone that have pings, in order."""
    if not may_exist(person_id):
        return
    for batch in transport.batches("ListDays", pb.ListDaysRequest(person_id=person_id, time_zone=time_zone)):
        yield from map(converter.from_day, batch.days)


def positions(
    *, at: datetime, max_age_s: float, bounds: Bounds | None = None, person_id: int | None = None
) -> Iterator[Ping]:
    """The newest location of each person in (at - max_age_s, at], ordered by person."""
    if not may_exist(person_id):
        return
    request = pb.ListPositionsRequest(
        at=to_timestamp(at), max_age_s=max_age_s, bounds=converter.to_bounds(bounds), person_id=person_id
    )
    for batch in transport.batches("ListPositions", request):
        yield from map(converter.from_location, batch.locations)


def heat(
    *, start: datetime, end: datetime, cell_m: float, person_id: int | None = None
) -> Iterator[HeatCell]:
    """The cells that have pings in [start, end), ordered by latitude, then longitude."""
    if not may_exist(person_id):
        return
    request = pb.ListHeatRequest(
        start=to_timestamp(start), end=to_timestamp(end), cell_m=cell_m, person_id=person_id
    )
    for batch in transport.batches("ListHeat", request):
        yield from map(converter.from_heat_cell, batch.cells)


def visits(
    *,
    areas: Sequence[Area],
    start: datetime,
    end: datetime,
    max_gap_s: float,
    min_duration_s: float,
    person_id: int | None = None,
) -> Iterator[AreaVisits]:
    """The visits of each area in [start, end), ordered by the id of the area."""
    if not areas:
        return
    request = pb.ListVisitsRequest(
        areas=[pb.Area(id=area_id, polygon=polygon) for area_id, polygon in areas],
        start=to_timestamp(start),
        end=to_timestamp(end),
        max_gap_s=max_gap_s,
        min_duration_s=min_duration_s,
        person_id=person_id if may_exist(person_id) else 0,
    )
    for batch in transport.batches("ListVisits", request):
        yield from map(converter.from_area_visits, batch.areas)
