"""Limits for health and reflection, which need no token: short calls, and few at the same time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

FIRST_MESSAGE_S = 5.0
WATCH_S = 300.0  # a health watch ends then, and the client starts another
MAX_OPEN_CALLS = 200  # of all clients together; health checks do not count


class TokenlessCallLimits(grpc.aio.ServerInterceptor):
    """Limits calls whose method starts with one of the prefixes. The handlers may come from a library."""

    def __init__(self, prefixes: tuple[str, ...]):
        self._prefixes = prefixes
        self._open = 0

    async def intercept_service(self, continuation: Any, details: grpc.HandlerCallDetails) -> Any:
        handler = await continuation(details)
        if handler is None or not details.method.startswith(self._prefixes):
            return handler

        async def serve(_: Any, context: Any) -> None:
            await self._serve(handler, context)

        return grpc.stream_stream_rpc_method_handler(
            serve, handler.request_deserializer, handler.response_serializer
        )

    async def _serve(self, handler: Any, context: Any) -> None:
        if handler.unary_unary is not None:
            request = await _first_message(context)
            await context.write(await handler.unary_unary(request, context))
            return
        if self._open >= MAX_OPEN_CALLS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many calls without a token.")
        self._open += 1
        try:
            async with asyncio.timeout(WATCH_S):
                if handler.unary_stream is not None:
                    await handler.unary_stream(await _first_message(context), context)
                else:
                    async for response in handler.stream_stream(_messages(context), context):
                        await context.write(response)
        except TimeoutError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"Open for {WATCH_S:g} s. Call again.")
        finally:
            self._open -= 1


async def _first_message(context: Any) -> Any:
    try:
        async with asyncio.timeout(FIRST_MESSAGE_S):
            request = await context.read()
    except TimeoutError:
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "No message came.")
    if request is grpc.aio.EOF:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "A message is expected.")
    return request


async def _messages(context: Any) -> AsyncIterator[Any]:
    """The client's messages; ends the call with DEADLINE_EXCEEDED if one is late."""
    while True:
        try:
            async with asyncio.timeout(FIRST_MESSAGE_S):
                request = await context.read()
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "No message came.")
        if request is grpc.aio.EOF:
            return
        yield request
