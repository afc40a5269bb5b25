"""The path of every call: identity, limits, a thread with a database connection, status.

The event loop receives and sends; a call holds a thread only while it works. A caller without a valid token
is refused before its message is read.
"""

import asyncio
import contextvars
import logging
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import grpc
from django.conf import settings
from google.protobuf.message import DecodeError, Message

from access import callers
from access.audit import Question
from access.callers import NOTED, Caller, Kind
from connect import request_context
from grpc_server.rate_limits import RateLimits
from grpc_server.statuses import ClientGone, Failure, end, failure_of
from grpc_server.thread_pools import Pool, Sender, Work

T = TypeVar("T")

FIRST_MESSAGE_S = 10.0  # from the headers of a call to its first message
IDLE_S = 120.0  # between two messages of a stream
PLACE_TIMEOUT_S = 5.0  # for a thread of a list or question
MAX_DEADLINE_S = 120.0  # a person's own token has PERSON_TIMEOUT_S
MAX_OPEN_CALLS = 64  # of one caller at the same time; neighbours have no limit
IDENTITY_THREADS = 4  # for tokens that are cached
LOOKUP_THREADS = 2  # for tokens that are not cached
# A slow reader of a list keeps its thread, but none that questions need.
LISTS = {"ListLocations", "FindConnections", "ListPositions", "ListHeat"}
SMALL_PAGE = 200  # rows; a page of that size counts as a short answer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Method:
    """One rpc. `implementation` is synchronous; if `receives_batches`, it answers one batch."""

    name: str
    allowed_kinds: frozenset[Kind]
    request: type[Message]
    implementation: Callable[[Any, Any], Any]
    receives_batches: bool
    streams_answers: bool

    @property
    def sends_pings(self) -> bool:
        return Kind.INGEST in self.allowed_kinds

    @property
    def is_public(self) -> bool:
        return Kind.SERVICE not in self.allowed_kinds


