"""Health and reflection: services that need no token, so that each call is short and few are open."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

FIRST_MESSAGE_S = 5.0
WATCH_S = 300.0  # a client that watches health for longer asks again
OPEN_CALLS = 200  # at the same time, of all clients; checks of health are not counted


class Bounded(grpc.aio.ServerInterceptor):
    """Bounds the calls of services that any client may call, whichever library answers them."""

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
            request = await _first(context)
            await context.write(await handler.unary_unary(request, context))
            return
        if self._open >= OPEN_CALLS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many calls without a token.")
        self._open += 1
        try:
            async with asyncio.timeout(WATCH_S):
                if handler.unary_stream is not None:
                    await handler.unary_stream(await _first(context), context)
                else:
                    async for response in handler.stream_stream(_messages(context), context):
                        await context.write(response)
        except TimeoutError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"Open for {WATCH_S:g} s. Call again.")
        finally:
            self._open -= 1


async def _first(context: Any) -> Any:
    try:
        async with asyncio.timeout(FIRST_MESSAGE_S):
            request = await context.read()
    except TimeoutError:
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "No message came.")
    if request is grpc.aio.EOF:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "A message is expected.")
    return request


async def _messages(context: Any) -> AsyncIterator[Any]:
    """The client's messages while they come in time."""
    while True:
        try:
            async with asyncio.timeout(FIRST_MESSAGE_S):
                request = await context.read()
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "No message came.")
        if request is grpc.aio.EOF:
            return
        yield request
