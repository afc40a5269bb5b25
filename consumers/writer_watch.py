"""Whether the writers work, seen from outside: by their group at the brokers and by its offsets."""

import os
import time
from functools import cache

from confluent_kafka import KafkaException
from django.conf import settings

from connect.errors import NeighbourUnavailable
from consumers import topic
from consumers.lag import Observer

WITHIN_S = 2.0
# A ping that waits for so long behind an offset that does not move has no working writer. A writer's longest
# step is shorter.
STUCK_S = 30.0


class WriterWatch:
    """Remembers between two looks what did not move."""

    def __init__(self) -> None:
        self._admin = topic.admin()
        self._observer = Observer(within_s=WITHIN_S)
        self._waiting: dict[int, tuple[int, float]] = {}  # partition: the next offset, since when

    def is_at_work(self) -> bool:
        """Whether the group has a member and every partition with unwritten pings moves on.

        The brokers drop a frozen writer from the group after its session timeout of 6 s.
        """
        try:
            asked = self._admin.describe_consumer_groups([settings.KAFKA_GROUP], request_timeout=WITHIN_S)
            members = asked[settings.KAFKA_GROUP].result(2 * WITHIN_S).members
            positions = self._observer.positions()
        except (KafkaException, NeighbourUnavailable, TimeoutError):
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
def _watch(_pid: int, *_of: str) -> WriterWatch:
    """The process's own: a client does not outlive a fork."""
    return WriterWatch()
