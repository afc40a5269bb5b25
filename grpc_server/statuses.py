"""How a call ends: exceptions of a call, their gRPC status, and sending it to the client."""

import asyncio
import logging
from typing import Any

import grpc
from django.db import InterfaceError, OperationalError

from connect.errors import NeighbourUnavailable, QuestionTooLarge
from grpc_server.converter import error_text
from locations.pings import Refused

STATUS_TIMEOUT_S = 2.0  # to send the status to the client

logger = logging.getLogger(__name__)


class Failure(Exception):
    """Ends a call with a status other than OK; after `wait_s` seconds another try may succeed."""

    def __init__(self, code: grpc.StatusCode, details: str, *, wait_s: int | None = None):
        super().__init__(details)
        self.code = code
        self.details = details
        self.wait_s = wait_s


class ClientGone(Exception):
    """The client has cancelled the call, or does not read."""


def failure_of(error: Exception) -> Failure:
    """Translates an exception to a status; logs what the client did not cause."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, Refused):
        return Failure(grpc.StatusCode.INVALID_ARGUMENT, error_text(error.errors))
    if isinstance(error, QuestionTooLarge):
        return Failure(grpc.StatusCode.INVALID_ARGUMENT, str(error))
    if isinstance(error, NeighbourUnavailable | OperationalError | InterfaceError):
        logger.warning("Out of reach: %s", error)
        return Failure(
            grpc.StatusCode.UNAVAILABLE, "What this call needs is out of reach. Sending it again is safe."
        )
    logger.error("A call failed.", exc_info=error)
    return Failure(grpc.StatusCode.INTERNAL, "Internal server error.")


async def end(context: Any, failure: Failure) -> None:
    """Sends the status to the client, for at most STATUS_TIMEOUT_S: an unread message may block it."""
    trailing = () if failure.wait_s is None else (("retry-after", str(failure.wait_s)),)
    try:
        async with asyncio.timeout(STATUS_TIMEOUT_S):
            await context.abort(failure.code, failure.details, trailing)
    except grpc.aio.AbortError:
        raise
    except grpc.aio.BaseError:
        logger.debug("The client is gone.", exc_info=True)
