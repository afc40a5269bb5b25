"""The ASGI application that gunicorn serves.

The event loop receives a request; only then does Django answer it, in one thread of a bounded pool. A client
that sends slowly holds a connection and at most SMALL_BODY bytes of memory, and no thread. Larger bodies are
received only for callers who are known. A long answer is written from its thread, so that its database
cursor stays in one thread; a reader that is too slow is cut off.
"""

import asyncio
import gc
import io
import math
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from http import cookies
from typing import IO, Any, NamedTuple, cast
from urllib.parse import unquote_to_bytes
from weakref import WeakValueDictionary

from django.core.wsgi import get_wsgi_application

from connect.middleware import REFUSED, Request
from connect.neighbours import NeighbourUnavailable

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connect.settings")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Environ = dict[str, Any]

SMALL_BODY = 64 * 1024  # bytes that every client may send
AT_ONCE_S = 0.2  # for a small body to arrive before its sender has to be known
SMALL_BODY_S = 10.0  # for a small body outside of /api
IN_MEMORY = 8 * 1024 * 1024  # bytes of a body that are not on disk
BODY_S = 30.0  # for a body of a known caller, and a second more for each PACE bytes of it
PACE = 100_000
UPLOAD_LIMIT = 100 * 1024 * 1024  # bytes of a file that staff upload on the admin site
DRAINED = 64 * 1024 * 1024  # bytes of a refused body that are read, so that the client sees the answer
DRAIN_S = 30.0
DRAINED_UNKNOWN, DRAIN_UNKNOWN_S = 1024 * 1024, 5.0  # the same for a caller who is not known
LARGE_BODIES = 32  # at the same time in this process
LARGE_BODIES_OF_ONE = 3  # of them by one caller
WAITING = 256  # requests that may wait for a thread; more are refused
SLOW_READER_S = 30.0  # for a reader to take PIECE bytes
PIECE = 64 * 1024
IDENTITY_THREADS = 4


class _Known(NamedTuple):
    """A caller whose large body is received: its name, and how many bytes it may send."""

    name: str
    limit: int


class _Body(NamedTuple):
    """A received body. `refused` says why it was not received; then `file` is empty."""

    file: IO[bytes]
    length: int
    refused: str = ""
    known: bool = False
    whole: bool = True  # nothing more of it is to come


_NO_BODY = _Body(io.BytesIO(), 0)


class _Gone(Exception):
    """The client closed the connection, or reads too slowly."""


