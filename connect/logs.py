"""Keeps the log readable: truncates long messages, rate-limits 4xx lines and lines that repeat."""

import logging
import threading
import time
from collections.abc import Callable

MAX_CHARACTERS = 500
EVERY_S = 60.0
THROTTLE_S = 10.0


class TruncatingFormatter(logging.Formatter):
    """Truncates a message, which may contain a path of several kilobytes; a traceback stays complete."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - overrides logging.Formatter
        if len(record.message) > MAX_CHARACTERS:
            suppressed = len(record.message) - MAX_CHARACTERS
            record.message = f"{record.message[:MAX_CHARACTERS]}… ({suppressed} more characters)"
        return super().formatMessage(record)


class ClientErrorRateLimit(logging.Filter):
    """Passes one line per EVERY_S for each status below 500, with the number of suppressed lines.

    Django logs a warning for each 4xx response in the logger `django.request`.
    """

    def __init__(self, *, every_s: float = EVERY_S, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s = every_s
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[int, float] = {}
        self._suppressed: dict[int, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        status = getattr(record, "status_code", 500)
        if status >= 500:
            return True
        with self._lock:
            now = self._clock()
            if now - self._last.get(status, float("-inf")) < self._every_s:
                self._suppressed[status] = self._suppressed.get(status, 0) + 1
                return False
            self._last[status] = now
            suppressed = self._suppressed.pop(status, 0)
        if suppressed:
            record.msg = (
                f"{record.getMessage()[:MAX_CHARACTERS]} (status {status}: {suppressed:,} more before)"
            )
            record.args = ()
        return True


def throttled(name: str, *, clock: Callable[[], float] = time.monotonic) -> logging.Logger:
    """The logger of this name, which passes one line per THROTTLE_S of each kind, which is its first word.

    For errors that repeat until they are over: librdkafka reports a lost broker 20 times a second.
    """
    logger = logging.getLogger(name)
    last: dict[str, float] = {}

    def is_due(record: logging.LogRecord) -> bool:
        kind, now = record.getMessage().split(" ", 1)[0], clock()
        if now - last.get(kind, float("-inf")) < THROTTLE_S:
            return False
        last[kind] = now
        return True

    logger.addFilter(is_due)
    return logger
