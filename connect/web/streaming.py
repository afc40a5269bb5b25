"""Arrays as answers: a page with a `Link` to the next, or everything, streamed in constant memory.

An array is never silently cut: a fault after the first_block byte breaks the connection off, so that a closed
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
from connect.bulkhead import SharedSlots
from connect.database import BLOCK
from connect.web.query_parameters import Cursor
from connect.web.rest import Page, RowRenderer, Unavailable

BROWSABLE_LIMIT = 100
# What rows need besides is asked for a block at first_block, so that it comes soon, then for more of them at once.
PREFETCH_BLOCKS = 4  # blocks, at most

T = TypeVar("T")

# Streams never hold all of a process's threads, so that short calls and probes get through.
_streams = SharedSlots(settings.WEB_STREAMS, max(1, settings.WEB_STREAMS // 2))


def answer(
    request: Request,
    fetch: Callable[[int | None], Iterator[T]],
    *,
    limit: int | None,
    to_wire: Callable[[list[T]], list[Any]],
    key: Callable[[T], tuple[Any, ...]],
    prefetch: Callable[[list[T]], object] | None = None,
    block_size: int = BLOCK,
    audits_after_read: bool = False,
) -> HttpResponseBase:
    """The rows that `fetch` gives, at most as many as it is told.

    The question is noted before the rows are read; with `audits_after_read` after that, by the middleware, together
    with the people that `to_wire` has told access.audit about.

    `to_wire` turns a block of rows into what is sent; `prefetch` sees some blocks at once before it, where
    that is cheaper than one by one; `key` is a row's place in the order. An answer of less than a block is
    sent as a whole.
    """
    if limit is None and isinstance(request.accepted_renderer, Page):
        limit = BROWSABLE_LIMIT
    with bulkhead.slot(caller_of(request)):
        rows = fetch(None if limit is None else limit + 1)  # checks the question, and reads nothing yet
        if not audits_after_read:
            audit.note(request, 200)
        if limit is not None:
            return _page(request, list(rows), limit, to_wire, key)
        block = list(islice(rows, block_size))
        # What the rows need besides is asked for now, while an answer can still be a 503.
        try:
            first_block = to_wire(block)
        except BaseException:
            _close(rows)
            raise
        if len(block) < block_size:
            return Response(first_block)
        return _stream(request, rows, first_block, to_wire, prefetch, block_size)


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
        query["after"] = Cursor.encode(key(rows[limit - 1]))
        response["Link"] = f'<{request.path}?{urlencode(list(query.lists()), doseq=True)}>; rel="next"'
    return response


def _stream(
    request: Request,
    rows: Iterator[T],
    first_block: list[Any],
    to_wire: Callable[[list[T]], list[Any]],
    prefetch: Callable[[list[T]], object] | None,
    block_size: int,
) -> StreamingHttpResponse:
    renderer = cast("RowRenderer", request.accepted_renderer)  # the browsable page never streams
    if not _streams.acquire(caller_of(request), 0):
        _close(rows)
        raise Unavailable("Too many long answers are being read. Ask again, or for pages with `limit`.")
    body = _Body(caller_of(request), rows, first_block, renderer, to_wire, prefetch, block_size)
    response = StreamingHttpResponse(body, content_type=_content_type(renderer))
    response["Vary"] = "Accept"
    return response


def _content_type(renderer: RowRenderer) -> str:
    return (
        f"{renderer.media_type}; charset={renderer.charset}" if renderer.charset else str(renderer.media_type)
    )


class _Body(Generic[T]):
    """An iterator with a close that always runs, which a generator that never started does not have."""

    def __init__(
        self,
        caller: Caller | None,
        rows: Iterator[T],
        first_block: list[Any],
        renderer: RowRenderer,
        to_wire: Callable[[list[T]], list[Any]],
        prefetch: Callable[[list[T]], object] | None,
        block_size: int,
    ):
        self._caller = caller
        self._rows = rows
        self._prefetch = prefetch
        self._block_size = block_size
        self._closed = False
        bulkhead.detach_slot()
        self._chunks = self._write(first_block, renderer, to_wire)

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def _write(
        self,
        first_block: list[Any],
        renderer: RowRenderer,
        to_wire: Callable[[list[T]], list[Any]],
    ) -> Generator[bytes, None, None]:
        prefix = renderer.opening
        for block in chain([first_block], self._converted_blocks(to_wire)):
            if block:
                yield prefix + renderer.encode(block)
                prefix = renderer.separator
        # When not one row was left of the blocks, the frame is still to be opened.
        yield renderer.closing if prefix is not renderer.opening else renderer.opening + renderer.closing

    def _converted_blocks(self, to_wire: Callable[[list[T]], list[Any]]) -> Iterator[list[Any]]:
        """The blocks after the first_block."""
        blocks = 1
        while True:
            if self._prefetch is not None:
                blocks = min(2 * blocks, PREFETCH_BLOCKS)
            if not (rows := list(islice(self._rows, blocks * self._block_size))):
                return
            if self._prefetch is not None:
                with bulkhead.reuse_slot():
                    self._prefetch(rows)
            for begin in range(0, len(rows), self._block_size):
                with bulkhead.reuse_slot():
                    block = to_wire(rows[begin : begin + self._block_size])
                yield block

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._chunks.close()
            _close(self._rows)
            _streams.release(self._caller)
            bulkhead.release(self._caller)


def _close(rows: Iterator[Any]) -> None:
    """Ends the transaction that the rows are read in."""
    if isinstance(rows, Generator):
        rows.close()
