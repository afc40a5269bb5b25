"""Parsers of client input take linear time, not quadratic."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from connect import wire_format
from connect.middleware import content_type_fault
from connect.web import query_parameters
from locations import pings
from locations.serializers import LocationsQuery

ROUNDS = 3
MEASURABLE_S = 0.002
TEXTS: dict[str, Callable[[int], str]] = {
    "digits that end in a letter": lambda n: "1" * n + "x",
    "digits after a point": lambda n: "1." + "1" * n + "x",
    "digits in the exponent": lambda n: "1e" + "1" * n + "x",
    "many points": lambda n: "1." * (n // 2),
    "one long blank": lambda n: "1" + " " * n + "1",
    "many instants": lambda n: "2020-01-01T00:00" * (n // 16),
    "many lost offsets": lambda n: "2020-01-01T00:00" + " 02:00" * (n // 6) + "x",
    "a long fraction": lambda n: "2020-01-01T00:00:00." + "1" * n + "x",
    "many numbers": lambda n: "1," * (n // 2) + "x",
    "many hyphens": lambda n: "1-" * (n // 2),
    "an open quote": lambda n: 'a/b;x="' + ";" * n,
}
READERS: dict[str, Callable[[str], Any]] = {
    "a number of a query": query_parameters.Number().run_validation,
    "a whole number of a query": query_parameters.StrictInteger().run_validation,
    "a start": query_parameters.RangeBound(is_end=False).run_validation,
    "an end": query_parameters.RangeBound(is_end=True).run_validation,
    "a cursor": query_parameters.Cursor(shape=(int,)).run_validation,
    "a box": LocationsQuery().fields["bbox"].run_validation,
    "a Content-Type": content_type_fault,
    "an instant": wire_format.parse_instant,
    "degrees": lambda text: pings.parse_degrees(text, limit=90),
    "an id of a person": pings.parse_person_id,
    "an id of a location": pings.parse_id,
    "a usual ping": lambda text: pings.parse_fast(
        {"person_id": text, "latitude": text, "longitude": text, "creation_time": text}
    ),
}
QUERY_READERS = {"a number of a query", "a whole number of a query", "a start", "an end", "a cursor", "a box"}
SIZES = [(1_000, 8_000), (625_000, 5_000_000)]  # a request line holds 8 kB, a body 5 MB


def cost(read: Callable[[str], Any], text: str) -> float:
    """CPU seconds of a call: the minimum of ROUNDS; short calls are repeated until measurable."""
    spent = []
    for _ in range(ROUNDS):
        calls, begun = 0, time.process_time()
        while (taken := time.process_time() - begun) < MEASURABLE_S:
            with suppress(Exception):
                read(text)
            calls += 1
        spent.append(taken / calls)
    return min(spent)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("reader", READERS)
def test_parse_time_grows_linearly_with_the_length(reader: str, text: str) -> None:
    read, make = READERS[reader], TEXTS[text]
    for short, long in SIZES[: 1 if reader in QUERY_READERS else 2]:
        # A quadratic reader takes 64 times as long. A reader that only copies the text depends on caches.
        allowed = 32 * max(cost(read, make(short)), cost(str.encode, make(long)))
        assert cost(read, make(long)) < allowed, f"{short} and {long} characters"
