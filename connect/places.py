"""How many of a process's threads may wait for answers that take long: never all.

So what is short gets through while a database or a neighbour takes its time. A place is taken for a question
until its answer has begun, and kept while the answer is streamed.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from connect.neighbours import NeighbourUnavailable

PATIENCE_S = 2.0

_free = threading.BoundedSemaphore(settings.WEB_PLACES)
_mine = threading.local()


@contextmanager
def taken() -> Iterator[None]:
    """A place for this thread, once however deep. Raises NeighbourUnavailable if none gets free in time."""
    if getattr(_mine, "has_one", False):
        yield
        return
    if not _free.acquire(timeout=PATIENCE_S):
        raise NeighbourUnavailable("Too many questions wait for their answers.")
    _mine.kept = False
    try:
        with used():
            yield
    finally:
        if not _mine.kept:
            _free.release()


def keep() -> None:
    """The place outlasts `taken`: who streams the answer uses it and gives it back, in whichever thread."""
    _mine.kept = True


@contextmanager
def used() -> Iterator[None]:
    """This thread works in a place that was kept."""
    _mine.has_one = True
    try:
        yield
    finally:
        _mine.has_one = False


def give_back() -> None:
    _free.release()
