"""Parses requests strictly: fields become keywords of the use cases.

Raises locations.pings.Refused with all errors of all fields. The bounds are those of the REST paths.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from connect.web.query_parameters import MAX_LIMIT
from grpc_server import locations_pb2 as pb
from grpc_server.converter import from_timestamp
from locations import limits
from locations.areas import polygons_error
from locations.pings import REQUIRED, Refused, parse_degrees
from locations.storage import Bounds

T = TypeVar("T")


def locations(request: pb.ListLocationsRequest) -> dict[str, Any]:
    """The keywords of locations.services.list_between."""
    fields = _Fields(request)
    start, end = fields.range(required=False)
    parameters = {
        "person_id": fields.integer("person_id"),
        "start": start,
        "end": end,
        "bounds": fields.nested("bounds", _bounds),
        "after": fields.nested("after", lambda key: _key(key, "creation_time", "person_id")),
        "limit": fields.limit(),
        "newest_first": fields.newest_first(),
    }
    ranged = request.HasField("start") and request.HasField("end")
    if not (request.HasField("person_id") or request.HasField("limit") or ranged):
        fields.errors["person_id"] = ["One of person_id, start with end, or limit is required."]
    return fields.checked(parameters)


def connections(request: pb.FindConnectionsRequest) -> dict[str, Any]:
    """The keywords of connections.services.connections."""
    fields = _Fields(request)
    parameters = {
        **_common_fields(fields, limits.CONNECTIONS),
        "after": fields.nested("after", lambda key: _key(key, "creation_time", "person_id")),
    }
    return fields.checked(parameters)


def encounters(request: pb.FindEncountersRequest) -> dict[str, Any]:
    """The keywords of connections.services.encounters."""
    fields = _Fields(request)
    parameters = {
        **_common_fields(fields, limits.ENCOUNTERS),
        "plausible_only": request.plausible_only,
        "after": fields.nested("after", lambda key: _key(key, "start", "person_id", "nth")),
    }
    return fields.checked(parameters)


def days(request: pb.ListDaysRequest) -> dict[str, Any]:
    """The keywords of locations.services.days."""
    fields = _Fields(request)
    time_zone = fields.read("time_zone", str, required=False)
    parameters = {"person_id": fields.integer("person_id"), "time_zone": time_zone or "UTC"}
    return fields.checked(parameters)


def positions(request: pb.ListPositionsRequest) -> dict[str, Any]:
    """The keywords of locations.services.positions."""
    fields = _Fields(request)
    parameters = {
        "person_id": fields.integer("person_id"),
        "at": fields.read("at", from_timestamp),
        "bounds": fields.nested("bounds", _bounds),
        **fields.numbers(limits.POSITIONS),
    }
    return fields.checked(parameters)


def heat(request: pb.ListHeatRequest) -> dict[str, Any]:
    """The keywords of locations.services.heat."""
    fields = _Fields(request)
    start, end = fields.range(required=True)
    parameters = {
        "person_id": fields.integer("person_id"),
        "start": start,
        "end": end,
        **fields.numbers(limits.HEAT),
    }
    return fields.checked(parameters)


def visits(request: pb.ListVisitsRequest) -> dict[str, Any]:
    """The keywords of locations.services.visits."""
    fields = _Fields(request)
    areas = [(area.id, area.polygon) for area in request.areas]
    if not 1 <= len(areas) <= limits.MAX_AREAS:
        fields.errors["areas"] = [f"Must be 1 to {limits.MAX_AREAS:,}."]
    elif len({area_id for area_id, _ in areas}) < len(areas):
        fields.errors["areas"] = ["Must have distinct ids."]
    elif error := polygons_error(polygon for _, polygon in areas):
        fields.errors["areas"] = [error]
    start, end = fields.range(required=True)
    parameters = {
        "person_id": fields.integer("person_id"),
        "areas": areas,
        "start": start,
        "end": end,
        **fields.numbers(limits.VISITS),
    }
    return fields.checked(parameters)


def _common_fields(fields: "_Fields", numbers: Iterable[limits.Parameter]) -> dict[str, Any]:
    """The fields that connections and encounters share, and the parameters of either."""
    start, end = fields.range(required=True)
    if start is not None and end is not None and (error := limits.range_error(start, end)):
        fields.errors["end"] = [error]
    return {
        "person_id": fields.integer("person_id", required=True),
        "start": start,
        "end": end,
        "limit": fields.limit(),
        **fields.numbers(numbers),
    }


def _bounds(box: pb.Bounds) -> Bounds:
    fields = _Fields(box)
    sides = {}
    for side, limit in (("west", 180), ("south", 90), ("east", 180), ("north", 90)):
        sides[side] = fields.read(side, partial(parse_degrees, limit=limit))
    return Bounds(**fields.checked(sides))


def _key(key: pb.LocationKey | pb.EncounterKey, moment: str, *numbers: str) -> tuple[Any, ...]:
    fields = _Fields(key)
    values: dict[str, Any] = {moment: fields.read(moment, from_timestamp)}
    values |= {name: fields.integer(name, required=True) for name in numbers}
    return tuple(fields.checked(values).values())


class _Fields:
    """Reads the fields of a message and collects errors. A bad field reads as None; `checked` raises."""

    def __init__(self, message: Any):
        self._message = message
        self.errors: dict[str, list[str]] = {}

    def checked(self, parameters: dict[str, Any]) -> dict[str, Any]:
        if self.errors:
            raise Refused(self.errors)
        return parameters

    def read(self, name: str, reader: Callable[[Any], T], *, required: bool = True) -> T | None:
        if not self._message.HasField(name):
            if required:
                self.errors[name] = [REQUIRED]
            return None
        try:
            return reader(getattr(self._message, name))
        except Refused:
            raise
        except ValueError as error:
            self.errors[name] = [str(error)]
            return None

    def numbers(self, parameters: Iterable[limits.Parameter]) -> dict[str, float | None]:
        return {each.name: self.read(each.name, each.parse, required=False) for each in parameters}

    def integer(self, name: str, *, required: bool = False) -> int | None:
        return self.read(name, int, required=required)

    def nested(self, name: str, reader: Callable[[Any], T]) -> T | None:
        """Reads a nested message; its errors are named `bounds.west`."""
        try:
            return self.read(name, reader, required=False)
        except Refused as refused:
            self.errors |= {f"{name}.{field}": texts for field, texts in refused.errors.items()}
            return None

    def range(self, *, required: bool) -> tuple[datetime | None, datetime | None]:
        start = self.read("start", from_timestamp, required=required)
        end = self.read("end", from_timestamp, required=required)
        if start is not None and end is not None and start > end:
            self.errors["start"] = ["Must not be after end."]
        return start, end

    def limit(self) -> int | None:
        def read(limit: int) -> int:
            if not 1 <= limit <= MAX_LIMIT:
                raise ValueError(f"Must be from 1 to {MAX_LIMIT}.")
            return limit + self._message.look_ahead

        return self.read("limit", read, required=False)

    def newest_first(self) -> bool:
        order = self._message.order
        if order not in pb.ListLocationsRequest.Order.values():
            self.errors["order"] = [f"Must be one of {', '.join(pb.ListLocationsRequest.Order.keys())}."]
        return order == pb.ListLocationsRequest.NEWEST
