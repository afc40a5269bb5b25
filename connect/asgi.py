"""The ASGI application that gunicorn serves.

The event loop receives the whole request (connect.request_body), then Django handles it in one thread of a
bounded pool. A stream is written from that thread, so its database cursor stays in one thread. Slow readers
are disconnected.
"""

import asyncio
import gc
import math
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes
from weakref import WeakValueDictionary

from django.core.wsgi import get_wsgi_application

import access.callers
from connect.errors import NeighbourUnavailable
from connect.middleware import BODY_REFUSED, Request, client_address, session_key
from connect.request_body import (
    DRAIN,
    KNOWN_DRAIN,
    NO_BODY,
    SMALL_BODY,
    UPLOAD_LIMIT,
    BodyReceiver,
    ClientGone,
    Environ,
    Known,
    Message,
    Receive,
)
from connect.responses import BUSY, EventResponse, FileResponse, Head, Headers, Send, Stream, send_whole
from phones import credentials

if TYPE_CHECKING:
    from connect.quick_lane import QuickLane

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connect.settings")

IDENTITY_THREADS = 32  # their token lookups are coalesced
UNKNOWN_SHARE = 2  # threads for all unauthenticated callers of an address
MAX_QUEUED = 256  # requests that wait for a thread; more get a 503


class Application:
    def __init__(
        self,
        wsgi: Callable[..., Iterable[bytes]],
        *,
        threads: int,
        timeout_s: float,
        bodies: BodyReceiver,
        sender: Callable[[Environ], Awaitable[tuple[str, int]]],
        quick_lane: "QuickLane",
    ):
        """`sender` returns the caller of a request and its maximum number of threads."""
        self._wsgi = wsgi
        self._timeout_s = timeout_s
        self._bodies = bodies
        self._sender = sender
        self._quick_lane = quick_lane
        self._threads = ThreadPoolExecutor(threads, "request")
        self._semaphores: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._capacity = threads + MAX_QUEUED
        self._in_progress = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        environ = _environ(scope)
        body = NO_BODY
        if environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ:
            try:
                body = await self._bodies.received(environ, receive)
            except ClientGone:
                return
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = body.file, str(body.length)
        if body.refused:
            environ[BODY_REFUSED] = body.refused
        if body.known:
            scope[DRAIN] = KNOWN_DRAIN
        try:
            if body.refused or not await self._respond_quickly(environ, send):
                await self._respond(environ, scope, receive, send)
        except ClientGone:
            return
        finally:
            body.file.close()

    async def _respond_quickly(self, environ: Environ, send: Send) -> bool:
        """Whether the quick lane answered."""
        try:
            answer = await self._quick_lane.answer(environ, _body_so_far)
        except NeighbourUnavailable:
            answer = BUSY
        if answer is None:
            return False
        await send_whole(send, *answer)
        return True

    async def _respond(self, environ: Environ, scope: Message, receive: Receive, send: Send) -> None:
        if self._in_progress >= self._capacity:
            await send_whole(send, *BUSY)
            return
        loop = asyncio.get_running_loop()
        stream = Stream(loop, receive, send)
        self._in_progress += 1
        try:
            async with await self._semaphore(environ):
                answer = await loop.run_in_executor(self._threads, self._work, environ, stream)
        finally:
            self._in_progress -= 1
            stream.end()
        if isinstance(answer, FileResponse):
            await answer.send(send)
        elif isinstance(answer, EventResponse):
            await answer.send(scope, receive, send)
        elif answer is not None:
            status, headers, _ = answer
            self._quick_lane.learn(environ, status, headers)
            await send_whole(send, *answer)

    async def _semaphore(self, environ: Environ) -> asyncio.Semaphore:
        name, share = await self._sender(environ)
        semaphore = self._semaphores.get(name)
        if semaphore is None:
            semaphore = self._semaphores[name] = asyncio.Semaphore(share)
        return semaphore

    def _work(
        self, environ: Environ, stream: "Stream"
    ) -> "tuple[int, Headers, bytes] | FileResponse | EventResponse | None":
        """Runs in a thread of the pool. Returns a short response, a file, events, or None after a stream."""
        from connect import request_context  # noqa: PLC0415 - needs configured settings

        request_id = environ.get("HTTP_X_REQUEST_ID")
        requested = environ.get("HTTP_X_TIMEOUT_S", "")
        request_context.begin(
            request_id,
            min(
                self._timeout_s,
                float(requested) if request_context.SECONDS_FORMAT.fullmatch(requested) else math.inf,
            ),
        )
        head = Head()
        response = self._wsgi(environ, head.start)
        request_context.end_deadline()
        if getattr(response, "file_to_stream", None) is not None:
            return FileResponse(head, response)
        if getattr(response, "follow", None) is not None:
            return EventResponse(head, response)
        try:
            if not getattr(response, "streaming", False):
                return head.status, head.headers, b"".join(response)
            stream.send_head(head.status, head.headers)
            for chunk in response:
                stream.send_body(chunk)
            stream.send_end()
            return None
        finally:
            close = getattr(response, "close", None)
            if close is not None:
                close()


