"""Protobuf to the values that the apps know and back. Used at both ends of the wire."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from math import fabs
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from connect.wire_format import to_microseconds
from grpc_server import locations_pb2 as pb
from locations import pings
from locations.pings import SMALLEST_DEGREES, Ping, Refusal, Refused
from locations.proximity import Encounter

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST_S, _LATEST_S = (to_microseconds(each) // 1_000_000 for each in (pings.EARLIEST, pings.LATEST))
_FIELDS = ("person_id", "creation_time", "latitude", "longitude")
# How REST says why a ping was refused, and the gRPC status that says the same.
_CODES = {400: 3, 404: 5}
_STATUSES = {code: status for status, code in _CODES.items()}


def to_timestamp(moment: datetime) -> Timestamp:
    seconds, microseconds = divmod(to_microseconds(moment), 1_000_000)
    return Timestamp(seconds=seconds, nanos=microseconds * 1000)


def from_timestamp(timestamp: Timestamp) -> datetime:
    """To the microsecond. Raises ValueError for what is no time."""
    nanos = timestamp.nanos
    if not 0 <= nanos <= 999_999_999:
        raise ValueError("Must have 0 to 999,999,999 nanos.")
    try:
        return _EPOCH + timedelta(0, timestamp.seconds, nanos // 1000)
    except OverflowError:
        raise ValueError("Must be from the year 1 to the year 9999.") from None


# --- locations -----------------------------------------------------------------------------------


def to_location(ping: Ping) -> pb.Location:
    return pb.Location(id=ping.id, **_fields(ping))


def without_id(ping: Ping) -> pb.Location:
    """As it is handed in: the receiver knows the id anyway."""
    return pb.Location(**_fields(ping))


def _fields(ping: Ping) -> dict[str, Any]:
    seconds, microseconds = divmod(to_microseconds(ping.creation_time), 1_000_000)
    return {
        "person_id": ping.person_id,
        "creation_time": {"seconds": seconds, "nanos": microseconds * 1000},
        "latitude": ping.latitude,
        "longitude": ping.longitude,
    }


def add_locations(target: Any, pings: Iterable[Ping], *, with_ids: bool) -> None:
    """To a repeated field; twice as fast as making each for itself, because nothing is copied."""
    add = target.add
    for person_id, creation_time, latitude, longitude in pings:
        since_1970 = to_microseconds(creation_time)
        seconds, microseconds = divmod(since_1970, 1_000_000)
        moment = {"seconds": seconds, "nanos": microseconds * 1000}
        if with_ids:  # pings.make_id, which would reckon the microseconds again
            add(
                id=f"{person_id}-{since_1970}",
                person_id=person_id,
                creation_time=moment,
                latitude=latitude,
                longitude=longitude,
            )
        else:
            add(person_id=person_id, creation_time=moment, latitude=latitude, longitude=longitude)


def from_location(location: pb.Location) -> Ping:
    """One that a server sent. Raises ValueError for what is no time."""
    return Ping(
        location.person_id, from_timestamp(location.creation_time), location.latitude, location.longitude
    )


def to_ping(location: pb.Location, *, now: datetime | None = None) -> Ping:
    """One on its way in, by the rules; `now` stands in for an absent time. Raises pings.Refused."""
    if all(map(location.HasField, _FIELDS)):
        try:
            ping = from_location(location)
        except ValueError:
            pass
        else:
            if pings.is_valid(ping):
                return ping
    return _explained(location, now)


def _usual(location: pb.Location) -> Ping | None:
    """The ping of nearly every message, at half the cost; None says nothing about it.

    A field that is not 0 is present, so none is asked whether it is. A tiny coordinate goes the other way.
    """
    person_id, moment = location.person_id, location.creation_time
    latitude, longitude = location.latitude, location.longitude
    seconds, nanos = moment.seconds, moment.nanos
    if not (person_id and seconds and 0 <= nanos <= 999_999_999 and _EARLIEST_S <= seconds < _LATEST_S):
        return None
    if not (SMALLEST_DEGREES <= fabs(latitude) <= 90 and SMALLEST_DEGREES <= fabs(longitude) <= 180):
        return None
    return Ping(person_id, _EPOCH + timedelta(0, seconds, nanos // 1000), latitude, longitude)


def to_pings(locations: Iterable[pb.Location]) -> tuple[list[Ping], list[int], list[Refusal]]:
    """The good pings of a batch, the index that each had in it, and a refusal for every other."""
    good: list[Ping] = []
    indexes: list[int] = []
    refusals: list[Refusal] = []
    for index, location in enumerate(locations):
        try:
            good.append(_usual(location) or to_ping(location))
        except Refused as refused:
            refusals.append(Refusal(index, 400, refused.errors))
        else:
            indexes.append(index)
    return good, indexes, refusals


def _explained(location: pb.Location, now: datetime | None) -> Ping:
    """The way through the rule book that says what is wrong."""
    fields: dict[str, Any] = {name: getattr(location, name) for name in _FIELDS if location.HasField(name)}
    no_time: dict[str, list[str]] = {}
    if "creation_time" in fields:
        try:
            fields["creation_time"] = from_timestamp(location.creation_time)
        except ValueError as fault:
            no_time = {"creation_time": [str(fault)]}
            fields["creation_time"] = pings.EARLIEST
    try:
        ping = pings.parse(fields, now=now)
    except Refused as refused:
        raise Refused(refused.errors | no_time) from None
    if no_time:
        raise Refused(no_time)
    return ping


# --- refusals ------------------------------------------------------------------------------------


def to_refusal(refusal: Refusal) -> pb.Refusal:
    faults = [pb.Fault(field=name, reason=text) for name, texts in refusal.errors.items() for text in texts]
    return pb.Refusal(index=refusal.index, code=_CODES[refusal.status], faults=faults)


def from_refusal(refusal: pb.Refusal) -> Refusal:
    errors: dict[str, list[str]] = {}
    for fault in refusal.faults:
        errors.setdefault(fault.field, []).append(fault.reason)
    return Refusal(refusal.index, _STATUSES[refusal.code], errors)


def in_words(errors: Mapping[str, list[str]]) -> str:
    """The details of an INVALID_ARGUMENT: `latitude: Must be …; longitude: …`."""
    return "; ".join(f"{name}: {' '.join(texts)}" for name, texts in errors.items())


# --- encounters ----------------------------------------------------------------------------------


def to_encounter(met: Encounter) -> pb.Encounter:
    return pb.Encounter(
        person_id=met.person_id,
        start=to_timestamp(met.start),
        end=to_timestamp(met.end),
        duration_s=met.duration_s,
        pings=met.pings,
        min_distance_m=met.min_distance_m,
        latitude=met.latitude,
        longitude=met.longitude,
        nth=met.nth,
    )


def from_encounter(met: pb.Encounter) -> Encounter:
    return Encounter(
        met.person_id,
        from_timestamp(met.start),
        from_timestamp(met.end),
        met.pings,
        met.min_distance_m,
        met.latitude,
        met.longitude,
        met.nth,
    )
