"""What gunicorn serves."""

import io
import math
import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

from connect import carried
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


class Measured:
    """Gives a chunked body on /api the length that Django needs; one over the limit stays over it."""

    def __init__(self, app: Callable[..., Iterable[bytes]], limit: int):
        self.app = app
        self.limit = limit

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        chunked = environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
        if chunked and environ.get("PATH_INFO", "").startswith("/api"):
            source = environ["wsgi.input"]
            body = source.read(self.limit + 1)
            if len(body) > self.limit:
                left = DRAINED
                while left > 0 and (chunk := source.read(65536)):
                    left -= len(chunk)
            environ["wsgi.input"] = io.BytesIO(body)
            environ["CONTENT_LENGTH"] = str(len(body))
        return self.app(environ, start_response)


def _application() -> Carried:
    django = get_wsgi_application()
    from django.conf import settings  # noqa: PLC0415 - only now is it configured
    from django.urls import get_resolver  # noqa: PLC0415

    get_resolver().url_patterns  # noqa: B018 - loaded now, so that what is wrong stops the process at start
    return Carried(Measured(django, settings.BODY_LIMIT), settings.REQUEST_TIMEOUT_S)


application = _application()
