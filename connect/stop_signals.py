"""SIGTERM and SIGINT ask a process to stop after its current work; a second one ends it at once."""

import signal
import threading
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def event() -> threading.Event:
    """An event that the first signal sets. Call it in the main thread."""
    requested = threading.Event()

    def stop(*_: Any) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        requested.set()

    for number in _SIGNALS:
        signal.signal(number, stop)
    return requested
