"""`GET /api/persons` with ids and nothing else, in the event loop (connect.quick_lane).

Concurrent calls share one query. Only with ACCESS=open: a call of staff is first written to the audit log,
which takes a thread.
"""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import orjson
from django.db import close_old_connections

from access.callers import Caller, Kind
from connect import stale_cache
from connect.coalescing import AsyncCoalescer
from connect.errors import NeighbourUnavailable
from connect.quick_lane import Answer, Door, accepts_plain_json
from connect.request_body import Environ
from persons import services

MAX_IDS = 20
_IDS = re.compile(rf"id=[0-9]{{1,18}}(&id=[0-9]{{1,18}}){{0,{MAX_IDS - 1}}}", re.ASCII)


def _is_usual(environ: Environ) -> bool:
    return accepts_plain_json(environ) and _IDS.fullmatch(environ["QUERY_STRING"]) is not None


def _find(ids: AbstractSet[int]) -> Mapping[int, services.Person]:
    close_old_connections()  # as Django does for each request
    return stale_cache.fetch(lambda: services.findable(ids))


_people = AsyncCoalescer(_find)


async def _take(environ: Environ, _body: bytes, caller: Caller) -> Answer | None:
    if caller.kind is not Kind.OPEN:
        return None
    ids = {int(each.removeprefix("id=")) for each in environ["QUERY_STRING"].split("&")}
    try:
        found = await _people(ids)
    except NeighbourUnavailable:
        return None
    return Answer(orjson.dumps([found[each].to_wire() for each in sorted(ids) if each in found]))


DOORS = {
    "/api/persons": Door(
        methods=("GET",),
        status=200,
        is_usual=_is_usual,
        take=_take,
    )
}
