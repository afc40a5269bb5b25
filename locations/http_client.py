"""Locations over HTTP (`LOCATIONS_URL=http:…`): the verbs of locations.storage, asked of another process."""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import orjson
from django.conf import settings

from connect import http
from locations import internal_codec
from locations.person_rows import may_exist
from locations.pings import COLUMNS, Ping
from locations.presence import Area, AreaVisits, Day, HeatCell
from locations.proximity import Encounter
from locations.storage import Bounds

Item = TypeVar("Item")


def get(person_id: int, creation_time: datetime) -> Ping | None:
    """The stored location of this person at this time."""
    question = {"person_id": person_id, "creation_time": creation_time}
    return next(_ask("get", internal_codec.unpack_ping, question), None)


def newest(person_ids: Collection[int]) -> dict[int, datetime]:
    """The time of the newest ping of each person who has one."""
    return dict(_ask("newest", internal_codec.unpack_newest, {"person_ids": list(person_ids)}))


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
    question: dict[str, Any] = {"person_id": person_id, "start": start, "end": end, "bounds": bounds}
    if newest_first:  # sent only if needed: a server of an older release does not know it
        question["newest_first"] = True
    return _ask("list_between", internal_codec.unpack_ping, question | {"after": after, "limit": limit})


def connections(
    person_id: int,
    *,
    start: datetime,
    end: datetime,
    after: tuple[datetime, int] | None = None,
    limit: int | None = None,
    **parameters: float | None,
) -> Iterator[Ping]:
    """Locations of others in [start, end) near an own one, each once, ordered by creation_time, person.

    `parameters` are those of limits.CONNECTIONS. A server of an older release refuses one that it does not
    know.
    """
    question = {"person_id": person_id, "start": start, "end": end, "after": after, "limit": limit}
    return _ask("connections", internal_codec.unpack_ping, question | parameters)


def encounters(
    person_id: int,
    *,
    start: datetime,
    end: datetime,
    plausible_only: bool = False,
    after: tuple[datetime, int, int] | None = None,
    limit: int | None = None,
    **parameters: float | None,
) -> Iterator[Encounter]:
    """A person's encounters in [start, end), ordered by start, person; `after` is (start, person, nth).

    See locations.proximity.encounters; `parameters` are those of limits.ENCOUNTERS. A server of an older
    release refuses one that it does not know.
    """
    question = {"person_id": person_id, "start": start, "end": end, "after": after, "limit": limit}
    if plausible_only:
        question["plausible_only"] = True
    return _ask("encounters", internal_codec.unpack_encounter, question | parameters)


def days(*, person_id: int | None = None, time_zone: str = "UTC") -> Iterator[Day]:
    """The days of an IANA time zone that have pings, in order."""
    return _ask("days", internal_codec.unpack_day, {"person_id": person_id, "time_zone": time_zone})


def positions(
    *, at: datetime, max_age_s: float, bounds: Bounds | None = None, person_id: int | None = None
) -> Iterator[Ping]:
    """The newest location of each person in (at - max_age_s, at], ordered by person."""
    question = {"at": at, "max_age_s": max_age_s, "bounds": bounds, "person_id": person_id}
    return _ask("positions", internal_codec.unpack_ping, question)


def heat(
    *, start: datetime, end: datetime, cell_m: float, person_id: int | None = None
) -> Iterator[HeatCell]:
    """The cells that have pings in [start, end), ordered by latitude, then longitude."""
    question = {"start": start, "end": end, "cell_m": cell_m, "person_id": person_id}
    return _ask("heat", internal_codec.unpack_heat_cell, question)


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
    question = {
        "areas": areas,
        "start": start,
        "end": end,
        "max_gap_s": max_gap_s,
        "min_duration_s": min_duration_s,
        "person_id": person_id if may_exist(person_id) else 0,
    }
    body = internal_codec.pack(question)  # the areas may be too long for a URL
    for row in http.fetch_rows(f"{settings.LOCATIONS_URL}/internal/locations/visits", [], body=body):
        yield internal_codec.unpack_area_visits(row)


def _ask(verb: str, unpack: Callable[[internal_codec.Row], Item], question: dict[str, Any]) -> Iterator[Item]:
    if not may_exist(question.get("person_id")):
        return
    packed = orjson.dumps(internal_codec.pack(question)).decode()
    query = [("question", packed), ("ping_fields", str(len(COLUMNS)))]
    for row in http.fetch_rows(f"{settings.LOCATIONS_URL}/internal/locations/{verb}", query):
        yield unpack(row)


def is_alive(url: str) -> bool:
    return http.is_alive(url)