class Calls:
    """Makes grpc.aio handlers from synchronous functions. All methods run in the event loop."""

    def __init__(
        self, *, threads: int, streams: int, questions: int, rate_limits: RateLimits, slow_reader_s: float
    ):
        """`streams` of the `threads` send lists, `questions` answer questions, the rest short calls."""
        self._rate_limits = rate_limits
        self._slow_reader_s = slow_reader_s
        self._identity = ThreadPoolExecutor(IDENTITY_THREADS, "identity")
        self._lookup = ThreadPoolExecutor(LOOKUP_THREADS, "lookup")
        self._short = Pool(threads - streams - questions, "call")
        self._streams = Pool(streams, "stream")
        self._questions = Pool(questions, "question")
        self._open: Counter[str] = Counter()
        self._lookups: Counter[str] = Counter()  # running lookups by connection
        self._stopping = asyncio.Event()
        self._running: set[Work] = set()
        self._finished = asyncio.Condition()

    def handler(self, method: Method) -> grpc.RpcMethodHandler:
        """A stream-stream handler, so that it decides when to read. On the wire one message is a stream."""

        async def serve(_: Any, context: Any) -> None:
            try:
                await self._serve(method, context)
            except ClientGone:
                await end(context, Failure(grpc.StatusCode.CANCELLED, "The client does not read."))
            except (grpc.aio.AbortError, asyncio.CancelledError):
                raise
            except grpc.aio.BaseError:
                logger.debug("The client is gone.", exc_info=True)
            except Exception as error:  # noqa: BLE001 - every exception becomes a status
                await end(context, failure_of(error))

        return grpc.stream_stream_rpc_method_handler(serve)

    # --- one call --------------------------------------------------------------------------------

    async def _serve(self, method: Method, context: Any) -> None:
        metadata = dict(context.invocation_metadata() or ())
        authorization = str(metadata.get("authorization", ""))
        noted = "" if method.is_public else str(metadata.get(NOTED, ""))
        caller = await self._admit(method, context, authorization, noted)
        announced = str(metadata.get(request_context.TIMEOUT_S, ""))
        request_context.begin(
            metadata.get(request_context.REQUEST_ID),
            min(
                context.time_remaining() or math.inf,
                float(announced) if request_context.SECONDS_FORMAT.fullmatch(announced) else math.inf,
                settings.PERSON_TIMEOUT_S if caller.kind is Kind.PERSON else MAX_DEADLINE_S,
            ),
        )
        share = caller.share
        if caller.kind is Kind.SERVICE:  # a neighbour passes on the share of its caller
            share = str(metadata.get(request_context.SHARE, share))
        self._check_open(caller)
        with _counted(self._open, caller.name):
            if method.receives_batches:
                await self._answer_batches(method, context, share, authorization)
                return
            async with _timeout(FIRST_MESSAGE_S, "No message came."):
                raw = await context.read()
            if raw is grpc.aio.EOF:
                raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "A message is expected.")
            request = _parse(method, raw)
            if method.streams_answers:
                await self._answer_stream(method, context, share, request)
            else:
                async with self._short.place(share):
                    response = await self._run(self._short, lambda: method.implementation(request, None))
                await context.write(response.SerializeToString())

    async def _admit(self, method: Method, context: Any, authorization: str, noted: str = "") -> Caller:
        loop = asyncio.get_running_loop()
        identify = partial(
            callers.identify_authorization, authorization, noted, sends_pings=method.sends_pings
        )
        caller = None
        if settings.ACCESS == "open" or callers.cached_caller(authorization) is not None:
            caller = await loop.run_in_executor(self._identity, identify)
        elif callers.token_in(authorization):
            if self._lookups[context.peer()]:  # a connection over its limit has one lookup at a time
                self._check_rate(self._rate_limits.connection_wait_s(context.peer()))
            with _counted(self._lookups, context.peer()):
                caller = await loop.run_in_executor(self._lookup, identify)
        if caller is None:
            self._check_rate(self._rate_limits.hit_connection(context.peer()))
            raise Failure(
                grpc.StatusCode.UNAUTHENTICATED, "A valid token is needed: authorization: Bearer ..."
            )
        if method.is_public or caller.kind is not Kind.SERVICE:  # a neighbour's clients have their own limits
            self._check_rate(self._rate_limits.hit_caller(caller.name))
        if not caller.may(method.allowed_kinds):
            if not method.sends_pings:
                refused = Question(method.name, outcome=grpc.StatusCode.PERMISSION_DENIED.name)
                await loop.run_in_executor(self._identity, callers.note, caller, refused)
            text = f"A caller of the kind {caller.kind} may not make this call."
            raise Failure(grpc.StatusCode.PERMISSION_DENIED, text)
        callers.set_current(caller)
        return caller

    def _check_rate(self, wait_s: int) -> None:
        if wait_s:
            text = f"Too many calls. Expected available in {wait_s} seconds."
            raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, text, wait_s=wait_s)

    def _check_open(self, caller: Caller) -> None:
        bounded = caller.kind not in (Kind.SERVICE, Kind.OPEN)
        if bounded and self._open[caller.name] >= MAX_OPEN_CALLS:
            text = f"{MAX_OPEN_CALLS} calls of this token are open. Ask again."
            raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, text, wait_s=1)

    async def _answer_batches(self, method: Method, context: Any, share: str, authorization: str) -> None:
        """Answers each batch in order. Between two batches the call holds no thread."""
        first = True
        while True:
            raw = await self._next_message(context, FIRST_MESSAGE_S if first else IDLE_S)
            if raw is grpc.aio.EOF:
                return
            if not first:  # the token may be revoked meanwhile
                await self._admit(method, context, authorization)
            first = False
            async with self._short.place(share):
                answer = await self._run(self._short, partial(_answer_one, method, raw))
            await context.write(answer)

    async def _next_message(self, context: Any, within_s: float) -> Any:
        """The client's next message; raises UNAVAILABLE if the server stops first."""
        reading = asyncio.ensure_future(context.read())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((reading, stopping), timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set():
                text = "The server stops. Send the unanswered batches again."
                raise Failure(grpc.StatusCode.UNAVAILABLE, text)
            if not reading.done():
                raise Failure(grpc.StatusCode.DEADLINE_EXCEEDED, f"No message came within {within_s:g} s.")
            return reading.result()
        finally:
            stopping.cancel()
            if not reading.done():
                reading.cancel()

    async def _answer_stream(self, method: Method, context: Any, share: str, request: Any) -> None:
        pool = self._questions
        if method.name in LISTS:
            pool = self._short if 0 < getattr(request, "limit", 0) <= SMALL_PAGE else self._streams
        sender = Sender(asyncio.get_running_loop(), context.write, self._slow_reader_s)

        def produce() -> None:
            with closing(method.implementation(request, None)) as responses:
                for response in responses:
                    sender.send(response.SerializeToString())
            sender.wait()

        async with pool.place(share, timeout_s=PLACE_TIMEOUT_S):
            await self._run(pool, produce)

    async def _run(self, pool: Pool, function: Callable[[], T]) -> T:
        """Runs in a thread of the pool. If the call ends first, its database statement is cancelled."""
        work = Work(function)
        run = contextvars.copy_context().run
        loop = asyncio.get_running_loop()
        self._running.add(work)
        try:
            return await loop.run_in_executor(pool.threads, run, work.run)
        except asyncio.CancelledError:
            loop.run_in_executor(self._identity, work.cancel)
            raise
        finally:
            self._running.discard(work)
            async with self._finished:
                self._finished.notify_all()

    # --- shutdown --------------------------------------------------------------------------------

    async def drain(self, within_s: float) -> bool:
        """Waits for running work, and ends calls that wait for a message. False after a timeout."""
        self._stopping.set()
        try:
            async with asyncio.timeout(within_s), self._finished:
                await self._finished.wait_for(lambda: not self._running)
        except TimeoutError:
            return False
        return True

    def cancel_running(self) -> list[Awaitable[None]]:
        """Cancels the database statements of running work; its calls end as UNAVAILABLE."""
        loop = asyncio.get_running_loop()
        return [loop.run_in_executor(self._identity, work.cancel) for work in self._running]

    def close(self) -> None:
        """Waits for all threads."""
        pools = (self._short.threads, self._streams.threads, self._questions.threads)
        for threads in (*pools, self._identity, self._lookup):
            threads.shutdown()


@contextmanager
def _counted(counter: Counter[str], key: str) -> Iterator[None]:
    counter[key] += 1
    try:
        yield
    finally:
        counter[key] -= 1
        if not counter[key]:
            del counter[key]


# --- messages ------------------------------------------------------------------------------------


@asynccontextmanager
async def _timeout(seconds: float, text: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Failure(grpc.StatusCode.DEADLINE_EXCEEDED, text) from None


def _parse(method: Method, raw: bytes) -> Any:
    try:
        return method.request.FromString(raw)
    except DecodeError:
        text = "The bytes sent are not a message of the expected type."
        raise Failure(grpc.StatusCode.INVALID_ARGUMENT, text) from None


def _answer_one(method: Method, raw: bytes) -> bytes:
    """Answers one message of a stream."""
    answer: bytes = method.implementation(_parse(method, raw), None).SerializeToString()
    return answer
