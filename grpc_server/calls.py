"""What every call goes through: its place among the others, its database connection, its errors, its end.

An interceptor of the server's. The library gives each call a thread of its pool for as long as it lasts.
"""

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import grpc
from django.db import InterfaceError, OperationalError, connections
from google.protobuf.message import DecodeError, Message

from connect import callers, carried
from connect.callers import READERS, Asking, Kind
from connect.neighbours import NeighbourUnavailable
from grpc_server.messages import in_words
from grpc_server.rates import Rates
from locations.pings import Refused, parse_id

Who = frozenset[Kind] | None  # who may make a call; None: anybody, without a token

SMALL_PAGE = 200  # rows; a message of them waits for no reader
AGAIN_S = 0.2  # between two tries to cancel a statement of a call that is over

logger = logging.getLogger(__name__)


class Failure(Exception):
    """Ends a call with a status other than OK; after `wait_s` seconds it may be otherwise."""

    def __init__(self, code: grpc.StatusCode, details: str, *, wait_s: int | None = None):
        super().__init__(details)
        self.code = code
        self.details = details
        self.wait_s = wait_s

    def end(self, context: Any) -> Any:
        if self.wait_s is not None:
            context.set_trailing_metadata([("retry-after", str(self.wait_s))])
        return context.abort(self.code, self.details)


class Calls(grpc.ServerInterceptor):
    """The calls in hand, but for those to the health service, which must not wait for anything."""

    def __init__(self, *, streams: int, who_may: Mapping[str, frozenset[Kind]], rates: Rates):
        """`who_may` is by a method's full name; one that it does not know is for anybody."""
        self._who_may = who_may
        self._rates = rates
        # Readers, who may be slow, never take what those who send pings need.
        self._readers = threading.BoundedSemaphore(streams)
        self._senders = threading.BoundedSemaphore(streams)
        self._changed = threading.Condition()
        self._open: set[_Call] = set()
        self._stopping = False

    def intercept_service(self, continuation: Callable, details: grpc.HandlerCallDetails) -> Any:
        handler = continuation(details)
        if handler is None or details.method.startswith("/grpc.health."):
            return handler
        reading = partial(_read, handler.request_deserializer)
        wire = {"request_deserializer": reading, "response_serializer": handler.response_serializer}
        who = self._who_may.get(details.method)
        if not handler.response_streaming:
            unary = partial(self._unary, handler.unary_unary, who)
            return grpc.unary_unary_rpc_method_handler(unary, **wire)
        if not handler.request_streaming:
            stream = partial(self._stream, handler.unary_stream, who)
            return grpc.unary_stream_rpc_method_handler(stream, **wire)
        return grpc.stream_stream_rpc_method_handler(
            partial(self._stream, handler.stream_stream, who), **wire
        )

    def drain(self, within_s: float) -> bool:
        """Waits until no call has work in hand; from now on nothing that comes is begun.

        Calls that wait for their client's next message are left open. False when the time did not suffice.
        """
        with self._changed:
            self._stopping = True
            return self._changed.wait_for(lambda: all(call.is_idle for call in self._open), within_s)

    def break_off(self) -> None:
        """Cancels the statements of the work in hand, so that its calls end as UNAVAILABLE."""
        with self._changed:
            busy = [call for call in self._open if not call.is_idle]
        for call in busy:
            call.stop_work()

    def cut_off_slow_readers(self, after_s: float) -> None:
        """Ends the streams whose reader has taken nothing for so long: each holds a snapshot and a thread."""
        latest = time.monotonic() - after_s
        with self._changed:
            slow = [call for call in self._open if call.sending_since and call.sending_since < latest]
        for call in slow:
            logger.warning("A reader has taken nothing for %s s: cut off.", after_s)
            call.context.cancel()

    def _unary(self, behaviour: Callable, who: Who, request: Any, context: Any) -> Any:
        try:
            with self._call(context, who, request):
                return behaviour(_readable(request), context)
        except Exception as error:  # noqa: BLE001 - every one becomes a status
            failure = _failure(error, context)
        return failure.end(context)

    def _stream(
        self, behaviour: Callable, who: Who, request: Any, context: Any
    ) -> Generator[Any, None, None]:
        failure = None
        try:
            # A generator that never starts never ends either: what must be given back is taken in it.
            with self._slot(request), self._call(context, who, request) as call:
                argument = self._messages(call, request) if isinstance(request, Iterator) else request
                with closing(behaviour(_readable(argument), context)) as responses:
                    for response in responses:
                        call.sending_since = time.monotonic()
                        yield response
                        call.sending_since = None
        except Exception as error:  # noqa: BLE001 - every one becomes a status
            failure = _failure(error, context)
        if failure:
            failure.end(context)

    @contextmanager
    def _slot(self, request: Any) -> Iterator[None]:
        """Streams never hold all threads, so that short calls and probes get through. A small page is one."""
        if 0 < getattr(request, "limit", 0) <= SMALL_PAGE:
            yield
            return
        slots = self._senders if isinstance(request, Iterator) else self._readers
        if not slots.acquire(blocking=False):
            text = "Too many long calls at once. Ask again."
            raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, text, wait_s=1)
        try:
            yield
        finally:
            slots.release()

    @contextmanager
    def _call(self, context: Any, who: Who, request: Any) -> Iterator["_Call"]:
        call = _Call(context, who, request)
        self._count(call)
        with self._changed:
            self._open.add(call)
        if not context.add_callback(partial(self._over, call)):
            self._over(call)
            raise Failure(grpc.StatusCode.CANCELLED, "The call was over before it began.")
        carried.begin(
            call.metadata.get(carried.REQUEST_ID), context.time_remaining()
        )  # the context is the call's own
        with call.database_connection():
            call.identify()
            yield call

    def _over(self, call: "_Call") -> None:
        """The last word of a call is sent, or its client is gone."""
        with self._changed:
            self._open.discard(call)
            self._changed.notify_all()
        call.stop_work()

    def _messages(self, call: "_Call", requests: Iterator[Any]) -> Iterator[Any]:
        """What the client sends, message by message, until the server stops."""
        while not self._is_idle(call, idle=True):
            try:
                request = next(requests, None)
            except grpc.RpcError:  # the client is gone
                return
            stopping = self._is_idle(call, idle=False)
            if request is None:
                return
            if stopping:
                break
            self._count(call)
            call.refresh_database()
            call.identify()
            yield _readable(request)
        raise Failure(grpc.StatusCode.UNAVAILABLE, "The server stops. What it has not answered, send again.")

    def _count(self, call: "_Call") -> None:
        """Each call, and each message of one that sends several; before anything is looked up for it."""
        wait_s = self._rates.wait_s(call.metadata.get("authorization", ""), call.context.peer())
        if wait_s:
            text = f"Too many calls. Expected available in {wait_s} seconds."
            raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, text, wait_s=wait_s)

    def _is_idle(self, call: "_Call", *, idle: bool) -> bool:
        """Notes it, and says whether the server stops."""
        with self._changed:
            call.is_idle = idle and not self._stopping
            self._changed.notify_all()
            return self._stopping


