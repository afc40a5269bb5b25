"""Bodies have to arrive in time: a sender that trickles would hold a thread for as long as it likes.

The connection's own timeout does not help, because each byte that comes starts it anew.
"""

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

BODY_S = 30.0
LOOK_EVERY_S = 0.5


class Late(Exception):
    """The body did not arrive in time; nothing more comes of this connection."""


class Arrival:
    """One thread looks after all bodies that are on their way to this process."""

    def __init__(self, within_s: float):
        self._within_s = within_s
        self._coming: dict[int, tuple[float, socket.socket]] = {}
        self._late: set[int] = set()
        self._numbers = itertools.count()
        self._changed = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def awaited(self, connection: socket.socket) -> Iterator[None]:
        """What is read inside must be there in time. Raises Late if it is not."""
        number = next(self._numbers)
        with self._changed:
            self._coming[number] = (time.monotonic() + self._within_s, connection)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="arrival", daemon=True)
                self._thread.start()
        failure: BaseException | None = None
        try:
            yield
        except Exception as error:  # noqa: BLE001 - what an end in the midst is called is the reader's affair
            failure = error
        with self._changed:
            del self._coming[number]
            is_late = number in self._late
            self._late.discard(number)
        if is_late:
            raise Late
        if failure is not None:
            raise failure

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_EVERY_S)
            now = time.monotonic()
            with self._changed:
                for number, (until, connection) in self._coming.items():
                    if until < now and number not in self._late:
                        self._late.add(number)
                        with suppress(OSError):  # it is closed already
                            connection.shutdown(socket.SHUT_RD)
