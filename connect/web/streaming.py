"""Array responses: one page with a `Link` to the next, or all rows, streamed in constant memory.

An array is never silently truncated: an error after the first byte closes the connection with the array open,
so a closed array is complete.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
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
from access.callers import Caller, Kind
from connect import bulkhead
from connect.bulkhead import SharedSlots
from connect.database import BLOCK
from connect.web.query_parameters import Cursor
from connect.web.rest import Page, RowRenderer, Unavailable

BROWSABLE_LIMIT = 100
PREFETCH_BLOCKS = 4  # max blocks per prefetch call; the first calls take fewer, for a fast start

T = TypeVar("T")

# Bulkhead: streams never use all threads of a process, so short calls and probes still get one.
_streams = SharedSlots(settings.WEB_STREAMS, max(1, settings.WEB_STREAMS // 2))
# Whether a response is a stream is known only after its first block was read. A caller whose stream was
# refused and who asks again and again would keep the database busy with first blocks that nobody gets.
# Processes are left out: one path serves the questions of all their clients, and the process that a client
# asks has these rules for that client.
REMEMBERED_S = 10.0
REMEMBERED = 1000  # the oldest refusal is forgotten first
_refused: dict[tuple[str, str], float] = {}  # caller and path -> when its stream was refused


def answer(
    request: Request,
    fetch: Callable[[int | None], Iterator[T]],
    *,
    limit: int | None,
    to_wire: Callable[[list[T]], list[Any]],
    key: Callable[[T], tuple[Any, ...]] | None,
    prefetch: Callable[[list[T]], object] | None = None,
    block_size: int = BLOCK,
    audits_after_read: bool = False,
) -> HttpResponseBase:
    """A response with the rows of `fetch`, which takes the maximum number of rows or None.

    The call is written to the audit log before the rows are read. With `audits_after_read` the middleware
    writes it afterwards, with the people that `to_wire` has passed to access.audit.

    `to_wire` converts a block of rows for the renderer. `prefetch` runs before it on several blocks together,
    for lookups that are cheaper in bulk. `key` is the sort key of a row, or None for a path without pages.
    Fewer rows than one block are sent without streaming.
    """
    if limit is None and isinstance(request.accepted_renderer, Page):
        limit = BROWSABLE_LIMIT
    if limit is None and _was_refused(request) and not _streams.has_room(caller_of(request)):
        raise _too_many_streams()
    with bulkhead.slot(caller_of(request)):
        rows = fetch(None if limit is None else limit + 1)  # validates the query; reads no rows yet
        if not audits_after_read:
            audit.note(request, 200)
        if limit is not None:
            page = list(islice(rows, limit + 1))
            _close(rows)
            return _page(request, page, limit, to_wire, key)
        block = list(islice(rows, block_size))
        # The lookups of the first block happen now, while the status can still be 503.
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
    key: Callable[[T], tuple[Any, ...]] | None,
) -> Response:
    response = Response(to_wire(rows[:limit]))
    if len(rows) > limit and key is not None:
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
        _remember_refusal(request)
        raise _too_many_streams()
    body = _Body(caller_of(request), rows, first_block, renderer, to_wire, prefetch, block_size)
    response = StreamingHttpResponse(body, content_type=_content_type(renderer))
    response["Vary"] = "Accept"
    return response


def _too_many_streams() -> Unavailable:
    return Unavailable("Too many long responses are being streamed. Try again, or use pages with `limit`.")


def _remember_refusal(request: Request) -> None:
    caller = caller_of(request)
    if caller is not None and caller.kind is Kind.SERVICE:
        return
    key = _key_of(request)
    _refused.pop(key, None)  # the new entry is the last of the dict
    _refused[key] = time.monotonic()
    while len(_refused) > REMEMBERED:
        with suppress(StopIteration, KeyError, RuntimeError):  # another thread removes entries, too
            del _refused[next(iter(_refused))]


def _was_refused(request: Request) -> bool:
    return _refused.get(_key_of(request), -REMEMBERED_S) + REMEMBERED_S > time.monotonic()


def _key_of(request: Request) -> tuple[str, str]:
    caller = caller_of(request)
    return "" if caller is None else caller.name, request.path


def _content_type(renderer: RowRenderer) -> str:
    return (
        f"{renderer.media_type}; charset={renderer.charset}" if renderer.charset else str(renderer.media_type)
    )


class _Body(Generic[T]):
    """An iterator whose close() always runs. A generator that never started skips its `finally`."""

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
        # If no block had rows, the opening has not been sent yet.
        yield renderer.closing if prefix is not renderer.opening else renderer.opening + renderer.closing

    def _converted_blocks(self, to_wire: Callable[[list[T]], list[Any]]) -> Iterator[list[Any]]:
        """The blocks after the first, converted."""
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
    """Ends the transaction of the rows."""
    if isinstance(rows, Generator):
        rows.close()
