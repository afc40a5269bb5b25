"""The context of a call, which it passes to all that it asks: its id, its deadline, and its caller's share.

A web request has to begin its answer in time (connect.asgi), a gRPC call has the deadline that its client
gave it (grpc_server.calls). What it asks of a neighbour or of the database gets what is left of that, so that
no process works on for somebody who has given up. The gRPC server counts what it asks in its caller's share
of threads (grpc_server.calls): a caller gets no more of them by asking through REST.
"""

import logging
import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, replace

from connect.errors import NeighbourUnavailable

# Between processes these are headers over HTTP and metadata over gRPC, which has a deadline of its own.
REQUEST_ID = "x-request-id"
TIMEOUT_S = "x-timeout-s"
SHARE = "x-connect-share"
SECONDS_FORMAT = re.compile(r"[0-9]{1,5}(\.[0-9]{1,6})?", re.ASCII)  # its form


@dataclass(frozen=True, slots=True)
class _Call:
    request_id: str
    until: float | None  # on the clock of time.monotonic
    share: str = ""


_NONE = _Call("-", None)
_current: ContextVar[_Call] = ContextVar("call", default=_NONE)


def begin(request_id: str | None, timeout_s: float | None) -> Token[_Call]:
    """From now on this context is the call's; without a timeout it may take as long as it takes."""
    until = None if timeout_s is None else time.monotonic() + timeout_s
    return _current.set(_Call(request_id or _NONE.request_id, until))


@contextmanager
def call_context(request_id: str | None, timeout_s: float | None) -> Iterator[None]:
    """Only what happens inside belongs to the call."""
    token = begin(request_id, timeout_s)
    try:
        yield
    finally:
        _current.reset(token)


def shorten(timeout_s: float) -> None:
    """The call in hand has at most so long from now on, if it has a deadline at all."""
    if _current.get().until is not None:
        until = time.monotonic() + seconds_left(timeout_s)
        _current.set(replace(_current.get(), until=until))


def end_deadline() -> None:
    """The answer has begun: from now on it may take as long as its reader does."""
    _current.set(replace(_current.get(), until=None))


def set_share(share: str) -> None:
    """Sets the share of threads that the call uses in other processes: callers.Caller.share."""
    _current.set(replace(_current.get(), share=share))


def share() -> str:
    """The share that set_share set; empty outside of a caller's call."""
    return _current.get().share


def request_id() -> str:
    """`-` outside of any call."""
    return _current.get().request_id


def seconds_left(at_most_s: float = math.inf) -> float:
    """How long something may take that must never take longer than `at_most_s`.

    Raises NeighbourUnavailable when nobody waits for the call any more.
    """
    until = _current.get().until
    left = math.inf if until is None else until - time.monotonic()
    if left <= 0:
        raise NeighbourUnavailable("The time for this call is over.")
    return min(left, at_most_s)


class RequestIdFilter(logging.Filter):
    """Gives each line of the log the id of the call that it was written in."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id()
        return True
