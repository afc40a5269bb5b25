"""Prefetch: makes the next batch while the database or another process stores the current one."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Batch = TypeVar("Batch")


def prefetched(batches: Iterator[Batch]) -> Generator[Batch, None, None]:
    """The same batches; a thread makes the next one while the caller uses one. A batch must not be None."""
    with ThreadPoolExecutor(1) as thread:
        next_batch = thread.submit(next, batches, None)
        while (batch := next_batch.result()) is not None:
            next_batch = thread.submit(next, batches, None)
            yield batch