class _Call:
    def __init__(self, context: Any, who: Who, request: Any):
        self.context = context
        self._request = request
        self.metadata = dict(context.invocation_metadata())
        self._who = who
        self.is_idle = False  # waits for the client's next message
        self.sending_since: float | None = None
        self._database: Any = connections["default"]  # the thread's own
        self._done = threading.Event()
        self._cancelling = threading.Lock()
        self._cut = False

    def identify(self) -> None:
        """Whose call it is; again for each message, since a token can be revoked in between."""
        if self._who is None:
            return
        caller = callers.by_header(self.metadata.get("authorization", ""), self._asking())
        if caller is None:
            raise Failure(
                grpc.StatusCode.UNAUTHENTICATED, "A valid token is needed: authorization: Bearer ..."
            )
        if not caller.may(self._who):
            text = f"A caller of the kind {caller.kind} may not make this call."
            raise Failure(grpc.StatusCode.PERMISSION_DENIED, text)
        callers.begin(caller)

    def _asking(self) -> Asking | None:
        """What is to be noted of this call; nothing of one that sends pings."""
        if self._who is not READERS:
            return None
        method = type(self._request).__name__.removesuffix("Request")
        identity = parse_id(getattr(self._request, "id", ""))
        person_id = identity[0] if identity else getattr(self._request, "person_id", 0)
        return Asking(method, person_id if person_id > 0 else None)

    def refresh_database(self) -> None:
        """A connection that broke or is old is replaced when it is next used."""
        self._database.close_if_unusable_or_obsolete()

    @contextmanager
    def database_connection(self) -> Iterator[None]:
        self.refresh_database()
        try:
            yield
        finally:
            with self._cancelling:
                self._done.set()
            if self._cut:
                self._database.close()  # a late cancel must not hit the thread's next call
            else:
                self.refresh_database()

    def stop_work(self) -> None:
        """Cancels what the database still does for a call that is over. Does not block."""
        if not self._done.is_set():
            threading.Thread(target=self._cancel_statements, daemon=True).start()

    def _cancel_statements(self) -> None:
        # Again and again, because the next statement may just be on its way.
        while not self._done.is_set():
            with self._cancelling:
                driver = self._database.connection
                if driver is not None and not self._done.is_set():
                    self._cut = True
                    try:
                        driver.cancel()
                    except self._database.Database.Error:
                        logger.info("A statement could not be cancelled.", exc_info=True)
            self._done.wait(AGAIN_S)


# --- messages that cannot be read, errors that have a status -------------------------------------


class _Unreadable:
    """Stands for bytes that are no such message: the library would call that INTERNAL."""


def _read(deserializer: Callable[[bytes], Message], raw: bytes) -> Message | _Unreadable:
    try:
        return deserializer(raw)
    except DecodeError:
        return _Unreadable()


def _readable(request: Any) -> Any:
    if isinstance(request, _Unreadable):
        raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "The bytes sent are not the message expected here.")
    return request


def _failure(error: Exception, context: Any) -> Failure:
    if isinstance(error, Failure):
        return error
    if isinstance(error, Refused):
        return Failure(grpc.StatusCode.INVALID_ARGUMENT, in_words(error.errors))
    if not context.is_active():
        return Failure(grpc.StatusCode.CANCELLED, "Nobody waits for it any more.")
    if isinstance(error, NeighbourUnavailable | OperationalError | InterfaceError):
        logger.warning("Out of reach: %s", error)
        return Failure(
            grpc.StatusCode.UNAVAILABLE, "What this call needs is out of reach. Sending it again is safe."
        )
    logger.error("A call failed.", exc_info=error)
    return Failure(grpc.StatusCode.INTERNAL, "A fault of the server's own.")
