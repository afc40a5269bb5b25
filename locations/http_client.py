"""Locations over HTTP (`LOCATIONS_URL=http:…`): the verbs of locations.storage, asked of another process."""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import Any, TypeVar

import orjson
from django.conf import settings

from connect import http
from locations import internal_codec
from locations.pings import COLUMNS, Ping
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


def _ask(verb: str, unpack: Callable[[internal_codec.Row], Item], question: dict[str, Any]) -> Iterator[Item]:
    if not abs(question.get("person_id") or 0) <= MAX_ID:
        return  # no person has such an id, and orjson cannot encode it
    packed = orjson.dumps(internal_codec.pack(question)).decode()
    query = [("question", packed), ("ping_fields", str(len(COLUMNS)))]
    for row in http.fetch_rows(f"{settings.LOCATIONS_URL}/internal/locations/{verb}", query):
        yield unpack(row)


def is_alive(url: str) -> bool:
    return http.is_alive(url)