class Application:
    def __init__(
        self,
        wsgi: Callable[..., Iterable[bytes]],
        *,
        threads: int,
        share: int,
        timeout_s: float,
        identify: Callable[[str, str, str], _Known | None],
    ):
        """`share` is how many of the threads one caller may have at the same time.

        `identify` gets the path, the Authorization header and the session's key; it may block.
        """
        self._wsgi = wsgi
        self._timeout_s = timeout_s
        self._identify = identify
        self._identity = ThreadPoolExecutor(IDENTITY_THREADS, "identity")
        self._threads = ThreadPoolExecutor(threads, "request")
        self._share = share
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._capacity = threads + WAITING
        self._in_hand = 0
        self._large: Counter[str] = Counter()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        environ = _environ(scope)
        body = _NO_BODY
        if environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ:
            try:
                body = await self._body(environ, receive)
            except _Gone:
                return
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = body.file, str(body.length)
        if body.refused:
            environ[REFUSED] = body.refused
        try:
            await self._respond(environ, receive, send)
        except _Gone:
            return
        finally:
            body.file.close()
        if not body.whole:
            await _drain(receive, known=body.known)

    # --- the body --------------------------------------------------------------------------------

    async def _body(self, environ: Environ, receive: Receive) -> _Body:
        """What comes at once is received for every client; slow and large bodies only for known callers.

        A small body outside of /api, such as a login, may take SMALL_BODY_S.
        """
        length = None if "HTTP_TRANSFER_ENCODING" in environ else int(environ["CONTENT_LENGTH"])
        body = _Arriving(receive)
        if length is None or length <= SMALL_BODY:
            within_s = AT_ONCE_S if environ["PATH_INFO"].startswith("/api") else SMALL_BODY_S
            if await body.arrives(limit=SMALL_BODY, within_s=within_s):
                return body.received()
            if within_s == SMALL_BODY_S and body.size <= SMALL_BODY:
                return _Body(io.BytesIO(), 0, "late")
        known = await self._known(environ)
        if isinstance(known, str):
            return body.refused(known)
        if length is not None and length > known.limit:
            return body.refused("too large", length=length, known=True)
        return await self._large_body(body, length or known.limit, known)

    async def _large_body(self, body: "_Arriving", length: int, known: _Known) -> _Body:
        with self._room(known.name) as there_is_room:
            if not there_is_room:
                return body.refused("too many", known=True)
            if await body.arrives(limit=known.limit, within_s=BODY_S + length / PACE):
                return body.received()
        if body.size > known.limit:
            return body.refused("too large", length=body.size, known=True)
        return _Body(io.BytesIO(), 0, "late")

    async def _known(self, environ: Environ) -> _Known | str:
        """The caller, or why there is none: unknown or unavailable."""
        arguments = (
            environ["PATH_INFO"],
            environ.get("HTTP_AUTHORIZATION", ""),
            _session_key(environ.get("HTTP_COOKIE", "")),
        )
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._identity, self._identify, *arguments) or "unknown"
        except NeighbourUnavailable:
            return "unavailable"

    @contextmanager
    def _room(self, name: str) -> Iterator[bool]:
        """Whether one more large body of this caller may be received now."""
        there_is = self._large[name] < LARGE_BODIES_OF_ONE and self._large.total() < LARGE_BODIES
        if not there_is:
            yield False
            return
        self._large[name] += 1
        try:
            yield True
        finally:
            self._large[name] -= 1
            if not self._large[name]:
                del self._large[name]

    # --- the answer ------------------------------------------------------------------------------

    async def _respond(self, environ: Environ, receive: Receive, send: Send) -> None:
        if self._in_hand >= self._capacity:
            await _send_whole(send, *_BUSY)
            return
        loop = asyncio.get_running_loop()
        stream = _Stream(loop, receive, send)
        self._in_hand += 1
        try:
            async with self._place(environ):
                whole = await loop.run_in_executor(self._threads, self._work, environ, stream)
        finally:
            self._in_hand -= 1
            stream.end()
        if whole is not None:
            await _send_whole(send, *whole)

    def _place(self, environ: Environ) -> asyncio.Semaphore:
        """All that show the same token or session, or nothing from the same address, share some threads."""
        shown = environ.get("HTTP_AUTHORIZATION") or _session_key(environ.get("HTTP_COOKIE", ""))
        key = shown or environ.get("HTTP_X_FORWARDED_FOR") or environ["REMOTE_ADDR"]
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = asyncio.Semaphore(self._share)
        return place

    def _work(self, environ: Environ, stream: "_Stream") -> "tuple[int, Headers, bytes] | None":
        """In a thread of the pool: a short answer as a whole, or None once a long one has been sent."""
        from connect import carried  # noqa: PLC0415 - it needs Django's settings

        request_id = environ.get("HTTP_X_REQUEST_ID")
        told = environ.get("HTTP_X_TIMEOUT_S", "")
        carried.begin(
            request_id, min(self._timeout_s, float(told) if carried.SECONDS.fullmatch(told) else math.inf)
        )
        head = _Head()
        response = self._wsgi(environ, head.start)
        carried.begin(request_id, None)  # a reader may take as long as it needs
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
        self._next(self._begin({"type": "http.response.start", "status": status, "headers": headers}))

    def send_body(self, chunk: bytes) -> None:
        if chunk:
            self._next(self._deliver(chunk))

    def send_end(self) -> None:
        self._next(self._send({"type": "http.response.body", "body": b"", "more_body": False}))
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
                raise _Gone from None

    async def _begin(self, message: Message) -> None:
        self._watcher = self._loop.create_task(self._watch())
        await self._send(message)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._sending is not None:
            self._sending.cancel()  # gunicorn leaves a send waiting whose client has gone

    async def _deliver(self, chunk: bytes) -> None:
        for begin in range(0, len(chunk), PIECE):
            if self._gone:
                raise _Gone
            piece = chunk[begin : begin + PIECE]
            message = {"type": "http.response.body", "body": piece, "more_body": True}
            try:
                await asyncio.wait_for(self._send(message), SLOW_READER_S)
            except TimeoutError:
                raise _Gone from None


