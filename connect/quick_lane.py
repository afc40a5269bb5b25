"""Answers usual calls in the event loop, without a thread and without Django.

Nearly all calls of an event are single pings. A door gives an answer, or None for anything unusual, which
Django answers by the same rules. The headers are those of Django's last answer to the same kind of call.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from access import callers
from access.callers import Caller
from connect.middleware import known_number
from connect.request_body import Environ
from connect.responses import Headers

MAX_IN_PROGRESS = 1000  # in this process; further calls wait for a thread
# A call with one of these gets other headers or another answer.
_UNUSUAL = (
    "HTTP_ORIGIN",
    "HTTP_SEC_FETCH_SITE",
    "HTTP_COOKIE",
    "HTTP_X_CONNECT_NOTED",
)
_OF_EACH_CALL = (b"content-length", b"location", b"x-connect-known")


class Answer(NamedTuple):
    """The body, and the headers that differ from call to call."""

    body: bytes
    headers: Headers = []


@dataclass(frozen=True, slots=True)
class Door:
    """One path. `status` is that of its usual answer.

    `is_usual` looks at the headers; `authorization` gives the value with the token, also from the body.
    """

    methods: tuple[str, ...]
    status: int
    is_usual: Callable[[Environ], bool]
    take: Callable[[Environ, bytes, Caller], Awaitable[Answer | None]]
    authorization: Callable[[Environ, bytes], str] = lambda environ, _body: environ.get(
        "HTTP_AUTHORIZATION", ""
    )


class QuickLane:
    """The doors by path."""

    def __init__(self, doors: Mapping[str, Door]):
        self._doors = doors
        self._headers: dict[tuple[str, str, str], Headers] = {}  # of Django's answers
        self._in_progress = 0

    def _door(self, environ: Environ) -> Door | None:
        """The door for this call; None if Django answers it."""
        door = self._doors.get(environ["PATH_INFO"])
        if (
            door is None
            or environ["REQUEST_METHOD"] not in door.methods
            or any(name in environ for name in _UNUSUAL)
            or not _is_allowed_host(environ.get("HTTP_HOST", ""))
            or not door.is_usual(environ)
        ):
            return None
        return door

    def learn(self, environ: Environ, status: int, headers: Headers) -> None:
        """Keeps the headers of Django's answer to a usual call."""
        door = self._door(environ)
        if door is not None and status == door.status:
            self._headers[_kind(environ)] = [each for each in headers if each[0] not in _OF_EACH_CALL]

    async def answer(
        self, environ: Environ, read_body: Callable[[Environ], bytes]
    ) -> tuple[int, Headers, bytes] | None:
        """The answer; None if Django answers this call. Raises NeighbourUnavailable."""
        door = self._door(environ)
        headers = self._headers.get(_kind(environ))
        if door is None or headers is None or self._in_progress >= MAX_IN_PROGRESS:
            return None
        body = read_body(environ)
        caller = callers.identify_at_once(door.authorization(environ, body))
        if caller is None:
            return None
        self._in_progress += 1
        try:
            answer = await door.take(environ, body, caller)
        finally:
            self._in_progress -= 1
        if answer is None:
            return None
        known = [(b"x-connect-known", known_number(caller.share))] if settings.ACCESS != "open" else []
        length = (b"content-length", str(len(answer.body)).encode())
        return door.status, [*headers, *known, *answer.headers, length], answer.body


def accepts_plain_json(environ: Environ) -> bool:
    """Whether JSON without any condition is what the client asks for."""
    return environ.get("HTTP_ACCEPT", "*/*") in ("*/*", "application/json")


def _kind(environ: Environ) -> tuple[str, str, str]:
    return environ["PATH_INFO"], environ["REQUEST_METHOD"], environ.get("HTTP_X_FORWARDED_PROTO", "")


@lru_cache(maxsize=256)
def _is_allowed_host(host: str) -> bool:
    return validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS)
