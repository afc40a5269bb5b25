"""Locations over HTTP (`LOCATIONS_URL=http:…`): the verbs of locations.storage, asked of another process."""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import Any, TypeVar

import orjson
from django.conf import settings

from connect import http
from locations import internal_codec
from locations.pings import Ping
from locations.proximity import Encounter
from locations.storage import MAX_ID, Bounds

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
    distance_m: float,
    within_s: float | None = None,
    after: tuple[datetime, int] | None = None,
    limit: int | None = None,
) -> Iterator[Ping]:
    """Locations of others in [start, end) near an own one, each once, ordered by creation_time, person."""
    question = {"person_id": person_id, "start": start, "end": end, "distance_m": distance_m}
    question |= {"within_s": within_s, "after": after, "limit": limit}
    return _ask("connections", internal_codec.unpack_ping, question)


def encounters(
    person_id: int,
    *,
    start: datetime,
    end: datetime,
    distance_m: float,
    within_s: float,
    max_gap_s: float,
    min_duration_s: float = 0,
    plausible_only: bool = False,
    after: tuple[datetime, int, int] | None = None,
    limit: int | None = None,
) -> Iterator[Encounter]:
    """A person's encounters in [start, end), ordered by start, person; `after` is (start, person, nth).

    See locations.proximity.encounters.
    """
    question = {"person_id": person_id, "start": start, "end": end, "distance_m": distance_m}
    question |= {"within_s": within_s, "max_gap_s": max_gap_s, "min_duration_s": min_duration_s}
    if plausible_only:  # sent only if needed: a server of an older release does not know it and refuses it
        question["plausible_only"] = True
    return _ask("encounters", internal_codec.unpack_encounter, question | {"after": after, "limit": limit})


def _ask(verb: str, unpack: Callable[[internal_codec.Row], Item], question: dict[str, Any]) -> Iterator[Item]:
    if not abs(question.get("person_id") or 0) <= MAX_ID:
        return  # no person has such an id, and orjson cannot encode it
    packed = orjson.dumps(internal_codec.pack(question)).decode()
    for row in http.fetch_rows(f"{settings.LOCATIONS_URL}/internal/locations/{verb}", [("question", packed)]):
        yield unpack(row)


def is_alive(url: str) -> bool:
    return http.is_alive(url)
