"""Bulkhead: at most WEB_PLACES threads of a process wait on slow calls, and each caller has a share of them.

So short calls get a thread while the database or a neighbour is slow. A call holds its slot until its
response begins; a stream holds it until its end.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from access.callers import Caller, Kind
from connect.errors import NeighbourUnavailable

ACQUIRE_TIMEOUT_S = 2.0
PERSON_SHARE = 2  # concurrent slow calls of one person


class SharedSlots:
    """A semaphore in which each caller may hold at most a share of the slots. Thread-safe."""

    def __init__(self, size: int, share: int):
        self._size = size
        self._share = share
        self._taken: Counter[str] = Counter()
        self._changed = threading.Condition()

    def acquire(self, caller: Caller | None, timeout_s: float) -> bool:
        """Whether a slot became free within the timeout. Without a caller no share applies."""
        name, share = self._name_and_share(caller)
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_free(name, share), timeout_s):
                return False
            self._taken[name] += 1
        return True

    def has_room(self, caller: Caller | None) -> bool:
        """Whether `acquire` would succeed now."""
        with self._changed:
            return self._is_free(*self._name_and_share(caller))

    def _is_free(self, name: str, share: int) -> bool:
        return self._taken.total() < self._size and self._taken[name] < share

    def release(self, caller: Caller | None) -> None:
        name, _ = self._name_and_share(caller)
        with self._changed:
            self._taken[name] -= 1
            if not self._taken[name]:
                del self._taken[name]
            self._changed.notify_all()

    def _name_and_share(self, caller: Caller | None) -> tuple[str, int]:
        if caller is None or caller.kind in (Kind.OPEN, Kind.SERVICE):
            return "", self._size
        return caller.name, min(self._share, PERSON_SHARE) if caller.kind is Kind.PERSON else self._share


_slots = SharedSlots(settings.WEB_PLACES, max(1, settings.WEB_PLACES * 2 // 3))
_local = threading.local()


@contextmanager
def slot(caller: Caller | None = None) -> Iterator[None]:
    """Holds a slot for this thread; reentrant. Raises NeighbourUnavailable after ACQUIRE_TIMEOUT_S."""
    if getattr(_local, "has_slot", False):
        yield
        return
    if not _slots.acquire(caller, ACQUIRE_TIMEOUT_S):
        raise NeighbourUnavailable("Too many slow calls at the same time.")
    _local.detached = False
    try:
        with reuse_slot():
            yield
    finally:
        if not _local.detached:
            _slots.release(caller)


def detach_slot() -> None:
    """Keeps the slot beyond `slot()`. The stream releases it, from any thread."""
    _local.detached = True


@contextmanager
def reuse_slot() -> Iterator[None]:
    """This thread works in a slot that is already held."""
    _local.has_slot = True
    try:
        yield
    finally:
        _local.has_slot = False


def release(caller: Caller | None) -> None:
    _slots.release(caller)
