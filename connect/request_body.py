"""Receives request bodies for connect.asgi in the event loop, without a thread.

Every client may send a small body that arrives at once. A slow client holds a connection and at most
SMALL_BODY bytes of memory. Slow and large bodies are received only from authenticated callers.
"""

import asyncio
import io
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import IO, Any, NamedTuple, cast

from connect.errors import NeighbourUnavailable

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Environ = dict[str, Any]

SMALL_BODY = 64 * 1024  # bytes; allowed for every client
API_SMALL_BODY_S = 0.2  # timeout for a small /api body; after it the caller must be authenticated
SMALL_BODY_S = 10.0  # timeout for a small body outside of /api
IN_MEMORY = 8 * 1024 * 1024  # bytes; a larger body goes to disk
BODY_S = 30.0  # timeout for a body of an authenticated caller, plus 1 s per MIN_BYTES_PER_S bytes
MIN_BYTES_PER_S = 100_000
UPLOAD_LIMIT = 100 * 1024 * 1024  # bytes of an upload to the admin site
LARGE_BODIES = 32  # concurrently in this process
BODIES_PER_CALLER = 3  # concurrent large bodies of one caller, and as many slow small ones


class Known(NamedTuple):
    """An authenticated caller: its name, and the maximum size of its body in bytes."""

    name: str
    limit: int


class Body(NamedTuple):
    """A body. If it was refused, `refused` is the reason and `file` is empty.

    `known`: the body was refused, and its sender is an authenticated caller.
    """

    file: IO[bytes]
    length: int
    refused: str = ""
    known: bool = False


class Drain(NamedTuple):
    """Bytes and seconds for discarding a refused body, so that its sender reads the response."""

    size: int
    within_s: float


DRAIN = "connect.drain"  # scope key: the Drain of a request; default UNKNOWN_DRAIN (connect.gunicorn)
KNOWN_DRAIN, UNKNOWN_DRAIN = Drain(64 * 1024 * 1024, 30.0), Drain(1024 * 1024, 5.0)
NO_BODY = Body(io.BytesIO(), 0)


class ClientGone(Exception):
    """The client closed the connection or reads too slowly."""


class BodyReceiver:
    """Receives the request bodies of a process. `identify` returns the caller of a request."""

    def __init__(self, identify: Callable[[Environ], Awaitable[Known | None]]):
        self._identify = identify
        self._slow: Counter[str] = Counter()
        self._large: Counter[str] = Counter()

    async def received(self, environ: Environ, receive: Receive) -> Body:
        """The body, or the reason for its refusal. Raises ClientGone.

        A small body outside of /api, such as a login form, has the timeout SMALL_BODY_S.
        """
        length = None if "HTTP_TRANSFER_ENCODING" in environ else int(environ["CONTENT_LENGTH"])
        body = _IncomingBody(receive)
        if length is None or length <= SMALL_BODY:
            within_s = API_SMALL_BODY_S if environ["PATH_INFO"].startswith("/api") else SMALL_BODY_S
            if await body.receive_all(limit=SMALL_BODY, within_s=within_s):
                return body.received()
            if within_s == SMALL_BODY_S and body.size <= SMALL_BODY:
                return Body(io.BytesIO(), 0, "late")
        known = await self._known(environ)
        if isinstance(known, str):
            return body.refused(known)
        if length is not None and length > known.limit:
            return body.refused("too large", length=length, known=True)
        return await self._slow_or_large_body(body, length or known.limit, known)

    async def _slow_or_large_body(self, body: "_IncomingBody", length: int, known: Known) -> Body:
        with self._room(known.name, length) as has_room:
            if not has_room:
                return body.refused("too many", known=True)
            if await body.receive_all(limit=known.limit, within_s=BODY_S + length / MIN_BYTES_PER_S):
                return body.received()
        if body.size > known.limit:
            return body.refused("too large", length=body.size, known=True)
        return Body(io.BytesIO(), 0, "late")

    async def _known(self, environ: Environ) -> Known | str:
        """The caller, or the reason why there is none: "unknown" or "unavailable"."""
        try:
            return await self._identify(environ) or "unknown"
        except NeighbourUnavailable:
            return "unavailable"

    @contextmanager
    def _room(self, name: str, length: int) -> Iterator[bool]:
        """Yields whether one more body of this caller may be received now.

        Small slow bodies have no limit per process: they need little memory, and hundreds of phones on a bad
        network may send at the same time.
        """
        is_large = length > SMALL_BODY
        bodies = self._large if is_large else self._slow
        if bodies[name] >= BODIES_PER_CALLER or (is_large and bodies.total() >= LARGE_BODIES):
            yield False
            return
        bodies[name] += 1
        try:
            yield True
        finally:
            bodies[name] -= 1
            if not bodies[name]:
                del bodies[name]


class _IncomingBody:
    """A partly received body: in memory at first, on disk when it is large."""

    def __init__(self, receive: Receive):
        self._receive = receive
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed after the answer
        self._complete = False
        self.size = 0

    async def receive_all(self, *, limit: int, within_s: float) -> bool:
        """Whether the whole body arrived in time and within `limit`. Raises ClientGone."""
        try:
            async with asyncio.timeout(within_s):
                while not self._complete and self.size <= limit:
                    message = await self._receive()
                    if message["type"] != "http.request":
                        self._file.close()
                        raise ClientGone
                    self._complete = not message.get("more_body", False)
                    self.size += self._file.write(message.get("body", b""))
        except TimeoutError:
            return False
        return self.size <= limit

    def received(self) -> Body:
        self._file.seek(0)
        return Body(cast("IO[bytes]", self._file), self.size)

    def refused(self, why: str, *, length: int = 0, known: bool = False) -> Body:
        self._file.close()
        return Body(io.BytesIO(), length, why, known=known)
