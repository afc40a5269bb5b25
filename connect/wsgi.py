"""What gunicorn serves."""

import io
import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

from connect.middleware import DRAINED

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connect.settings")


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


def _application() -> Measured:
    django = get_wsgi_application()
    from django.conf import settings  # noqa: PLC0415 - only now is it configured
    from django.urls import get_resolver  # noqa: PLC0415

    get_resolver().url_patterns  # noqa: B018 - loaded now, so that what is wrong stops the process at start
    return Measured(django, settings.BODY_LIMIT)


application = _application()
