"""Rate limits of the gRPC server, like those for REST in k8s/proxy/defaults.cfg.

Known callers are limited by name. Calls without a valid token are limited by connection, because the proxy
passes gRPC through as TCP, and the server does not see the client's address; the proxy limits the connections
of an address. Each process counts alone, over 10 s.
"""

import math
import time

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

WINDOW_S = 10


class RateLimits:
    """Limits in calls or messages per second; 0 is no limit."""

    def __init__(self, *, per_caller: int, per_connection: int):
        self._per_caller = _item(per_caller, "caller")
        self._per_connection = _item(per_connection, "connection")
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def hit_caller(self, name: str) -> int:
        """Counts one call or message. Returns 0 if allowed, else the seconds to wait."""
        return self._hit(self._per_caller, name)

    def hit_connection(self, peer: str) -> int:
        """The same for a call without a valid token."""
        return self._hit(self._per_connection, peer)

    def connection_wait_s(self, peer: str) -> int:
        """Like hit_connection, without counting: for the decision whether to look up an unknown token."""
        if self._per_connection is None or self._limiter.test(self._per_connection, peer):
            return 0
        return self._wait_s(self._per_connection, peer)

    def _hit(self, item: RateLimitItem | None, key: str) -> int:
        if item is None or self._limiter.hit(item, key):
            return 0
        return self._wait_s(item, key)

    def _wait_s(self, item: RateLimitItem, key: str) -> int:
        return max(1, math.ceil(self._limiter.get_window_stats(item, key).reset_time - time.time()))


def _item(rate: int, namespace: str) -> RateLimitItem | None:
    return RateLimitItemPerSecond(rate * WINDOW_S, WINDOW_S, namespace) if rate else None
