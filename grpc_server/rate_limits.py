"""Rate limits of the gRPC server, as k8s/proxy/defaults.cfg has them for REST.

A caller is counted by its token, an unknown one by its address. Counted in this process alone, over 10 s.
Connect's own processes are not counted: the doors that they serve are.
"""

import hashlib
import math
import time

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from access.callers import Caller, Kind

MEASURED_S = 10


class Rates:
    """Requests a second; 0 is no limit."""

    def __init__(self, *, per_token: int, per_address: int):
        self._per_token, self._per_address = _item(per_token, "token"), _item(per_address, "address")
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def of_caller(self, caller: Caller, authorization: str, peer: str) -> int:
        """Counts one more call or message. 0: it may be; else the seconds until the next may."""
        if caller.kind is Kind.SERVICE:
            return 0
        token = authorization.partition(" ")[2].strip()
        if not token:
            return self.of_address(peer)
        return self._take(self._per_token, hashlib.sha256(token.encode()).hexdigest())

    def of_address(self, peer: str) -> int:
        """The same for an unknown caller; `peer` is as gRPC says it: with a port."""
        return self._take(self._per_address, peer.rpartition(":")[0])

    def spent(self, peer: str) -> int:
        """The same, and counts nothing: whether an unknown token of this address is worth a look."""
        item, whose = self._per_address, peer.rpartition(":")[0]
        if item is None or self._limiter.test(item, whose):
            return 0
        return self._wait_s(item, whose)

    def _take(self, item: RateLimitItem | None, whose: str) -> int:
        if item is None or self._limiter.hit(item, whose):
            return 0
        return self._wait_s(item, whose)

    def _wait_s(self, item: RateLimitItem, whose: str) -> int:
        return max(1, math.ceil(self._limiter.get_window_stats(item, whose).reset_time - time.time()))


def _item(rate: int, of: str) -> RateLimitItem | None:
    return RateLimitItemPerSecond(rate * MEASURED_S, MEASURED_S, of) if rate else None
