"""The doors of phone apps for one good position, in the event loop (connect.quick_lane)."""

from collections.abc import Awaitable, Callable

import orjson

from access.callers import Caller
from connect.middleware import LONGEST_ACCEPT
from connect.quick_lane import Answer, Door
from connect.request_body import Environ
from locations import services
from phones import credentials
from phones.reading import NoPerson
from phones.services import APPS, App


def _is_usual(environ: Environ) -> bool:
    """The doors ignore Accept and Content-Type, unless they are refused everywhere (connect.middleware)."""
    accept = environ.get("HTTP_ACCEPT", "")
    return len(accept) <= LONGEST_ACCEPT and "=" not in accept and ";" not in environ.get("CONTENT_TYPE", "")


def _taker(app: App) -> Callable[[Environ, bytes, Caller], Awaitable[Answer | None]]:
    answer = Answer(orjson.dumps(app.answer))

    async def take(environ: Environ, body: bytes, caller: Caller) -> Answer | None:
        try:
            reading = app.read(credentials.phone_request(environ, body), caller)
        except NoPerson:
            return None
        if reading.refused or len(reading.pings) != 1:
            return None
        return answer if await services.submit_at_once(caller, reading.pings[0]) else None

    return take


DOORS = {
    f"{credentials.PATHS}{app.name}": Door(
        methods=("GET", "POST") if app.name == "osmand" else ("POST",),
        status=200,
        is_usual=_is_usual,
        authorization=credentials.authorization,
        take=_taker(app),
    )
    for app in APPS.values()
}