def _environ(scope: Message) -> Environ:
    """The WSGI environ of a request. Its strings are Latin-1 decoded bytes (PEP 3333)."""
    server = scope.get("server") or ("localhost", 80)
    client = scope.get("client") or ("", 0)
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(scope["raw_path"].partition(b"?")[0]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").upper().replace("-", "_")
        if name not in ("CONTENT_LENGTH", "CONTENT_TYPE"):
            name = f"HTTP_{name}"
        value = raw_value.decode("latin-1")
        if name in environ:
            value = f"{environ[name]}{'; ' if name == 'HTTP_COOKIE' else ','}{value}"
        environ[name] = value
    return environ


def _credentials(environ: Environ) -> tuple[str, str]:
    """The Authorization header or, without one, the session key; empty strings if absent."""
    authorization: str = environ.get("HTTP_AUTHORIZATION", "")
    if credentials.is_phone(environ["PATH_INFO"]):
        authorization = credentials.authorization(environ, _body_so_far(environ))
    if authorization:
        return authorization, ""
    return "", session_key(environ.get("HTTP_COOKIE", ""))


def _body_so_far(environ: Environ) -> bytes:
    """A small body that was received; the token of some phones is in it. Empty before."""
    file = environ.get("wsgi.input")
    if file is None or not 0 < int(environ["CONTENT_LENGTH"]) <= SMALL_BODY:
        return b""
    body: bytes = file.read()
    file.seek(0)
    return body


def _application() -> Application:
    django = get_wsgi_application()
    django.request_class = Request
    from django.conf import settings  # noqa: PLC0415 - needs configured settings
    from django.urls import get_resolver  # noqa: PLC0415

    get_resolver().url_patterns  # noqa: B018 - loads the URLs now, so that an error stops the start

    from connect.quick_lane import QuickLane  # noqa: PLC0415
    from locations import quick as locations  # noqa: PLC0415
    from persons import quick as persons  # noqa: PLC0415
    from phones import quick as phones  # noqa: PLC0415

    doors_of = {"locations": locations.DOORS | phones.DOORS, "persons": persons.DOORS}
    doors = {path: door for app in settings.SERVED_APPS for path, door in doors_of.get(app, {}).items()}

    threads = ThreadPoolExecutor(IDENTITY_THREADS, "identity")
    serves_only_pages = {*settings.SERVED_APPS} <= {"webapp"}  # no process to check a session cookie with

    def caller_of(environ: Environ) -> access.callers.Caller | None:
        if serves_only_pages:
            return None
        authorization, session_key = _credentials(environ)
        caller = access.callers.identify_authorization(
            authorization,
            sends_pings=environ["PATH_INFO"] == "/api/locations"
            or credentials.is_phone(environ["PATH_INFO"]),
        )
        return access.callers.identify_session(session_key) if caller is None and session_key else caller

    async def identified(environ: Environ) -> access.callers.Caller | None:
        return await asyncio.get_running_loop().run_in_executor(threads, caller_of, environ)

    async def known(environ: Environ) -> Known | None:
        caller = await identified(environ)
        if caller is None:
            return None
        is_api = environ["PATH_INFO"].startswith("/api")
        return Known(caller.name, settings.BODY_LIMIT if is_api else UPLOAD_LIMIT)

    async def sender(environ: Environ) -> tuple[str, int]:
        """Unauthenticated callers of one address are one caller. So are probes, which bypass the proxy.

        Tokens are checked first, because hundreds of phones behind one address may start at the same time.
        """
        if settings.ACCESS == "open":
            return "anybody", settings.WEB_THREADS
        shown = _credentials(environ)
        caller = access.callers.cached_caller(*shown)
        if caller is None and any(shown):
            with suppress(NeighbourUnavailable):
                caller = await identified(environ)
        if caller is None:
            is_probe = "HTTP_X_CONNECT_PROXY" not in environ
            return "probes" if is_probe else client_address(environ), UNKNOWN_SHARE
        if caller.kind is access.callers.Kind.SERVICE:  # another process calls for many callers
            return caller.name, settings.WEB_PLACES
        if int(environ["CONTENT_LENGTH"]) > SMALL_BODY:  # one takes as long as hundreds of small ones
            return f"{caller.name}: large bodies", 1
        return caller.name, max(1, settings.WEB_PLACES // 2)

    return Application(
        django,
        threads=settings.WEB_THREADS,
        timeout_s=settings.REQUEST_TIMEOUT_S,
        bodies=BodyReceiver(known),
        sender=sender,
        quick_lane=QuickLane(doors),
    )


application = _application()
# Switch threads ten times as often as by default (5 ms), so that a large batch delays other requests less.
sys.setswitchinterval(0.0005)
gc.freeze()  # collections over the loaded modules took a third of the time of a long response
