"""The ASGI application that gunicorn serves.

The event loop receives a request (connect.request_body); only then does Django answer it, in one thread of a
bounded pool. A long answer is written from its thread, so that its database cursor stays in one thread; a
reader that is too slow is cut off.
"""

import asyncio
import gc
import math
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from http import cookies
from typing import Any
from urllib.parse import unquote_to_bytes
from weakref import WeakValueDictionary

from django.core.wsgi import get_wsgi_application

import access.callers
from connect.errors import NeighbourUnavailable
from connect.middleware import REFUSED, Request, client_address
from connect.request_body import (
    DRAIN,
    KNOWN_DRAIN,
    NO_BODY,
    SMALL_BODY,
    UPLOAD_LIMIT,
    Bodies,
    Environ,
    Gone,
    Known,
    Message,
    Receive,
)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connect.settings")

Send = Callable[[Message], Awaitable[None]]

IDENTITY_THREADS = 32  # their tokens are asked about together
UNKNOWN_SHARE = 2  # threads for all of an address who show nothing that is known
WAITING = 256  # requests that may wait for a thread; more are refused
SLOW_READER_S = 30.0  # for a reader to take PIECE bytes
PIECE = 64 * 1024


class Application:
    def __init__(
        self,
        wsgi: Callable[..., Iterable[bytes]],
        *,
        threads: int,
        timeout_s: float,
        bodies: Bodies,
        sender: Callable[[Environ], Awaitable[tuple[str, int]]],
    ):
        """`sender` names the caller of a request, and how many threads this caller may have."""
        self._wsgi = wsgi
        self._timeout_s = timeout_s
        self._bodies = bodies
        self._sender = sender
        self._threads = ThreadPoolExecutor(threads, "request")
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._capacity = threads + WAITING
        self._in_hand = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        environ = _environ(scope)
        body = NO_BODY
        if environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ:
            try:
                body = await self._bodies.received(environ, receive)
            except Gone:
                return
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = body.file, str(body.length)
        if body.refused:
            environ[REFUSED] = body.refused
        if body.known:
            scope[DRAIN] = KNOWN_DRAIN
        try:
            await self._respond(environ, receive, send)
        except Gone:
            return
        finally:
            body.file.close()

    async def _respond(self, environ: Environ, receive: Receive, send: Send) -> None:
        if self._in_hand >= self._capacity:
            await _send_whole(send, *_BUSY)
            return
        loop = asyncio.get_running_loop()
        stream = _Stream(loop, receive, send)
        self._in_hand += 1
        try:
            async with await self._place(environ):
                answer = await loop.run_in_executor(self._threads, self._work, environ, stream)
        finally:
            self._in_hand -= 1
            stream.end()
        if isinstance(answer, _File):
            await answer.send(send)
        elif answer is not None:
            await _send_whole(send, *answer)

    async def _place(self, environ: Environ) -> asyncio.Semaphore:
        name, share = await self._sender(environ)
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = asyncio.Semaphore(share)
        return place

    def _work(self, environ: Environ, stream: "_Stream") -> "tuple[int, Headers, bytes] | _File | None":
        """In a thread of the pool: a short answer, a file, or None once a long answer has been sent."""
        from connect import request_context  # noqa: PLC0415 - it needs Django's settings

        request_id = environ.get("HTTP_X_REQUEST_ID")
        told = environ.get("HTTP_X_TIMEOUT_S", "")
        request_context.begin(
            request_id,
            min(self._timeout_s, float(told) if request_context.SECONDS.fullmatch(told) else math.inf),
        )
        head = _Head()
        response = self._wsgi(environ, head.start)
        request_context.end_deadline()
        if getattr(response, "file_to_stream", None) is not None:
            return _File(head, response)
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


Headers = list[tuple[bytes, bytes]]


class _Head:
    """What a WSGI application says with start_response."""

    status = 500
    headers: Headers = []

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        self.status = int(status[:3])
        self.headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


class _File:
    """A static file, which the event loop sends: anybody may ask for it, and read it slowly."""

    def __init__(self, head: _Head, response: Any):
        self._head = head
        self._response = response

    async def send(self, send: Send) -> None:
        try:
            await send(_start(self._head.status, self._head.headers))
            while piece := self._response.file_to_stream.read(PIECE):
                await _send_piece(send, piece)
            await send(_end())
        finally:
            self._response.close()


