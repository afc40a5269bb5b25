"""Waiting with a bound: the only way in which anything here waits."""

import time
from collections.abc import Callable


def poll(done: Callable[[], bool], timeout_s: float, every_s: float = 0.05) -> bool:
    """Waits until it is done; False when it was not in time."""
    end = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(every_s)
    return True
