"""Health of consumer groups as seen from outside: their members and their offsets."""

import math
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
# A partition with unread messages whose offset does not move for this long has no working consumer. The
# longest step of a writer and of the webhooks is shorter. A finder commits nothing while it repairs, for as
# long as that takes: it only has to be a member.
STUCK_S = 30.0


class GroupWatch:
    """Remembers between two checks which offsets of a group did not move."""

    def __init__(self, name: str, group: str, stuck_s: float) -> None:
        """`name` is the topic that the group reads."""
        self._group = group
        self._stuck_s = stuck_s
        self._admin = topic.admin()
        self._observer = Observer(name, group, within_s=TIMEOUT_S)
        self._waiting: dict[int, tuple[int, float]] = {}  # partition: the next offset, since when

    def is_at_work(self) -> bool:
        """Whether the group has a member and every partition with unread messages makes progress.

        The brokers drop a frozen member from the group after its session timeout of 6 s.
        """
        try:
            # Deprecated, but describe_consumer_groups aborts the process or never recovers if the broker dies
            # while it waits (confluentinc/librdkafka#4605).
            groups = self._admin.list_groups(self._group, timeout=TIMEOUT_S)
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
        return bool(members) and all(now - since < self._stuck_s for _, since in waiting.values())


def writers_work() -> bool:
    """Whether the writers store the pings of the topic."""
    return _works(settings.KAFKA_TOPIC, settings.KAFKA_GROUP, STUCK_S)


def finders_work() -> bool:
    """Whether the finders find encounters in the pings of the topic."""
    return _works(settings.KAFKA_TOPIC, settings.KAFKA_FINDER_GROUP, math.inf)


def webhooks_work() -> bool:
    """Whether the webhooks read the topic of encounters."""
    return _works(settings.KAFKA_ENCOUNTERS_TOPIC, settings.KAFKA_WEBHOOKS_GROUP, STUCK_S)


def _works(name: str, group: str, stuck_s: float) -> bool:
    return _watch(os.getpid(), settings.PINGS_URL, name, group, stuck_s).is_at_work()


@cache
def _watch(_pid: int, _brokers: str, name: str, group: str, stuck_s: float) -> GroupWatch:
    """One per process: a Kafka client does not survive a fork."""
    return GroupWatch(name, group, stuck_s)
