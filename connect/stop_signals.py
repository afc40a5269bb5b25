"""SIGTERM and SIGINT ask a process to stop after its current work."""

import signal
import threading
from typing import Any


def stop_requested() -> threading.Event:
    """An event that the first SIGTERM or SIGINT sets. A second one ends the process at once."""
    event = threading.Event()

    def stop(*_: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        event.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return event
