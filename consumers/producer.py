"""Implements PINGS_URL=kafka:// (connect.neighbours): sends pings to the topic.

`submit` returns once all in-sync replicas have the pings. It raises NeighbourUnavailable if the broker is
unavailable, or the persons service is and an id is not cached. Part of the batch may be stored then; sending
it again is safe.
"""

import asyncio
import atexit
import contextlib
import logging
import os
import threading
import time
from collections.abc import Sequence
from functools import cache, partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient
from django.conf import settings

from connect import bulkhead, request_context
from connect.errors import NeighbourUnavailable
from consumers import topic
from consumers.person_cache import PersonCache
from locations.pings import MAX_BATCH, Ping, unknown_person
from locations.storage import MAX_ID, Receipt

# A thread that waits longer than this takes a place of the bulkhead, so that an unavailable broker cannot
# hold all threads of a process. The first batch to a broker that has just started takes a second.
FAST_WAIT_S = 2.0
POLL_TIMEOUT_S = 0.2
HEALTH_TIMEOUT_S = 2.0
BUFFER_RETRY_S = 0.005
POLLING_THREAD = "delivery reports"

CONFIG = {
    "acks": "all",
    "enable.idempotence": True,
    # With more, librdkafka takes the success of a later request for the success of an earlier, failed one
    # (confluentinc/librdkafka#2501). A broker accepts any first sequence number from a producer that it does
    # not know, as on a new partition, so pings would be acknowledged and lost. Cost: docs/decisions/0002.
    "max.in.flight": 1,
    # The partitioner of Java clients, so that other producers use the same partition for a person.
    "partitioner": "murmur2_random",
    # The smallest on the wire and on disk, without a measurable cost: docs/decisions/0002.
    "compression.type": "zstd",
    "message.max.bytes": topic.MAX_BATCH_BYTES - 16 * 1024,  # a batch before compression
    # Callers already send batches; a single ping must not wait.
    "linger.ms": 0,
    # Ten batches of the largest size. Further batches wait for room, then fail.
    "queue.buffering.max.messages": 10 * MAX_BATCH,
    "queue.buffering.max.kbytes": 32 * 1024,
}

logger = logging.getLogger(__name__)
person_cache = PersonCache()


def submit(pings: Sequence[Ping]) -> Receipt:
    """Sends pings, waiting once per batch for at most KAFKA_TIMEOUT_S. Idempotent.

    Pings of unknown persons are refused. `stored` is None: it is not known yet how many are new.
    """
    if not pings:
        return Receipt(stored=None)
    refused = []
    for first in range(0, len(pings), MAX_BATCH):
        batch = pings[first : first + MAX_BATCH]
        persons = person_cache.existing({each.person_id for each in batch if 0 < each.person_id <= MAX_ID})
        good = [each for each in batch if each.person_id in persons]
        if len(good) < len(batch):
            refused += [
                unknown_person(first + index, each.person_id)
                for index, each in enumerate(batch)
                if each.person_id not in persons
            ]
        if good:
            _producer_for(topic.brokers()).send(good)
    return Receipt(None, refused)


def can_submit_at_once(ping: Ping) -> bool:
    """Whether it is known, without asking, that the person exists."""
    return 0 < ping.person_id <= MAX_ID and person_cache.is_known(ping.person_id)


async def submit_at_once(ping: Ping) -> bool:
    """Sends one ping without blocking the event loop, and awaits its acknowledgement.

    Only for pings that can_submit_at_once. False, and nothing is sent, if the send buffer is full. Raises
    NeighbourUnavailable.
    """
    acknowledged = _producer_for(topic.brokers()).send_soon(ping)
    if acknowledged is None:
        return False
    await acknowledged
    return True


def is_alive(_url: str) -> bool:
    """Whether the brokers answer and have the topic.

    Uses an admin client, because a process that only watches the topic has no permission to write.
    """
    try:
        return bool(
            topic.partitions_of(_admin_client(os.getpid(), topic.brokers()), timeout_s=HEALTH_TIMEOUT_S)
        )
    except NeighbourUnavailable:
        return False


@cache
def _admin_client(_pid: int, _brokers: str) -> AdminClient:
    """One per process: a Kafka client does not survive a fork."""
    return topic.admin()


# --- producers: one per process and brokers -------------------------------------------------------


class _DeliveryReports:
    """Collects the delivery reports of one batch: `complete` is set after the last, `error` is the first."""

    def __init__(self, count: int):
        self._missing = count
        self.error: KafkaError | None = None
        self.complete = threading.Event()

    def take(self, error: KafkaError | None, _message: Message) -> None:
        """Called only by the polling thread."""
        self._missing -= 1
        self.error = self.error or error
        if not self._missing:
            self.complete.set()


