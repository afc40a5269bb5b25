"""Parses requests strictly: fields become keywords of the use cases.

Raises locations.pings.Refused with all errors of all fields. The bounds are those of the REST paths.
"""

import math
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from connect.web.query_parameters import MAX_LIMIT
from grpc_server import locations_pb2 as pb
from grpc_server.converter import from_timestamp
from locations import limits
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
        **_common_fields(fields),
        "within_s": fields.seconds("within_s", default=None, maximum=limits.MAX_WITHIN_S),
        "after": fields.nested("after", lambda key: _key(key, "creation_time", "person_id")),
    }
    return fields.checked(parameters)


def encounters(request: pb.FindEncountersRequest) -> dict[str, Any]:
    """The keywords of connections.services.encounters."""
    fields = _Fields(request)
    parameters = {
        **_common_fields(fields),
        "within_s": fields.seconds("within_s", default=limits.WITHIN_S, maximum=limits.MAX_WITHIN_S),
        "max_gap_s": fields.seconds("max_gap_s", default=limits.MAX_GAP_S, maximum=limits.LONGEST_GAP_S),
        "min_duration_s": fields.seconds("min_duration_s", default=None, maximum=None),
        "plausible_only": request.plausible_only,
        "after": fields.nested("after", lambda key: _key(key, "start", "person_id", "nth")),
    }
    return fields.checked(parameters)


def _common_fields(fields: "_Fields") -> dict[str, Any]:
    """The fields that connections and encounters share."""
    start, end = fields.range(required=True)
    if start is not None and end is not None and (error := limits.range_error(start, end)):
        fields.errors["end"] = [error]
    return {
        "person_id": fields.integer("person_id", required=True),
        "start": start,
        "end": end,
        "distance_m": fields.distance(),
        "limit": fields.limit(),
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

    def distance(self) -> float:
        def read(distance_m: float) -> float:
            if not 0 < distance_m <= limits.MAX_DISTANCE_M:
                raise ValueError(f"Must be more than 0 and at most {limits.MAX_DISTANCE_M}.")
            return distance_m

        value = self.read("distance_m", read, required=False)
        return limits.DISTANCE_M if value is None else value

    def seconds(self, name: str, *, default: float | None, maximum: float | None) -> float | None:
        """From 0 to `maximum`; without a maximum, any finite number from 0."""

        def read(seconds: float) -> float:
            if maximum is not None and not 0 <= seconds <= maximum:
                raise ValueError(f"Must be from 0 to {maximum}.")
            if not (math.isfinite(seconds) and seconds >= 0):
                raise ValueError("Must be a finite number, at least 0.")
            return min(seconds, limits.MAX_DURATION_S)

        value = self.read(name, read, required=False)
        return default if value is None else value
