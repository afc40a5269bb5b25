"""`POST /api/locations` with one ping, in the event loop (connect.quick_lane)."""

from datetime import UTC, datetime

import orjson

from access.callers import Caller
from connect.quick_lane import Answer, Door, accepts_plain_json
from connect.request_body import Environ
from locations import pings, services

_JSON = {"application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"}


def _is_usual(environ: Environ) -> bool:
    return (
        not environ["QUERY_STRING"]
        and accepts_plain_json(environ)
        and environ.get("CONTENT_TYPE", "").lower() in _JSON
    )


async def _take(_environ: Environ, body: bytes, caller: Caller) -> Answer | None:
    try:
        fields = orjson.loads(body)
        ping = pings.parse_fast(fields) or pings.parse(fields, now=datetime.now(UTC))
    except (orjson.JSONDecodeError, pings.Refused):
        return None
    if not await services.submit_at_once(caller, ping):
        return None
    location = (b"location", f"/api/locations/{ping.id}".encode())
    return Answer(orjson.dumps(ping.to_wire()), [location])


DOORS = {
    "/api/locations": Door(
        methods=("POST",),
        status=202,
        is_usual=_is_usual,
        take=_take,
    )
}
