"""Questions and rows between processes, to the last bit: times in microseconds, doubles as they are."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from connect.wire_format import from_microseconds, to_microseconds
from locations.pings import Ping
from locations.proximity import Encounter
from locations.storage import Bounds

Row = list[Any]


def pack(question: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a verb as plain JSON; what is None is left out."""
    packed = {name: _plain(value) for name, value in question.items() if value is not None}
    if isinstance(question.get("bounds"), Bounds):
        packed["bounds"] = asdict(question["bounds"])
    return packed


def unpack(packed: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments again. Raises ValueError, TypeError or OverflowError for what pack never made."""
    question = dict(packed)
    for name in ("start", "end", "creation_time"):
        if name in question:
            question[name] = from_microseconds(question[name])
    if "after" in question:
        first, *others = question["after"]
        question["after"] = (from_microseconds(first), *others)
    if "bounds" in question:
        question["bounds"] = Bounds(**question["bounds"])
    return question


def pack_ping(ping: Ping) -> Row:
    return [ping.person_id, to_microseconds(ping.creation_time), ping.latitude, ping.longitude]


def unpack_ping(row: Row) -> Ping:
    person_id, microseconds, latitude, longitude = row
    return Ping(person_id, from_microseconds(microseconds), latitude, longitude)


def pack_newest(of_person: tuple[int, datetime]) -> Row:
    return [of_person[0], to_microseconds(of_person[1])]


def unpack_newest(row: Row) -> tuple[int, datetime]:
    return row[0], from_microseconds(row[1])


def pack_encounter(met: Encounter) -> Row:
    where = [met.min_distance_m, met.latitude, met.longitude]
    return [met.person_id, to_microseconds(met.start), to_microseconds(met.end), met.pings, *where, met.nth]


def unpack_encounter(row: Row) -> Encounter:
    person_id, start, end, *others = row
    return Encounter(person_id, from_microseconds(start), from_microseconds(end), *others)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_microseconds(value)
    if isinstance(value, list | tuple | set):
        return [_plain(each) for each in value]
    return value
