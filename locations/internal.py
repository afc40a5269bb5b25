"""Locations for other processes over HTTP, on /internal/ paths that no proxy route reaches.

`/internal/locations/VERB?question={…}&ping_fields=5`: the verbs of locations.storage, for
locations.http_client only. `ping_fields` is the number of fields of a ping that the client knows. A question
that may be too long for a URL is the body of a POST.

Answers are newline-delimited JSON. Each row is an array of exact values; the last line has the number of
rows, so that the client detects a truncated answer.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import orjson
from django.http.response import HttpResponseBase
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.views import APIView

from access import audit
from access.callers import PROCESSES
from connect.web.rest import RowRenderer
from connect.web.streaming import answer
from locations import internal_codec, storage


class Lines(RowRenderer):
    """Newline-delimited JSON: the rows, then their number."""

    media_type = "application/x-ndjson"
    format = "ndjson"
    charset = None
    separator = b"\n"

    def __init__(self) -> None:
        self.rows = 0

    def encode(self, rows: list[Any]) -> bytes:
        self.rows += len(rows)
        return b"\n".join(map(orjson.dumps, rows))

    @property
    def closing(self) -> bytes:  # type: ignore[override]
        return b'\n{"rows":%d}\n' % self.rows


def _get(**question: Any) -> Iterator[Any]:
    found = storage.get(**question)
    return iter([found] if found else [])


def _newest(**question: Any) -> Iterator[Any]:
    return iter(storage.newest(**question).items())


_VERBS: dict[str, tuple[Callable[..., Iterator[Any]], Callable[[Any], internal_codec.Row]]] = {
    "get": (_get, internal_codec.pack_ping),
    "newest": (_newest, internal_codec.pack_newest),
    "list_between": (storage.list_between, internal_codec.pack_ping),
    "connections": (storage.connections, internal_codec.pack_ping),
    "encounters": (storage.encounters, internal_codec.pack_encounter),
    "days": (storage.days, internal_codec.pack_day),
    "positions": (storage.positions, internal_codec.pack_ping),
    "heat": (storage.heat, internal_codec.pack_heat_cell),
    "visits": (storage.visits, internal_codec.pack_area_visits),
}


class Verb(APIView):
    """The answer of one verb of locations.storage."""

    callers = {"GET": PROCESSES, "POST": PROCESSES}
    renderer_classes = [Lines]
    schema = None  # not part of the public API

    def get(self, request: Request, verb: str) -> HttpResponseBase:
        return self._answer(request, verb, lambda: orjson.loads(request.query_params["question"]))

    def post(self, request: Request, verb: str) -> HttpResponseBase:
        return self._answer(request, verb, lambda: request.data)

    def _answer(self, request: Request, verb: str, packed: Callable[[], Any]) -> HttpResponseBase:
        if verb not in _VERBS:
            raise exceptions.NotFound
        fetch, pack = _VERBS[verb]
        try:
            question = internal_codec.unpack(packed())
            if pack is internal_codec.pack_ping:
                known = request.query_params.get("ping_fields", internal_codec.FIRST_FIELDS)
                pack = partial(internal_codec.pack_ping, fields=int(known))
            rows = fetch(**question)
            if question.get("person_id") is not None:
                audit.set_people(request, [question["person_id"]])
            else:
                audit.set_people(request, question.get("person_ids", ()))
        except (KeyError, ValueError, TypeError, OverflowError) as fault:
            raise exceptions.ParseError(f"Not a question for {verb}: {fault}") from None
        return answer(
            request,
            lambda _: rows,
            limit=None,
            to_wire=lambda block: [pack(row) for row in block],
            key=lambda _: (),
        )
