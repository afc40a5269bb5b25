"""What gunicorn serves."""

import gc
import io
import math
import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

from connect import arrival, carried
from connect.arrival import Arrival, Late
from connect.middleware import DRAINED

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connect.settings")

_SECONDS = re.compile(r"[0-9]{1,5}(\.[0-9]{1,6})?")


class Carried:
    """Tells all that works for a request its id, and how long it may take until its answer begins.

    A process that asks another says how long it waits itself. The thread is the request's until its answer
    has been read, which takes as long as the reader takes.
    """

    def __init__(self, app: Callable[..., Iterable[bytes]], timeout_s: float):
        self.app = app
        self.timeout_s = timeout_s

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request_id = environ.get(_variable(carried.REQUEST_ID))
        told = environ.get(_variable(carried.TIMEOUT_S), "")
        carried.begin(request_id, min(self.timeout_s, float(told) if _SECONDS.fullmatch(told) else math.inf))
        try:
            return self.app(environ, start_response)
        finally:
            carried.begin(request_id, None)


def _variable(header: str) -> str:
    return f"HTTP_{header.upper().replace('-', '_')}"


class Whole:
    """Reads a body on /api before anything else is done: whole, in time, and no further than the limit.

    A chunked one gets the length that Django needs; one over the limit stays over it.
    """

    def __init__(self, app: Callable[..., Iterable[bytes]], *, limit: int, within_s: float):
        self.app = app
        self.limit = limit
        self.arrival = Arrival(within_s)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        chunked = environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if environ.get("PATH_INFO", "").startswith("/api") and (chunked or 0 < length <= self.limit):
            try:
                with self.arrival.awaited(environ["gunicorn.socket"]):
                    body = self._read(environ["wsgi.input"], None if chunked else length)
            except Late:
                headers = [("Content-Type", "application/json"), ("Connection", "close")]
                start_response("408 Request Timeout", headers)
                return [b'{"detail":"The request did not arrive in time."}']
            environ["wsgi.input"] = io.BytesIO(body)
            environ["CONTENT_LENGTH"] = str(len(body))
        return self.app(environ, start_response)

    def _read(self, source: Any, length: int | None) -> bytes:
        body = bytes(source.read(self.limit + 1 if length is None else length))
        if len(body) > self.limit:
            left = DRAINED
            while left > 0 and (chunk := source.read(65536)):
                left -= len(chunk)
        return body


def _application() -> Carried:
    django = get_wsgi_application()
    from django.conf import settings  # noqa: PLC0415 - only now is it configured
    from django.urls import get_resolver  # noqa: PLC0415

    get_resolver().url_patterns  # noqa: B018 - loaded now, so that what is wrong stops the process at start
    whole = Whole(django, limit=settings.BODY_LIMIT, within_s=arrival.BODY_S)
    return Carried(whole, settings.REQUEST_TIMEOUT_S)


application = _application()
gc.freeze()  # what is loaded stays: looking through it again and again took a third of a long answer's time
