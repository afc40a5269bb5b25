"""A stream that was refused costs no query when it is asked for again while all slots are taken."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from django.conf import settings
from django.http.response import HttpResponseBase
from django.test import RequestFactory
from rest_framework.request import Request

from access.callers import Caller, Kind
from connect.web import streaming
from connect.web.rest import JsonRenderer, Unavailable

BLOCK, ROWS = 5, 12


class Asked:
    """A question with more rows than one block. It counts how often its rows were fetched."""

    def __init__(self, path: str, caller: Caller | None = None, *, rows: int = ROWS) -> None:
        self.request = Request(RequestFactory().get(path))
        self.request.auth = caller
        self.rows = rows
        self.request.accepted_renderer = JsonRenderer()
        self.fetched = 0

    def answer(self) -> HttpResponseBase:
        def fetch(_: int | None) -> Iterator[int]:
            self.fetched += 1
            return iter(range(self.rows))

        return streaming.answer(
            self.request,
            fetch,
            limit=None,
            to_wire=list,
            key=lambda row: (row,),
            block_size=BLOCK,
            audits_after_read=True,
        )


@contextmanager
def all_slots_taken() -> Iterator[None]:
    with ExitStack() as held:
        for _ in range(settings.WEB_STREAMS):
            assert streaming._streams.acquire(None, 0)
            held.callback(streaming._streams.release, None)
        yield


def test_a_refused_stream_costs_no_query_until_a_slot_is_free() -> None:
    asked, other = Asked("/api/locations/many"), Asked("/api/locations/others")
    with all_slots_taken():
        for _ in range(3):
            with pytest.raises(Unavailable, match="Too many long responses"):
                asked.answer()
        assert asked.fetched == 1
        with pytest.raises(Unavailable):
            other.answer()
        assert other.fetched == 1  # it may be a short answer
    response = asked.answer()
    assert b"".join(response) == b"[0,1,2,3,4,5,6,7,8,9,10,11]"
    response.close()
    assert asked.fetched == 2


def test_a_refused_stream_of_a_process_does_not_refuse_the_short_answers_of_its_clients() -> None:
    process = Caller(Kind.SERVICE, "web")
    long, short = (Asked("/internal/locations/list_between", process, rows=rows) for rows in (ROWS, 1))
    with all_slots_taken():
        with pytest.raises(Unavailable):
            long.answer()
        assert short.answer().status_code == 200
        with pytest.raises(Unavailable):
            long.answer()
    assert (long.fetched, short.fetched) == (2, 1)
