"""Delivers what waits: webhooks side by side, the deliveries of one webhook one after another."""

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from django.db import connection

from connect import neighbours
from connect.errors import NeighbourUnavailable
from webhooks import limits, messages, sender, storage
from webhooks.sender import GONE, Outcome

THREADS = 8  # a slow receiver holds one of them
SLICE_S = 10.0  # then the thread serves another webhook
TIDY_S = 60.0
PAUSE_S = 1.0  # while persons is away

logger = logging.getLogger(__name__)


class Deliveries:
    """The threads of one process. Several processes share the webhooks: each has one at a time."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="webhook")
        self._stopping = threading.Event()
        self._running: dict[int, Future[None]] = {}  # by webhook
        self._tidy_at = self._resume_at = 0.0

    def step(self) -> None:
        """Starts what is due. Raises a database error of a thread; waits while persons is away."""
        for webhook_id, future in [*self._running.items()]:
            if future.done():
                del self._running[webhook_id]
                self._take_result(future)
        if time.monotonic() >= self._tidy_at:
            storage.tidy()
            self._tidy_at = time.monotonic() + TIDY_S
        free = THREADS - len(self._running)
        if free and time.monotonic() >= self._resume_at:
            waiting = [each for each in storage.due() if each not in self._running]
            for webhook_id in waiting[:free]:
                self._running[webhook_id] = self._pool.submit(self._run, webhook_id)

    def _take_result(self, future: Future[None]) -> None:
        try:
            future.result()
        except NeighbourUnavailable as error:
            logger.warning("Waiting %.1f s: %s", PAUSE_S, error)
            self._resume_at = time.monotonic() + PAUSE_S

    def stop(self) -> None:
        """Begins no further attempt."""
        self._stopping.set()

    def close(self) -> None:
        """Waits for the running attempts, which have a deadline."""
        self.stop()
        wait(self._running.values())
        self._pool.shutdown()

    def _run(self, webhook_id: int) -> None:
        try:
            deliver(webhook_id, self._stopping.is_set)
        finally:
            connection.close()  # the next slice may run in another thread


def deliver(webhook_id: int, is_stopping: Callable[[], bool] = lambda: False) -> None:
    """Delivers what waits for one webhook until nothing is due, for at most SLICE_S and the last attempt.

    Does nothing if another thread or process does it. Raises NeighbourUnavailable and database errors; what
    was not delivered then waits.
    """
    with storage.only_process(webhook_id) as is_ours:
        end = time.monotonic() + SLICE_S
        while is_ours and not is_stopping() and time.monotonic() < end:
            found = storage.next_delivery(webhook_id)
            if found is None:
                return
            _attempt(webhook_id, found)


def _attempt(webhook_id: int, delivery: storage.Next) -> None:
    people = neighbours.persons().get_many(delivery.person_ids) if delivery.is_visible else {}
    if len(people) < 2:
        storage.drop(delivery)  # hidden since the message came, or deleted just now
        return
    wire = [people[each].to_wire() for each in delivery.person_ids]
    body = messages.body(delivery.event, delivery.occurred, delivery.content, wire)
    outcome = sender.send(delivery.url, delivery.secret, delivery.message_id, body)
    _record(webhook_id, delivery, outcome)


def _record(webhook_id: int, delivery: storage.Next, outcome: Outcome) -> None:
    if outcome.is_delivered:
        storage.delivered(webhook_id, delivery, outcome.status)
        return
    # Without the reason: the answer of a receiver may repeat names and positions.
    logger.info("Webhook %s, %s: not delivered, status %s", webhook_id, delivery.message_id, outcome.status)
    if outcome.status == GONE:
        storage.gone(webhook_id, delivery, outcome.status, outcome.reason)
    else:
        pause_s = pause_after(delivery.failures)
        storage.failed(webhook_id, delivery, outcome.status, outcome.reason, pause_s=pause_s)


def pause_after(failures: int) -> float:
    """Seconds until the next attempt after one more failure: doubled each time, up to an hour.

    At random from half of it, so that many webhooks of one receiver do not return at the same moment.
    """
    longest = min(limits.FIRST_PAUSE_S * 2 ** min(failures, 30), limits.LONGEST_PAUSE_S)
    return random.uniform(longest / 2, longest)  # noqa: S311 - no secret
