"""Lossless JSON of questions and rows between processes: times in microseconds, doubles unrounded."""

from collections.abc import Mapping
from dataclasses import asdict, astuple
from datetime import date, datetime
from typing import Any

from connect.wire_format import from_microseconds, to_microseconds
from locations.pings import COLUMNS, Ping
from locations.presence import AreaVisits, Day, HeatCell
from locations.proximity import Encounter
from locations.storage import Bounds

FIRST_FIELDS = 4  # fields of a ping that a client of the first release, which does not say so, knows

Row = list[Any]


def pack(question: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a verb as plain JSON, without those that are None."""
    packed = {name: _plain(value) for name, value in question.items() if value is not None}
    if isinstance(question.get("bounds"), Bounds):
        packed["bounds"] = asdict(question["bounds"])
    return packed


def unpack(packed: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of pack. Raises ValueError, TypeError or OverflowError for invalid input."""
    question = dict(packed)
    for name in ("start", "end", "creation_time", "at"):
        if name in question:
            question[name] = from_microseconds(question[name])
    if "after" in question:
        first, *others = question["after"]
        question["after"] = (from_microseconds(first), *others)
    if "bounds" in question:
        question["bounds"] = Bounds(**question["bounds"])
    if "areas" in question:
        question["areas"] = [(area_id, bytes.fromhex(polygon)) for area_id, polygon in question["areas"]]
    return question


def pack_ping(ping: Ping, fields: int = len(COLUMNS)) -> Row:
    """The first `fields` fields: what the other process knows. A later release has more, at the end."""
    row: Row = [*ping[:fields]]
    row[1] = to_microseconds(ping.creation_time)
    return row


def unpack_ping(row: Row) -> Ping:
    """Fields that the other process does not know yet are None."""
    person_id, microseconds, *others = row
    return Ping(person_id, from_microseconds(microseconds), *others)


def pack_newest(item: tuple[int, datetime]) -> Row:
    person_id, moment = item
    return [person_id, to_microseconds(moment)]


def unpack_newest(row: Row) -> tuple[int, datetime]:
    return row[0], from_microseconds(row[1])


def pack_encounter(encounter: Encounter) -> Row:
    return [
        encounter.person_id,
        to_microseconds(encounter.start),
        to_microseconds(encounter.end),
        encounter.pings,
        encounter.min_distance_m,
        encounter.latitude,
        encounter.longitude,
        encounter.nth,
    ]


def unpack_encounter(row: Row) -> Encounter:
    person_id, start, end, *others = row
    return Encounter(person_id, from_microseconds(start), from_microseconds(end), *others)


def pack_day(day: Day) -> Row:
    return [day.day.isoformat(), to_microseconds(day.first), to_microseconds(day.last)]


def unpack_day(row: Row) -> Day:
    return Day(date.fromisoformat(row[0]), *map(from_microseconds, row[1:]))


def pack_heat_cell(cell: HeatCell) -> Row:
    return [*astuple(cell)]


def unpack_heat_cell(row: Row) -> HeatCell:
    return HeatCell(*row)


def pack_area_visits(visits: AreaVisits) -> Row:
    return [*astuple(visits)]


def unpack_area_visits(row: Row) -> AreaVisits:
    return AreaVisits(*row)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_microseconds(value)
    if isinstance(value, list | tuple | set):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return value.hex()
    return value
