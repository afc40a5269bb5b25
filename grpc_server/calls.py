"""What every call goes through: identity, limits, a thread with a database connection, errors.

The event loop receives and sends; a thread is held only while a call works. A caller without a valid token is
refused before its message is read. Each caller has a share of the threads, and waits for it without a thread.
"""

import asyncio
import contextvars
import logging
import math
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import grpc
from django.conf import settings
from django.db import InterfaceError, OperationalError, connections
from google.protobuf.message import DecodeError, Message

from access import callers
from access.audit import Question
from access.callers import NOTED, Caller, Kind
from connect import request_context
from connect.errors import NeighbourUnavailable, QuestionTooLarge
from grpc_server.converter import in_words
from grpc_server.rate_limits import Rates
from locations.pings import Refused

T = TypeVar("T")

FIRST_MESSAGE_S = 10.0  # from the head of a call to its first message
IDLE_S = 120.0  # between two messages of a stream
PATIENCE_S = 5.0  # for a free place among the long answers
QUESTION_S = 120.0  # the longest statement; a person's own token has PERSON_TIMEOUT_S
OPEN_CALLS = 64  # of one caller at the same time; neighbours have as many as they need
PERSON_PLACES = 2  # of a pool, for one person at the same time
LAST_WORDS_S = 2.0  # to tell a client how its call ended
IDENTITY_THREADS = 4
SMALL_PAGE = 200  # rows

logger = logging.getLogger(__name__)


class Failure(Exception):
    """Ends a call with a status other than OK; after `wait_s` seconds another try may succeed."""

    def __init__(self, code: grpc.StatusCode, details: str, *, wait_s: int | None = None):
        super().__init__(details)
        self.code = code
        self.details = details
        self.wait_s = wait_s


class _Gone(Exception):
    """The client cancelled the call, or takes nothing."""


@dataclass(frozen=True, slots=True)
class Method:
    """One rpc: who may call it, its request's type, and the synchronous function that answers it."""

    name: str
    who: frozenset[Kind]
    request: type[Message]
    behaviour: Callable[[Any, Any], Any]
    sends_many: bool
    answers_many: bool

    @property
    def sends_pings(self) -> bool:
        return Kind.INGEST in self.who


