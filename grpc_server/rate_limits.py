"""Rate limits of the gRPC server, like those for REST in k8s/proxy/defaults.cfg.

Known callers are limited per token, unknown ones per address. Each process counts alone, over 10 s. Connect's
own processes have no limit, because their clients already have one.
"""

import hashlib
import math
import time

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from access.callers import Caller, Kind

WINDOW_S = 10


class RateLimits:
    """Limits in requests per second; 0 is no limit."""

    def __init__(self, *, per_token: int, per_address: int):
        self._per_token, self._per_address = _item(per_token, "token"), _item(per_address, "address")
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def hit_caller(self, caller: Caller, authorization: str, peer: str) -> int:
        """Counts one call or message. Returns 0 if allowed, else the seconds to wait."""
        if caller.kind is Kind.SERVICE:
            return 0
        token = authorization.partition(" ")[2].strip()
        if not token:
            return self.hit_address(peer)
        return self._hit(self._per_token, hashlib.sha256(token.encode()).hexdigest())

    def hit_address(self, peer: str) -> int:
        """The same for an unknown caller; `peer` comes from gRPC and has a port."""
        return self._hit(self._per_address, peer.rpartition(":")[0])

    def address_wait_s(self, peer: str) -> int:
        """Like hit_address, without counting: for the decision whether to look up an unknown token."""
        item, key = self._per_address, peer.rpartition(":")[0]
        if item is None or self._limiter.test(item, key):
            return 0
        return self._wait_s(item, key)

    def _hit(self, item: RateLimitItem | None, key: str) -> int:
        if item is None or self._limiter.hit(item, key):
            return 0
        return self._wait_s(item, key)

    def _wait_s(self, item: RateLimitItem, key: str) -> int:
        return max(1, math.ceil(self._limiter.get_window_stats(item, key).reset_time - time.time()))


def _item(rate: int, namespace: str) -> RateLimitItem | None:
    return RateLimitItemPerSecond(rate * WINDOW_S, WINDOW_S, namespace) if rate else None
