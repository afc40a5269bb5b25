"""Polling with a timeout: the only way in which the code of local/ and of the tests waits."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def poll(check: Callable[[], T], timeout_s: float, every_s: float = 0.05) -> T:
    """The first true answer; after the timeout the last answer, which is false."""
    end = time.monotonic() + timeout_s
    while not (answer := check()) and time.monotonic() <= end:
        time.sleep(every_s)
    return answer