class _Arriving:
    """A body on its way: in memory at first, a large one on disk."""

    def __init__(self, receive: Receive):
        self._receive = receive
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed after the answer
        self._whole = False
        self.size = 0

    async def arrives(self, *, limit: int, within_s: float) -> bool:
        """Whether it is there in time and not larger than `limit`. Raises _Gone."""
        try:
            async with asyncio.timeout(within_s):
                while not self._whole and self.size <= limit:
                    message = await self._receive()
                    if message["type"] != "http.request":
                        self._file.close()
                        raise _Gone
                    self._whole = not message.get("more_body", False)
                    self.size += self._file.write(message.get("body", b""))
        except TimeoutError:
            return False
        return self.size <= limit

    def received(self) -> _Body:
        self._file.seek(0)
        return _Body(cast("IO[bytes]", self._file), self.size)

    def refused(self, why: str, *, length: int = 0, known: bool = False) -> _Body:
        self._file.close()
        return _Body(io.BytesIO(), length, why, known=known, whole=self._whole)


async def _drain(receive: Receive, *, known: bool) -> None:
    """Reads what a client still sends of a refused body: one in mid-send would not see the answer."""
    left, within_s = (DRAINED, DRAIN_S) if known else (DRAINED_UNKNOWN, DRAIN_UNKNOWN_S)
    deadline = time.monotonic() + within_s
    try:
        while left > 0:
            async with asyncio.timeout(max(0, deadline - time.monotonic())):
                message = await receive()
            left -= len(message.get("body", b""))
            if not message.get("more_body", False):
                return
    except TimeoutError:
        return


async def _send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


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


def _session_key(cookie: str) -> str:
    from django.conf import settings  # noqa: PLC0415 - only after _application has configured them

    try:
        found = cookies.SimpleCookie(cookie).get(settings.SESSION_COOKIE_NAME)
    except cookies.CookieError:
        return ""
    return found.value if found else ""


def _application() -> Application:
    django = get_wsgi_application()
    django.request_class = Request
    from django.conf import settings  # noqa: PLC0415 - only now is it configured
    from django.urls import get_resolver  # noqa: PLC0415

    from connect import callers  # noqa: PLC0415

    get_resolver().url_patterns  # noqa: B018 - loaded now, so that what is wrong stops the process at start

    def identify(path: str, authorization: str, session_key: str) -> _Known | None:
        caller = callers.by_header(authorization, sends=path == "/api/locations")
        if caller is None and session_key and not authorization:
            caller = callers.of_session(session_key)
        if caller is None:
            return None
        limit = settings.BODY_LIMIT if path.startswith("/api") else UPLOAD_LIMIT
        return _Known(caller.name, limit)

    return Application(
        django,
        threads=settings.WEB_THREADS,
        # Where everybody may ask everything, callers are not told apart.
        share=settings.WEB_THREADS if settings.ACCESS == "open" else settings.WEB_PLACES,
        timeout_s=settings.REQUEST_TIMEOUT_S,
        identify=identify,
    )


application = _application()
gc.freeze()  # what is loaded stays: looking through it again and again took a third of a long answer's time
