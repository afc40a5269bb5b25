"""Arrays as answers: a page with a `Link` to the next, or everything, streamed in constant memory.

An array is never silently cut: a fault after the first byte breaks the connection off, so that a closed
array is whole.
"""

from collections.abc import Callable, Generator, Iterator
from itertools import chain, islice
from typing import Any, Generic, TypeVar, cast
from urllib.parse import urlencode

from django.conf import settings
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from access import audit
from access.authentication import caller_of
from access.callers import Caller
from connect import bulkhead
from connect.bulkhead import Shares
from connect.database import BLOCK
from connect.web.query_parameters import After
from connect.web.rest import Framed, Page, Unavailable

BROWSABLE_LIMIT = 100
# What rows need besides is asked for a block at first, so that it comes soon, then for more of them at once.
AT_ONCE = 4  # blocks, at most

T = TypeVar("T")

# Streams never hold all of a process's threads, so that short calls and probes get through.
_streams = Shares(settings.WEB_STREAMS, max(1, settings.WEB_STREAMS // 2))


def answer(
    request: Request,
    fetch: Callable[[int | None], Iterator[T]],
    *,
    limit: int | None,
    to_wire: Callable[[list[T]], list[Any]],
    key: Callable[[T], tuple[Any, ...]],
    look_up: Callable[[list[T]], object] | None = None,
    block_size: int = BLOCK,
    notes_found: bool = False,
) -> HttpResponseBase:
    """The rows that `fetch` gives, at most as many as it is told.

    The question is noted before the rows are read; with `notes_found` after that, by the middleware, together
    with the people that `to_wire` has told access.audit about.

    `to_wire` turns a block of rows into what is sent; `look_up` sees some blocks at once before it, where
    that is cheaper than one by one; `key` is a row's place in the order. An answer of less than a block is
    sent as a whole.
    """
    if limit is None and isinstance(request.accepted_renderer, Page):
        limit = BROWSABLE_LIMIT
    with bulkhead.taken(caller_of(request)):
        rows = fetch(None if limit is None else limit + 1)  # checks the question, and reads nothing yet
        if not notes_found:
            audit.note(request, 200)
        if limit is not None:
            return _page(request, list(rows), limit, to_wire, key)
        block = list(islice(rows, block_size))
        # What the rows need besides is asked for now, while an answer can still be a 503.
        try:
            first = to_wire(block)
        except BaseException:
            _close(rows)
            raise
        if len(block) < block_size:
            return Response(first)
        return _stream(request, rows, first, to_wire, look_up, block_size)


def _page(
    request: Request,
    rows: list[T],
    limit: int,
    to_wire: Callable[[list[T]], list[Any]],
    key: Callable[[T], tuple[Any, ...]],
) -> Response:
    response = Response(to_wire(rows[:limit]))
    if len(rows) > limit:
        query = request.query_params.copy()
        query["limit"] = str(limit)
        query["after"] = After.encode(key(rows[limit - 1]))
        response["Link"] = f'<{request.path}?{urlencode(list(query.lists()), doseq=True)}>; rel="next"'
    return response


def _stream(
    request: Request,
    rows: Iterator[T],
    first: list[Any],
    to_wire: Callable[[list[T]], list[Any]],
    look_up: Callable[[list[T]], object] | None,
    block_size: int,
) -> StreamingHttpResponse:
    renderer = cast("Framed", request.accepted_renderer)  # the browsable page never streams
    if not _streams.take(caller_of(request), 0):
        _close(rows)
        raise Unavailable("Too many long answers are being read. Ask again, or for pages with `limit`.")
    body = _Body(caller_of(request), rows, first, renderer, to_wire, look_up, block_size)
    response = StreamingHttpResponse(body, content_type=_content_type(renderer))
    response["Vary"] = "Accept"
    return response


def _content_type(renderer: Framed) -> str:
    return (
        f"{renderer.media_type}; charset={renderer.charset}" if renderer.charset else str(renderer.media_type)
    )


class _Body(Generic[T]):
    """An iterator with a close that always runs, which a generator that never started does not have."""

    def __init__(
        self,
        caller: Caller | None,
        rows: Iterator[T],
        first: list[Any],
        renderer: Framed,
        to_wire: Callable[[list[T]], list[Any]],
        look_up: Callable[[list[T]], object] | None,
        block_size: int,
    ):
        self._caller = caller
        self._rows = rows
        self._look_up = look_up
        self._block_size = block_size
        self._closed = False
        bulkhead.keep()
        self._chunks = self._write(first, renderer, to_wire)

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def _write(
        self,
        first: list[Any],
        renderer: Framed,
        to_wire: Callable[[list[T]], list[Any]],
    ) -> Generator[bytes, None, None]:
        lead = renderer.opening
        for wired in chain([first], self._wired(to_wire)):
            if wired:
                yield lead + renderer.encode(wired)
                lead = renderer.joint
        # When not one row was left of the blocks, the frame is still to be opened.
        yield renderer.closing if lead is not renderer.opening else renderer.opening + renderer.closing

    def _wired(self, to_wire: Callable[[list[T]], list[Any]]) -> Iterator[list[Any]]:
        """The blocks after the first."""
        blocks = 1
        while True:
            if self._look_up is not None:
                blocks = min(2 * blocks, AT_ONCE)
            if not (rows := list(islice(self._rows, blocks * self._block_size))):
                return
            if self._look_up is not None:
                with bulkhead.used():
                    self._look_up(rows)
            for begin in range(0, len(rows), self._block_size):
                with bulkhead.used():
                    wired = to_wire(rows[begin : begin + self._block_size])
                yield wired

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._chunks.close()
            _close(self._rows)
            _streams.give_back(self._caller)
            bulkhead.give_back(self._caller)


def _close(rows: Iterator[Any]) -> None:
    """Ends the transaction that the rows are read in."""
    if isinstance(rows, Generator):
        rows.close()
