"""Thread pools of the gRPC server: shares of callers, cancellable work, sending from a thread."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

import grpc
from django.db import connections

from access.callers import Kind
from grpc_server.statuses import ClientGone, Failure

PERSON_THREADS = 2  # of a pool, for one person at the same time

logger = logging.getLogger(__name__)


class Pool:
    """A bulkhead: each caller has a share of the threads, and waits for a place without holding a thread."""

    def __init__(self, size: int, name: str):
        self.size = max(1, size)
        self.threads = ThreadPoolExecutor(self.size, name)
        self._places = asyncio.Semaphore(self.size)
        self._shares: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def place(self, share_name: str, *, timeout_s: float | None = None) -> AsyncIterator[None]:
        """Holds a place of the share. Raises RESOURCE_EXHAUSTED if none is free within `timeout_s`."""
        share = self._shares.get(share_name)
        if share is None:
            share = self._shares[share_name] = asyncio.Semaphore(self._share_size(share_name))
        acquired: list[asyncio.Semaphore] = []
        try:
            try:
                async with asyncio.timeout(timeout_s):
                    for semaphore in (share, self._places):
                        await semaphore.acquire()
                        acquired.append(semaphore)
            except TimeoutError:
                text = "Too many long calls at once. Ask again."
                raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, text, wait_s=1) from None
            yield
        finally:
            for semaphore in acquired:
                semaphore.release()

    def _share_size(self, share_name: str) -> int:
        kind = Kind(share_name.partition("-")[0])
        if kind in (Kind.SERVICE, Kind.OPEN):
            return self.size
        size = max(1, self.size // 2)
        return min(size, PERSON_THREADS) if kind is Kind.PERSON else size


class Work:
    """A call's function, run in a thread with that thread's database connection."""

    def __init__(self, work: Callable[[], Any]):
        self._work = work
        self._lock = threading.Lock()
        self._database: Any = None  # while the work runs
        self._is_cancelled = False

    def run(self) -> Any:
        database: Any = connections["default"]
        database.close_if_unusable_or_obsolete()
        with self._lock:
            if self._is_cancelled:
                raise ClientGone
            self._database = database
        try:
            return self._work()
        finally:
            with self._lock:
                self._database = None
            if self._is_cancelled:
                database.close()  # a late cancel must not hit the next call of this thread
            else:
                database.close_if_unusable_or_obsolete()

    def cancel(self) -> None:
        """Cancels the running statement. A later statement has its own timeout. Blocks."""
        with self._lock:
            self._is_cancelled = True
            driver = None if self._database is None else self._database.connection
            if driver is not None:
                try:
                    driver.cancel()
                except self._database.Database.Error:
                    logger.info("A statement could not be cancelled.", exc_info=True)


class Sender:
    """Sends messages from a thread to the client. The thread makes one message while the last is sent."""

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
            logger.warning("A client has read nothing for %s s; the call is ended.", self._slow_reader_s)
            raise ClientGone from None
        except (CancelledError, asyncio.InvalidStateError, grpc.aio.BaseError) as error:
            raise ClientGone from error
