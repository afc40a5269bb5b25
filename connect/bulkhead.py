"""Bulkhead: at most WEB_PLACES threads of a process wait on slow questions, and each caller has a share.

So short calls get through while a database or a neighbour is slow. A place is taken for a question until its
answer begins, and kept while the answer is streamed.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from access.callers import Caller, Kind
from connect.errors import NeighbourUnavailable

PATIENCE_S = 2.0
PERSON_SHARE = 2  # questions of one person at the same time


class Shares:
    """Places of which each caller may have a share. Thread-safe."""

    def __init__(self, size: int, share: int):
        self._size = size
        self._share = share
        self._taken: Counter[str] = Counter()
        self._changed = threading.Condition()

    def take(self, caller: Caller | None, patience_s: float) -> bool:
        """Whether a place was free in time. Without a caller no share is counted."""
        name, share = self._of(caller)

        def is_free() -> bool:
            return self._taken.total() < self._size and self._taken[name] < share

        with self._changed:
            if not self._changed.wait_for(is_free, patience_s):
                return False
            self._taken[name] += 1
        return True

    def give_back(self, caller: Caller | None) -> None:
        name, _ = self._of(caller)
        with self._changed:
            self._taken[name] -= 1
            if not self._taken[name]:
                del self._taken[name]
            self._changed.notify_all()

    def _of(self, caller: Caller | None) -> tuple[str, int]:
        if caller is None or caller.kind in (Kind.OPEN, Kind.SERVICE):
            return "", self._size
        return caller.name, min(self._share, PERSON_SHARE) if caller.kind is Kind.PERSON else self._share


_places = Shares(settings.WEB_PLACES, max(1, settings.WEB_PLACES * 2 // 3))
_mine = threading.local()


@contextmanager
def taken(caller: Caller | None = None) -> Iterator[None]:
    """A place for this thread, once however deep. Raises NeighbourUnavailable if none is free in time."""
    if getattr(_mine, "has_one", False):
        yield
        return
    if not _places.take(caller, PATIENCE_S):
        raise NeighbourUnavailable("Too many questions wait for their answers.")
    _mine.kept = False
    try:
        with used():
            yield
    finally:
        if not _mine.kept:
            _places.give_back(caller)


def keep() -> None:
    """The place outlasts `taken`: the stream uses it and gives it back, in whichever thread."""
    _mine.kept = True


@contextmanager
def used() -> Iterator[None]:
    """This thread works in a place that was kept."""
    _mine.has_one = True
    try:
        yield
    finally:
        _mine.has_one = False


def give_back(caller: Caller | None) -> None:
    _places.give_back(caller)
