"""The context of a call: its request id, its deadline, and the thread share of its caller.

A web request must begin its response before the deadline (connect.asgi); a gRPC call has the deadline of its
client (grpc_server.calls). Calls to a neighbour or to the database get the remaining time, so that no process
works for a client that has given up. The gRPC server counts the calls of a web process in the share of the
original caller, who therefore gets no more threads through REST.
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

# HTTP headers or gRPC metadata between processes.
REQUEST_ID = "x-request-id"
TIMEOUT_S = "x-timeout-s"
SHARE = "x-connect-share"
SECONDS_FORMAT = re.compile(r"[0-9]{1,5}(\.[0-9]{1,6})?", re.ASCII)  # of x-timeout-s


@dataclass(frozen=True, slots=True)
class _Call:
    request_id: str
    deadline: float | None  # of time.monotonic()
    share: str = ""


_NONE = _Call("-", None)
_current: ContextVar[_Call] = ContextVar("call", default=_NONE)


def begin(request_id: str | None, timeout_s: float | None) -> Token[_Call]:
    """Starts a call in this context. Without a timeout it has no deadline."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    return _current.set(_Call(request_id or _NONE.request_id, deadline))


@contextmanager
def call_context(request_id: str | None, timeout_s: float | None) -> Iterator[None]:
    """A call that lasts as long as the `with` block."""
    token = begin(request_id, timeout_s)
    try:
        yield
    finally:
        _current.reset(token)


def shorten(timeout_s: float) -> None:
    """Moves the deadline of the current call, if it has one, to at most `timeout_s` from now."""
    if _current.get().deadline is not None:
        deadline = time.monotonic() + seconds_left(timeout_s)
        _current.set(replace(_current.get(), deadline=deadline))


def end_deadline() -> None:
    """Removes the deadline, once the response has begun; a stream lasts as long as its reader."""
    _current.set(replace(_current.get(), deadline=None))


def set_share(share: str) -> None:
    """Sets the thread share that the call uses in other processes (callers.Caller.share)."""
    _current.set(replace(_current.get(), share=share))


def share() -> str:
    """The value of set_share; empty by default."""
    return _current.get().share


def request_id() -> str:
    """The id of the current call; `-` outside of a call."""
    return _current.get().request_id


def seconds_left(at_most_s: float = math.inf) -> float:
    """The seconds until the deadline, at most `at_most_s`.

    Raises NeighbourUnavailable if the deadline has passed.
    """
    deadline = _current.get().deadline
    left = math.inf if deadline is None else deadline - time.monotonic()
    if left <= 0:
        raise NeighbourUnavailable("The deadline of this call has passed.")
    return min(left, at_most_s)


class RequestIdFilter(logging.Filter):
    """Adds the request id of the current call to each log record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id()
        return True
