"""Health of the writers as seen from outside: the members and the offsets of their consumer group."""

import os
import time
import warnings
from functools import cache

from confluent_kafka import KafkaException
from django.conf import settings

from connect.errors import NeighbourUnavailable
from consumers import topic
from consumers.lag import Observer

warnings.filterwarnings("ignore", r"list_groups\(\) is deprecated", DeprecationWarning)

TIMEOUT_S = 2.0
# A partition with unwritten pings whose offset does not move for this long has no working writer. The longest
# step of a writer is shorter.
STUCK_S = 30.0


class WriterWatch:
    """Remembers between two checks which offsets did not move."""

    def __init__(self) -> None:
        self._admin = topic.admin()
        self._observer = Observer(within_s=TIMEOUT_S)
        self._waiting: dict[int, tuple[int, float]] = {}  # partition: the next offset, since when

    def is_at_work(self) -> bool:
        """Whether the group has a member and every partition with unwritten pings makes progress.

        The brokers drop a frozen writer from the group after its session timeout of 6 s.
        """
        try:
            # Deprecated, but describe_consumer_groups aborts the process or never recovers if the broker dies
            # while it waits (confluentinc/librdkafka#4605).
            groups = self._admin.list_groups(settings.KAFKA_GROUP, timeout=TIMEOUT_S)
            members = [member for group in groups for member in group.members]
            positions = self._observer.positions()
        except (KafkaException, NeighbourUnavailable):
            return False
        now = time.monotonic()
        waiting = {}
        for partition, (next_, end) in positions.items():
            if next_ < end:
                before, since = self._waiting.get(partition, (None, now))
                waiting[partition] = (next_, since if before == next_ else now)
        self._waiting = waiting
        return bool(members) and all(now - since < STUCK_S for _, since in waiting.values())


def is_at_work() -> bool:
    return _watch(os.getpid(), settings.PINGS_URL, settings.KAFKA_TOPIC, settings.KAFKA_GROUP).is_at_work()


@cache
def _watch(_pid: int, *_settings: str) -> WriterWatch:
    """One per process: a Kafka client does not survive a fork."""
    return WriterWatch()
