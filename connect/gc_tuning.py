"""Python's search for objects that hold only each other, made rare where batches are large.

It begins whenever 700 more tuples and the like are there than before, and a batch of 10,000 pings makes many
times as many, none of them in a circle: the search took a third of the writer's time in Python.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLD = 100_000  # objects until the next search


@contextmanager
def raised_threshold() -> Iterator[None]:
    """While it lasts; what is there already is not looked at again."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(THRESHOLD, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