class _PollingProducer:
    """A producer with a thread that polls for its delivery reports."""

    def __init__(self, brokers: str):
        self._brokers = brokers
        self._pid = os.getpid()
        timeout_ms = int(settings.KAFKA_TIMEOUT_S * 1000)
        config = topic.client_config() | CONFIG | {"message.timeout.ms": timeout_ms}
        self._producer = Producer(config)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, name=POLLING_THREAD, daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def send(self, pings: Sequence[Ping]) -> None:
        """Blocks until the brokers have acknowledged all pings; raises NeighbourUnavailable."""
        deadline = time.monotonic() + request_context.seconds_left(settings.KAFKA_TIMEOUT_S)
        reports = _DeliveryReports(len(pings))
        produce = partial(self._producer.produce, settings.KAFKA_TOPIC, on_delivery=reports.take)
        for ping in pings:
            key, value = topic.encode(ping)
            while not self._enqueue(produce, key, value):
                if time.monotonic() > deadline:
                    raise NeighbourUnavailable(f"{self._brokers}: the send buffer stays full.")
                time.sleep(BUFFER_RETRY_S)
        if not self._wait(reports, deadline):
            raise NeighbourUnavailable(f"{self._brokers}: no acknowledgement in time.")
        if reports.error is not None:
            raise topic.unavailable(reports.error)

    def send_soon(self, ping: Ping) -> "asyncio.Future[None] | None":
        """A future that ends with the ping's delivery report; None if the send buffer is full.

        librdkafka gives each message a report, at the latest after `message.timeout.ms`.
        """
        loop = asyncio.get_running_loop()
        acknowledged: asyncio.Future[None] = loop.create_future()

        def end(error: KafkaError | None) -> None:
            if acknowledged.done():  # its request was cancelled
                return
            if error is None:
                acknowledged.set_result(None)
            else:
                acknowledged.set_exception(topic.unavailable(error))

        def take(error: KafkaError | None, _message: Message) -> None:
            """Called by the polling thread."""
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
                loop.call_soon_threadsafe(end, error)

        key, value = topic.encode(ping)
        produce = partial(self._producer.produce, settings.KAFKA_TOPIC, on_delivery=take)
        return acknowledged if self._enqueue(produce, key, value) else None

    def _enqueue(self, produce: partial[None], key: bytes, value: bytes) -> bool:
        """False if the send buffer is full."""
        try:
            produce(value, key)
        except BufferError:
            return False
        except KafkaException as error:
            raise topic.unavailable(error) from error
        return True

    def _wait(self, reports: _DeliveryReports, deadline: float) -> bool:
        if reports.complete.wait(min(FAST_WAIT_S, _seconds_until(deadline))):
            return True
        if not _seconds_until(deadline):
            return False
        try:
            with bulkhead.slot():
                return reports.complete.wait(_seconds_until(deadline))
        except NeighbourUnavailable:
            return reports.complete.is_set()  # the last report may have come meanwhile

    def _poll(self) -> None:
        while not self._closing.is_set():
            try:
                self._producer.poll(POLL_TIMEOUT_S)
            except KafkaException as error:
                self._discard(error)

    def _discard(self, error: KafkaException) -> None:
        """Called on a fatal error, which poll() raises. The next batch creates another producer."""
        logger.error("The producer has a fatal error: %s", error.args[0].str())
        _forget(self)
        self._closing.set()
        atexit.unregister(self.close)
        self._producer.purge()
        while len(self._producer):  # delivers the reports of the purged messages
            with contextlib.suppress(KafkaException):
                self._producer.poll(POLL_TIMEOUT_S)

    def close(self, *, flush: bool = True) -> None:
        """Flushes first, because messages of timed-out batches may still be in the buffer."""
        if self._pid != os.getpid():
            return
        atexit.unregister(self.close)
        if not flush:
            self._producer.purge()
        self._producer.flush(settings.KAFKA_TIMEOUT_S)
        self._closing.set()
        self._thread.join()


def _seconds_until(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


_producers: dict[tuple[int, str], _PollingProducer] = {}
_producers_lock = threading.Lock()


def _producer_for(brokers: str) -> _PollingProducer:
    """One per process: a producer does not survive a fork."""
    key = (os.getpid(), brokers)
    with _producers_lock:
        if key not in _producers:
            _producers[key] = _PollingProducer(brokers)
        return _producers[key]


def _forget(producer: _PollingProducer) -> None:
    with _producers_lock:
        for key in [key for key, each in _producers.items() if each is producer]:
            del _producers[key]


def close_all(*, flush: bool = True) -> None:
    """Closes this process's producers. The next batch creates another."""
    for producer in list(_producers.values()):
        producer.close(flush=flush)
        _forget(producer)