class _Stream:
    """A long answer on its way from a thread to the client: while a chunk is sent, the next one is made."""

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Receive, send: Send):
        self._loop = loop
        self._receive = receive
        self._send = send
        self._sending: Future[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._gone = False

    def send_head(self, status: int, headers: Headers) -> None:
        self._next(self._begin(_start(status, headers)))

    def send_body(self, chunk: bytes) -> None:
        if chunk:
            self._next(self._deliver(chunk))

    def send_end(self) -> None:
        self._next(self._send(_end()))
        self._wait()

    def end(self) -> None:
        """In the event loop: nobody needs to know any more whether the client is there."""
        if self._watcher is not None:
            self._watcher.cancel()

    def _next(self, sending: Any) -> None:
        try:
            self._wait()
        except BaseException:
            sending.close()
            raise
        self._sending = asyncio.run_coroutine_threadsafe(sending, self._loop)

    def _wait(self) -> None:
        if self._sending is not None:
            try:
                self._sending.result()
            except CancelledError:
                raise Gone from None

    async def _begin(self, message: Message) -> None:
        self._watcher = self._loop.create_task(self._watch())
        await self._send(message)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True

    async def _deliver(self, chunk: bytes) -> None:
        for begin in range(0, len(chunk), PIECE):
            if self._gone:
                raise Gone
            await _send_piece(self._send, chunk[begin : begin + PIECE])


def _start(status: int, headers: Headers) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def _end(body: bytes = b"") -> Message:
    return {"type": "http.response.body", "body": body, "more_body": False}


async def _send_piece(send: Send, piece: bytes) -> None:
    """Raises Gone if the client reads too slowly."""
    try:
        async with asyncio.timeout(SLOW_READER_S):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except TimeoutError:
        raise Gone from None


async def _send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send(_start(status, headers))
    await send(_end(body))


_BUSY_BODY = b'{"detail":"What this call needs is out of reach. Sending it again is safe."}'
_BUSY = (
    503,
    [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(_BUSY_BODY)).encode()),
        (b"retry-after", b"2"),
    ],
    _BUSY_BODY,
)


def _environ(scope: Message) -> Environ:
    """The WSGI environ of a request. PEP 3333: strings whose characters stand for bytes."""
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


def _shown(environ: Environ) -> tuple[str, str]:
    """The Authorization header and, without one, the key of the session; empty where there is none."""
    from django.conf import settings  # noqa: PLC0415 - only after _application has configured them

    authorization: str = environ.get("HTTP_AUTHORIZATION", "")
    if authorization:
        return authorization, ""
    try:
        found = cookies.SimpleCookie(environ.get("HTTP_COOKIE", "")).get(settings.SESSION_COOKIE_NAME)
    except cookies.CookieError:
        return "", ""
    return "", found.value if found else ""


def _application() -> Application:
    django = get_wsgi_application()
    django.request_class = Request
    from django.conf import settings  # noqa: PLC0415 - only now is it configured
    from django.urls import get_resolver  # noqa: PLC0415

    get_resolver().url_patterns  # noqa: B018 - loaded now, so that what is wrong stops the process at start

    threads = ThreadPoolExecutor(IDENTITY_THREADS, "identity")
    only_pages = {*settings.SERVED_APPS} <= {"webapp"}  # with nobody to ask about a cookie of the admin site

    def caller_of(environ: Environ) -> access.callers.Caller | None:
        if only_pages:
            return None
        authorization, session_key = _shown(environ)
        caller = access.callers.identify_authorization(
            authorization, sends_pings=environ["PATH_INFO"] == "/api/locations"
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
        """All unknown callers of an address are one caller; so are probes, which do not use the proxy.

        Tokens are identified first, because hundreds of phones behind one address may begin at the same time.
        """
        if settings.ACCESS == "open":
            return "anybody", settings.WEB_THREADS
        shown = _shown(environ)
        caller = access.callers.cached_caller(*shown)
        if caller is None and any(shown):
            with suppress(NeighbourUnavailable):
                caller = await identified(environ)
        if caller is None:
            is_probe = "HTTP_X_CONNECT_PROXY" not in environ
            return "probes" if is_probe else client_address(environ), UNKNOWN_SHARE
        if caller.kind is access.callers.Kind.SERVICE:  # another process asks for many callers
            return caller.name, settings.WEB_PLACES
        if int(environ["CONTENT_LENGTH"]) > SMALL_BODY:  # it takes as long as hundreds of others
            return f"{caller.name}: large bodies", 1
        return caller.name, max(1, settings.WEB_PLACES // 2)

    return Application(
        django,
        threads=settings.WEB_THREADS,
        timeout_s=settings.REQUEST_TIMEOUT_S,
        bodies=Bodies(known),
        sender=sender,
    )


application = _application()
# A thread that reads a batch leaves the interpreter to the others ten times as often as by default (5 ms).
sys.setswitchinterval(0.0005)
gc.freeze()  # what is loaded stays: looking through it again and again took a third of a long answer's time
