"""How much one may ask by gRPC: by one token and from one address, as k8s/proxy/defaults.cfg has it for REST.

Counted in this process alone, over 10 s. Connect's own processes, who show SERVICE_TOKEN, are not counted:
whoever asks them is.
"""

import hashlib
import hmac
import math
import time

from django.conf import settings
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

MEASURED_S = 10


class Rates:
    """Requests a second; 0 is no limit."""

    def __init__(self, *, per_token: int, per_address: int):
        self._per_token, self._per_address = _item(per_token, "token"), _item(per_address, "address")
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def wait_s(self, authorization: str, peer: str) -> int:
        """Counts one more call or message of theirs. 0: it may be; else the seconds until the next may.

        `peer` is as gRPC says it, with a port, which tells nobody from another.
        """
        if _is_ours(authorization):
            return 0
        return max(
            self._take(self._per_address, peer.rpartition(":")[0]),
            self._take(self._per_token, hashlib.sha256(authorization.encode()).hexdigest())
            if authorization
            else 0,
        )

    def _take(self, item: RateLimitItem | None, whose: str) -> int:
        if item is None or self._limiter.hit(item, whose):
            return 0
        return max(1, math.ceil(self._limiter.get_window_stats(item, whose).reset_time - time.time()))


def _item(rate: int, of: str) -> RateLimitItem | None:
    return RateLimitItemPerSecond(rate * MEASURED_S, MEASURED_S, of) if rate else None


def _is_ours(authorization: str) -> bool:
    ours = f"Bearer {settings.SERVICE_TOKEN}"
    return bool(settings.SERVICE_TOKEN) and hmac.compare_digest(authorization.encode(), ours.encode())
