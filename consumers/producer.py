"""The seam's `kafka:` for pings: handed to the topic, and taken once all in-sync replicas have them.

A batch of which some cannot be taken at all (the broker is away, or persons is and somebody in it is not
remembered) raises NeighbourUnavailable; then some of it may be stored, and sending it again is safe.
"""

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
from consumers.person_cache import KnownPersons
from locations.pings import MAX_BATCH, Ping, unknown_person
from locations.storage import MAX_ID, Receipt

# A broker that is away must not hold all threads of a door: who waits for longer than this takes one of the
# places for that. A broker that has just started takes a second for a producer's first batch.
IMPATIENT_S = 2.0
LOOK_EVERY_S = 0.2
ALIVE_S = 2.0
ROOM_S = 0.005  # between two looks whether a full buffer has room again

CONFIG = {
    "acks": "all",
    "enable.idempotence": True,
    # With more, librdkafka takes the success of a later request for that of an earlier one that failed
    # (confluentinc/librdkafka#2501). Kafka takes any first number from a producer it does not know, as on
    # a new partition: then pings would be acknowledged that nobody has. bench/kafka.py has what it costs.
    "max.in.flight": 1,
    # Spread as Java's clients do it: another producer puts a person into the same partition.
    "partitioner": "murmur2_random",
    # The smallest on the wire and on disk, at no cost that could be measured: bench/kafka.py.
    "compression.type": "zstd",
    "message.max.bytes": topic.MAX_BATCH_BYTES - 16 * 1024,  # of a batch, before it is compressed
    # Batches come as batches; a single ping is not to wait for company.
    "linger.ms": 0,
    # Some ten batches of the largest size under way; what is more has to wait, then to be told.
    "queue.buffering.max.messages": 10 * MAX_BATCH,
    "queue.buffering.max.kbytes": 32 * 1024,
}

logger = logging.getLogger(__name__)
known = KnownPersons()


def submit(pings: Sequence[Ping]) -> Receipt:
    """Hands pings in, each batch of them with one wait; gives up after KAFKA_TIMEOUT_S. Idempotent.

    Pings of unknown persons are refused. `stored` is not yet known.
    """
    if not pings:
        return Receipt(stored=None)
    refused = []
    for first in range(0, len(pings), MAX_BATCH):
        batch = pings[first : first + MAX_BATCH]
        persons = known.among({each.person_id for each in batch if 0 < each.person_id <= MAX_ID})
        good = [each for each in batch if each.person_id in persons]
        if len(good) < len(batch):
            refused += [
                unknown_person(first + index, each.person_id)
                for index, each in enumerate(batch)
                if each.person_id not in persons
            ]
        if good:
            _link(topic.brokers()).hand_in(good)
    return Receipt(None, refused)


def is_alive(_url: str) -> bool:
    """Whether the brokers answer and have the topic.

    The client of this question is no producer: a process that only watches the topic may not write to it.
    """
    try:
        return bool(topic.partitions_of(_asker(os.getpid(), topic.brokers()), timeout_s=ALIVE_S))
    except NeighbourUnavailable:
        return False


@cache
def _asker(_pid: int, _brokers: str) -> AdminClient:
    """The process's own: a client does not outlive a fork."""
    return topic.admin()


# --- the process's one producer ------------------------------------------------------------------


class _Reports:
    """Of one batch: how many are still to come, and the first that was bad."""

    def __init__(self, count: int):
        self._left = count
        self.error: KafkaError | None = None
        self.all = threading.Event()

    def take(self, error: KafkaError | None, _message: Message) -> None:
        """Called by one thread only: the one that polls."""
        self._left -= 1
        self.error = self.error or error
        if not self._left:
            self.all.set()


class _Link:
    """A producer, and the thread that brings its delivery reports."""

    def __init__(self, brokers: str):
        self._brokers = brokers
        self._pid = os.getpid()
        timeout_ms = int(settings.KAFKA_TIMEOUT_S * 1000)
        config = topic.client_config() | CONFIG | {"message.timeout.ms": timeout_ms}
        self._producer = Producer(config)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="delivery reports", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def hand_in(self, pings: Sequence[Ping]) -> None:
        """Returns when the brokers have them all; raises NeighbourUnavailable."""
        deadline = time.monotonic() + request_context.seconds_left(settings.KAFKA_TIMEOUT_S)
        reports = _Reports(len(pings))
        send = partial(self._producer.produce, settings.KAFKA_TOPIC, on_delivery=reports.take)
        for ping in pings:
            key, value = topic.encode(ping)
            while not self._sent(send, key, value):
                if time.monotonic() > deadline:
                    raise NeighbourUnavailable(f"{self._brokers}: the buffer stays full.")
                time.sleep(ROOM_S)
        if not self._waited(reports, deadline):
            raise NeighbourUnavailable(f"{self._brokers}: no acknowledgement in time.")
        if reports.error is not None:
            raise topic.unavailable(reports.error)

    def _sent(self, send: partial[None], key: bytes, value: bytes) -> bool:
        """False when there is no room."""
        try:
            send(value, key)
        except BufferError:
            return False
        except KafkaException as fault:
            raise topic.unavailable(fault) from fault
        return True

    def _waited(self, reports: _Reports, deadline: float) -> bool:
        if reports.all.wait(min(IMPATIENT_S, _until(deadline))):
            return True
        if not _until(deadline):
            return False
        try:
            with bulkhead.slot():
                return reports.all.wait(_until(deadline))
        except NeighbourUnavailable:
            return reports.all.is_set()  # meanwhile, perhaps

    def _poll(self) -> None:
        while not self._closing.is_set():
            try:
                self._producer.poll(LOOK_EVERY_S)
            except KafkaException as fault:
                self._give_up(fault)

    def _give_up(self, fault: KafkaException) -> None:
        """Polling raises a fatal error. The producer takes nothing more; the next batch makes another."""
        logger.error("The producer cannot go on: %s", fault.args[0].str())
        _forget(self)
        self._closing.set()
        atexit.unregister(self.close)
        self._producer.purge()
        while len(self._producer):  # the reports of what was purged
            with contextlib.suppress(KafkaException):
                self._producer.poll(LOOK_EVERY_S)

    def close(self) -> None:
        """What was handed in and given up on may still be on its way: it gets its chance."""
        if self._pid != os.getpid():
            return
        atexit.unregister(self.close)
        self._producer.flush(settings.KAFKA_TIMEOUT_S)
        self._closing.set()
        self._thread.join()


def _until(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


_links: dict[tuple[int, str], _Link] = {}
_making = threading.Lock()


def _link(brokers: str) -> _Link:
    """The process's own: a producer does not outlive a fork."""
    key = (os.getpid(), brokers)
    with _making:
        if key not in _links:
            _links[key] = _Link(brokers)
        return _links[key]


def _forget(link: _Link) -> None:
    with _making:
        for key in [key for key, each in _links.items() if each is link]:
            del _links[key]