class Calls:
    """Makes handlers of grpc.aio from synchronous functions. All its methods run in the event loop."""

    def __init__(self, *, threads: int, streams: int, rates: Rates, slow_reader_s: float):
        """`streams` of the `threads` are for long answers; the others stay for pings and short answers."""
        self._rates = rates
        self._slow_reader_s = slow_reader_s
        self._identity = ThreadPoolExecutor(IDENTITY_THREADS, "identity")
        self._short = _Pool(threads - streams, "call")
        self._long = _Pool(streams, "answer")
        self._open: Counter[str] = Counter()
        self._lookups = 0  # of tokens that were not valid before
        self._stopping = asyncio.Event()
        self._busy: set[_Work] = set()
        self._changed = asyncio.Condition()

    def handler(self, method: Method) -> grpc.RpcMethodHandler:
        """On the wire a single message is a stream of one; so the handler decides when it is read."""

        async def serve(_: Any, context: Any) -> None:
            try:
                await self._serve(method, context)
            except _Gone:
                await _end(context, Failure(grpc.StatusCode.CANCELLED, "The client takes nothing."))
            except (grpc.aio.AbortError, asyncio.CancelledError):
                raise
            except grpc.aio.BaseError:
                logger.debug("The client is gone.", exc_info=True)
            except Exception as error:  # noqa: BLE001 - every one becomes a status
                await _end(context, _failure(error))

        return grpc.stream_stream_rpc_method_handler(serve)

    # --- one call --------------------------------------------------------------------------------

    async def _serve(self, method: Method, context: Any) -> None:
        metadata = dict(context.invocation_metadata() or ())
        authorization = str(metadata.get("authorization", ""))
        caller = await self._admit(method, context, authorization, str(metadata.get(NOTED, "")))
        told = str(metadata.get(request_context.TIMEOUT_S, ""))
        request_context.begin(
            metadata.get(request_context.REQUEST_ID),
            min(
                context.time_remaining() or math.inf,
                float(told) if request_context.SECONDS_FORMAT.fullmatch(told) else math.inf,
                settings.PERSON_TIMEOUT_S if caller.kind is Kind.PERSON else QUESTION_S,
            ),
        )
        share = caller.share
        if caller.kind is Kind.SERVICE:  # a neighbour says for whom it asks
            share = str(metadata.get(request_context.SHARE, share))
        with self._counted(caller):
            if method.sends_many:
                await self._take_batches(method, context, share, authorization)
                return
            async with _within(FIRST_MESSAGE_S, "No message came."):
                raw = await context.read()
            if raw is grpc.aio.EOF:
                raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "A message is expected.")
            request = _parsed(method, raw)
            if method.answers_many:
                await self._answer_stream(method, context, share, request)
            else:
                async with self._short.place(share):
                    response = await self._work(self._short, lambda: method.behaviour(request, None))
                await context.write(response.SerializeToString())

    async def _admit(self, method: Method, context: Any, authorization: str, noted: str = "") -> Caller:
        loop = asyncio.get_running_loop()
        caller = None
        if settings.ACCESS == "open" or callers.token_in(authorization):
            unknown = callers.cached_caller(authorization) is None
            if unknown and self._lookups:  # of an address that guesses, one token at a time is looked up
                self._count(self._rates.spent(context.peer()))
            self._lookups += unknown
            try:
                identify = partial(
                    callers.identify_authorization, authorization, noted, sends_pings=method.sends_pings
                )
                caller = await loop.run_in_executor(self._identity, identify)
            finally:
                self._lookups -= unknown
        if caller is None:
            self._count(self._rates.of_address(context.peer()))
            raise Failure(
                grpc.StatusCode.UNAUTHENTICATED, "A valid token is needed: authorization: Bearer ..."
            )
        self._count(self._rates.of_caller(caller, authorization, context.peer()))
        if not caller.may(method.who):
            if not method.sends_pings:
                refused = Question(method.name, outcome=grpc.StatusCode.PERMISSION_DENIED.name)
                await loop.run_in_executor(self._identity, callers.note, caller, refused)
            text = f"A caller of the kind {caller.kind} may not make this call."
            raise Failure(grpc.StatusCode.PERMISSION_DENIED, text)
        callers.set_current(caller)
        return caller

    def _count(self, wait_s: int) -> None:
        if wait_s:
            text = f"Too many calls. Expected available in {wait_s} seconds."
            raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, text, wait_s=wait_s)

    @contextmanager
    def _counted(self, caller: Caller) -> Iterator[None]:
        bounded = caller.kind not in (Kind.SERVICE, Kind.OPEN)
        if bounded and self._open[caller.name] >= OPEN_CALLS:
            text = f"{OPEN_CALLS} calls of this token are open. Ask again."
            raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, text, wait_s=1)
        self._open[caller.name] += 1
        try:
            yield
        finally:
            self._open[caller.name] -= 1
            if not self._open[caller.name]:
                del self._open[caller.name]

    async def _take_batches(self, method: Method, context: Any, share: str, authorization: str) -> None:
        """An answer for each batch, in order. Between two batches the call holds no thread."""
        first = True
        while True:
            raw = await self._next_message(context, FIRST_MESSAGE_S if first else IDLE_S)
            if raw is grpc.aio.EOF:
                return
            if not first:  # a token can be revoked in between
                await self._admit(method, context, authorization)
            first = False
            async with self._short.place(share):
                answer = await self._work(self._short, partial(_answered, method, raw))
            await context.write(answer)

    async def _next_message(self, context: Any, within_s: float) -> Any:
        """The client's next message; UNAVAILABLE when the server stops before it comes."""
        reading = asyncio.ensure_future(context.read())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((reading, stopping), timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set():
                text = "The server stops. Send again what it has not answered."
                raise Failure(grpc.StatusCode.UNAVAILABLE, text)
            if not reading.done():
                raise Failure(grpc.StatusCode.DEADLINE_EXCEEDED, f"No message came within {within_s:g} s.")
            return reading.result()
        finally:
            stopping.cancel()
            if not reading.done():
                reading.cancel()

    async def _answer_stream(self, method: Method, context: Any, share: str, request: Any) -> None:
        small = method.name == "ListLocations" and 0 < request.limit <= SMALL_PAGE
        pool = self._short if small else self._long
        sender = _Sender(asyncio.get_running_loop(), context.write, self._slow_reader_s)

        def produce() -> None:
            with closing(method.behaviour(request, None)) as responses:
                for response in responses:
                    sender.send(response.SerializeToString())
            sender.wait()

        async with pool.place(share, patience_s=PATIENCE_S):
            await self._work(pool, produce)

    async def _work(self, pool: "_Pool", work: Callable[[], T]) -> T:
        """In a thread of the pool. When the call is over before it is done, its statement is cancelled."""
        piece = _Work(work)
        run = contextvars.copy_context().run
        loop = asyncio.get_running_loop()
        self._busy.add(piece)
        try:
            return await loop.run_in_executor(pool.threads, run, piece.run)
        except asyncio.CancelledError:
            loop.run_in_executor(self._identity, piece.stop)
            raise
        finally:
            self._busy.discard(piece)
            async with self._changed:
                self._changed.notify_all()

    # --- the end ---------------------------------------------------------------------------------

    async def drain(self, within_s: float) -> bool:
        """Waits for the work in hand; calls that wait for a message end now. False if the time is over."""
        self._stopping.set()
        try:
            async with asyncio.timeout(within_s), self._changed:
                await self._changed.wait_for(lambda: not self._busy)
        except TimeoutError:
            return False
        return True

    def break_off(self) -> list[Awaitable[None]]:
        """Cancels the statements of the work in hand, so that its calls end as UNAVAILABLE."""
        loop = asyncio.get_running_loop()
        return [loop.run_in_executor(self._identity, piece.stop) for piece in self._busy]

    def close(self) -> None:
        """Blocks until all threads have ended."""
        for threads in (self._short.threads, self._long.threads, self._identity):
            threads.shutdown()


class _Pool:
    """Threads, of which each caller has a share; a caller waits for a place without holding a thread."""

    def __init__(self, size: int, name: str):
        self.size = max(1, size)
        self.threads = ThreadPoolExecutor(self.size, name)
        self._places = asyncio.Semaphore(self.size)
        self._shares: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def place(self, name: str, *, patience_s: float | None = None) -> AsyncIterator[None]:
        """For a caller, by the name of its share. RESOURCE_EXHAUSTED when no place is free in time; without
        `patience_s` it waits."""
        share = self._shares.get(name)
        if share is None:
            share = self._shares[name] = asyncio.Semaphore(self._most(name))
        taken: list[asyncio.Semaphore] = []
        try:
            try:
                async with asyncio.timeout(patience_s):
                    for semaphore in (share, self._places):
                        await semaphore.acquire()
                        taken.append(semaphore)
            except TimeoutError:
                text = "Too many long calls at once. Ask again."
                raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, text, wait_s=1) from None
            yield
        finally:
            for semaphore in taken:
                semaphore.release()

    def _most(self, name: str) -> int:
        """The number of threads that one caller may hold at the same time."""
        kind = Kind(name.partition("-")[0])
        if kind in (Kind.SERVICE, Kind.OPEN):
            return self.size
        most = max(1, self.size // 2)
        return min(most, PERSON_PLACES) if kind is Kind.PERSON else most


class _Work:
    """What a thread does for a call, with the thread's own database connection."""

    def __init__(self, work: Callable[[], Any]):
        self._work = work
        self._lock = threading.Lock()
        self._database: Any = None  # while the work goes on
        self._over = False

    def run(self) -> Any:
        database: Any = connections["default"]
        database.close_if_unusable_or_obsolete()
        with self._lock:
            if self._over:
                raise _Gone
            self._database = database
        try:
            return self._work()
        finally:
            with self._lock:
                self._database = None
            if self._over:
                database.close()  # a late cancel must not hit the thread's next call
            else:
                database.close_if_unusable_or_obsolete()

    def stop(self) -> None:
        """Cancels the statement, once: one that begins later has its own timeout. Blocks."""
        with self._lock:
            self._over = True
            driver = None if self._database is None else self._database.connection
            if driver is not None:
                try:
                    driver.cancel()
                except self._database.Database.Error:
                    logger.info("A statement could not be cancelled.", exc_info=True)


class _Sender:
    """Messages from a thread to the client: while one is sent, the next is made."""

    def __init__(self, loop: asyncio.AbstractEventLoop, write: Callable[[bytes], Any], slow_reader_s: float):
        self._loop = loop
        self._write = write
        self._slow_reader_s = slow_reader_s
        self._sending: Future[Any] | None = None

    def send(self, message: bytes) -> None:
        self.wait()
        self._sending = asyncio.run_coroutine_threadsafe(self._write(message), self._loop)

    def wait(self) -> None:
        if self._sending is None:
            return
        try:
            self._sending.result(self._slow_reader_s)
        except TimeoutError:
            self._sending.cancel()
            logger.warning("A reader has taken nothing for %s s: cut off.", self._slow_reader_s)
            raise _Gone from None
        except (CancelledError, asyncio.InvalidStateError, grpc.aio.BaseError) as error:
            raise _Gone from error


# --- messages that cannot be read, errors that have a status -------------------------------------


@asynccontextmanager
async def _within(seconds: float, text: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Failure(grpc.StatusCode.DEADLINE_EXCEEDED, text) from None


def _parsed(method: Method, raw: bytes) -> Any:
    try:
        return method.request.FromString(raw)
    except DecodeError:
        text = "The bytes sent are not the message expected here."
        raise Failure(grpc.StatusCode.INVALID_ARGUMENT, text) from None


def _answered(method: Method, raw: bytes) -> bytes:
    """The one answer to one message of a stream."""
    answer: bytes = method.behaviour(_parsed(method, raw), None).SerializeToString()
    return answer


def _failure(error: Exception) -> Failure:
    if isinstance(error, Failure):
        return error
    if isinstance(error, Refused):
        return Failure(grpc.StatusCode.INVALID_ARGUMENT, in_words(error.errors))
    if isinstance(error, QuestionTooLarge):
        return Failure(grpc.StatusCode.INVALID_ARGUMENT, str(error))
    if isinstance(error, NeighbourUnavailable | OperationalError | InterfaceError):
        logger.warning("Out of reach: %s", error)
        return Failure(
            grpc.StatusCode.UNAVAILABLE, "What this call needs is out of reach. Sending it again is safe."
        )
    logger.error("A call failed.", exc_info=error)
    return Failure(grpc.StatusCode.INTERNAL, "A fault of the server's own.")


async def _end(context: Any, failure: Failure) -> None:
    """Tells the client, unless it is gone or a message that it does not take is in the way."""
    trailing = () if failure.wait_s is None else (("retry-after", str(failure.wait_s)),)
    try:
        async with asyncio.timeout(LAST_WORDS_S):
            await context.abort(failure.code, failure.details, trailing)
    except grpc.aio.AbortError:
        raise
    except grpc.aio.BaseError:
        logger.debug("The client is gone.", exc_info=True)
