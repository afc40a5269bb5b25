"""How connect.asgi receives the body of a request: in the event loop, without a thread.

What comes at once is received for every client. A client that sends slowly holds a connection and at most
SMALL_BODY bytes of memory. Slow and large bodies are received only for callers who are known.
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

SMALL_BODY = 64 * 1024  # bytes that every client may send
AT_ONCE_S = 0.2  # for a small body to arrive before its sender has to be known
SMALL_BODY_S = 10.0  # for a small body outside of /api
IN_MEMORY = 8 * 1024 * 1024  # bytes of a body that are not on disk
BODY_S = 30.0  # for a body of a known caller, and a second more for each MIN_BYTES_PER_S bytes of it
MIN_BYTES_PER_S = 100_000
UPLOAD_LIMIT = 100 * 1024 * 1024  # bytes of a file that staff upload on the admin site
LARGE_BODIES = 32  # at the same time in this process
BODIES_OF_ONE = 3  # of them by one caller, and as many small ones that arrive slowly


class Known(NamedTuple):
    """A caller whose large body is received: its name, and how many bytes it may send."""

    name: str
    limit: int


class Body(NamedTuple):
    """A received body. `refused` says why it was not received; then `file` is empty.

    `known`: it was refused, and its sender is a known caller.
    """

    file: IO[bytes]
    length: int
    refused: str = ""
    known: bool = False


class Drain(NamedTuple):
    """How much of a refused body is read, and for how long, so that its sender sees the answer."""

    size: int
    within_s: float


DRAIN = "connect.drain"  # in the scope of a request: its Drain, else it is UNKNOWN_DRAIN (connect.gunicorn)
KNOWN_DRAIN, UNKNOWN_DRAIN = Drain(64 * 1024 * 1024, 30.0), Drain(1024 * 1024, 5.0)
NO_BODY = Body(io.BytesIO(), 0)


class Gone(Exception):
    """The client closed the connection, or reads too slowly."""


class Bodies:
    """Receives the bodies of a process's requests. `identify` finds the caller of a request."""

    def __init__(self, identify: Callable[[Environ], Awaitable[Known | None]]):
        self._identify = identify
        self._slow: Counter[str] = Counter()
        self._large: Counter[str] = Counter()

    async def received(self, environ: Environ, receive: Receive) -> Body:
        """The body, or why it was refused. Raises Gone.

        A small one outside of /api, such as a login, may take SMALL_BODY_S.
        """
        length = None if "HTTP_TRANSFER_ENCODING" in environ else int(environ["CONTENT_LENGTH"])
        body = _Arriving(receive)
        if length is None or length <= SMALL_BODY:
            within_s = AT_ONCE_S if environ["PATH_INFO"].startswith("/api") else SMALL_BODY_S
            if await body.arrives(limit=SMALL_BODY, within_s=within_s):
                return body.received()
            if within_s == SMALL_BODY_S and body.size <= SMALL_BODY:
                return Body(io.BytesIO(), 0, "late")
        known = await self._known(environ)
        if isinstance(known, str):
            return body.refused(known)
        if length is not None and length > known.limit:
            return body.refused("too large", length=length, known=True)
        return await self._slow_or_large_body(body, length or known.limit, known)

    async def _slow_or_large_body(self, body: "_Arriving", length: int, known: Known) -> Body:
        with self._room(known.name, length) as there_is_room:
            if not there_is_room:
                return body.refused("too many", known=True)
            if await body.arrives(limit=known.limit, within_s=BODY_S + length / MIN_BYTES_PER_S):
                return body.received()
        if body.size > known.limit:
            return body.refused("too large", length=body.size, known=True)
        return Body(io.BytesIO(), 0, "late")

    async def _known(self, environ: Environ) -> Known | str:
        """The caller, or why there is none: unknown or unavailable."""
        try:
            return await self._identify(environ) or "unknown"
        except NeighbourUnavailable:
            return "unavailable"

    @contextmanager
    def _room(self, name: str, length: int) -> Iterator[bool]:
        """Whether one more body of this caller may be received now. Small ones take no memory worth counting:
        hundreds of phones on a bad network send slowly at the same time."""
        is_large = length > SMALL_BODY
        bodies = self._large if is_large else self._slow
        if bodies[name] >= BODIES_OF_ONE or (is_large and bodies.total() >= LARGE_BODIES):
            yield False
            return
        bodies[name] += 1
        try:
            yield True
        finally:
            bodies[name] -= 1
            if not bodies[name]:
                del bodies[name]


class _Arriving:
    """A body on its way: in memory at first, a large one on disk."""

    def __init__(self, receive: Receive):
        self._receive = receive
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed after the answer
        self._whole = False
        self.size = 0

    async def arrives(self, *, limit: int, within_s: float) -> bool:
        """Whether it is there in time and not larger than `limit`. Raises Gone."""
        try:
            async with asyncio.timeout(within_s):
                while not self._whole and self.size <= limit:
                    message = await self._receive()
                    if message["type"] != "http.request":
                        self._file.close()
                        raise Gone
                    self._whole = not message.get("more_body", False)
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
