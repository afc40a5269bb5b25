"""Sends responses for connect.asgi: whole ones and files from the event loop, streams from a thread."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from typing import Any

from connect.errors import NeighbourUnavailable
from connect.request_body import ClientGone, Message, Receive

Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

STOP = "connect.stop"  # scope key: ends a response with events (connect.gunicorn)
SLOW_READER_S = 30.0  # timeout for sending PIECE bytes
PIECE = 64 * 1024


class Head:
    """The status and headers from start_response."""

    status = 500
    headers: Headers = []

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        self.status = int(status[:3])
        self.headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


class FileResponse:
    """A static file. The event loop sends it, so a slow reader holds no thread."""

    def __init__(self, head: Head, response: Any):
        self._head = head
        self._response = response

    async def send(self, send: Send) -> None:
        try:
            await send(_start(self._head.status, self._head.headers))
            while piece := self._response.file_to_stream.read(PIECE):
                await send_piece(send, piece)
            await send(_end())
        finally:
            self._response.close()


class EventResponse:
    """Events as they happen. The event loop writes them, so they hold no thread.

    `response.follow` gets a function that writes, and ends when the stream has to. Before its first write it
    may raise NeighbourUnavailable, for a 503.
    """

    def __init__(self, head: Head, response: Any):
        self._head = head
        self._response = response
        self._has_begun = False

    async def send(self, scope: Message, receive: Receive, send: Send) -> None:
        following = asyncio.ensure_future(self._follow(send, is_head=scope["method"] == "HEAD"))
        watching = asyncio.ensure_future(_until_gone(receive))
        watching.add_done_callback(lambda _: following.cancel())
        scope[STOP] = following.cancel
        try:
            await asyncio.wait([following])
            is_gone = watching.done()
        finally:
            following.cancel()
            watching.cancel()
            self._response.close()
        if not following.cancelled() and (error := following.exception()) is not None:
            if self._has_begun or not isinstance(error, NeighbourUnavailable):
                raise error
            status, headers, body = BUSY
            names = {name for name, _ in headers}
            await send_whole(send, status, [*headers, *self._other_headers(names)], body)
        elif not is_gone:
            await self._begin(send)
            await send(_end())

    def _other_headers(self, names: set[bytes]) -> Headers:
        return [each for each in self._head.headers if each[0] not in names]

    async def _follow(self, send: Send, *, is_head: bool) -> None:
        async def write(piece: bytes) -> None:
            await self._begin(send)
            await send_piece(send, piece)

        if not is_head:
            await self._response.follow(write)

    async def _begin(self, send: Send) -> None:
        if not self._has_begun:
            self._has_begun = True
            await send(_start(self._head.status, self._head.headers))


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Stream:
    """Streams chunks from a thread to the client; the next chunk is made while one is sent."""

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
        """Stops watching for a disconnect. Runs in the event loop."""
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
                raise ClientGone from None

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
                raise ClientGone
            await send_piece(self._send, chunk[begin : begin + PIECE])


def _start(status: int, headers: Headers) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def _end(body: bytes = b"") -> Message:
    return {"type": "http.response.body", "body": body, "more_body": False}


async def send_piece(send: Send, piece: bytes) -> None:
    """Raises ClientGone if the client reads too slowly."""
    try:
        async with asyncio.timeout(SLOW_READER_S):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except TimeoutError:
        raise ClientGone from None


async def send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send(_start(status, headers))
    await send(_end(body))


_BUSY_BODY = b'{"detail":"What this call needs is out of reach. Sending it again is safe."}'
BUSY = (
    503,
    [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(_BUSY_BODY)).encode()),
        (b"retry-after", b"2"),
    ],
    _BUSY_BODY,
)
