"""What keeps the log readable under attack: long messages are cut, and floods of refusals are counted."""

import logging
import threading
import time
from collections.abc import Callable

MAX_CHARACTERS = 500
EVERY_S = 60.0


class Line(logging.Formatter):
    """Cuts a message, which may hold a path of some kilobytes. A traceback after it stays whole."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        if len(record.message) > MAX_CHARACTERS:
            left_out = len(record.message) - MAX_CHARACTERS
            record.message = f"{record.message[:MAX_CHARACTERS]}… ({left_out} more characters)"
        return super().formatMessage(record)


class Refusals(logging.Filter):
    """Lets one line for each status below 500 through in EVERY_S, with the number of those left out since.

    Django logs a warning for each 4xx answer, in the logger `django.request`.
    """

    def __init__(self, *, every_s: float = EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s = every_s
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[int, float] = {}
        self._left_out: dict[int, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        status = getattr(record, "status_code", 500)
        if status >= 500:
            return True
        with self._lock:
            now = self._clock()
            if now - self._last.get(status, float("-inf")) < self._every_s:
                self._left_out[status] = self._left_out.get(status, 0) + 1
                return False
            self._last[status] = now
            left_out = self._left_out.pop(status, 0)
        if left_out:
            record.msg = f"{record.getMessage()[:MAX_CHARACTERS]} (status {status}: {left_out:,} more before)"
            record.args = ()
        return True
