"""Two things at a time: while a batch is being stored, which another process does, the next one is made."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Batch = TypeVar("Batch")


def made_ahead(batches: Iterator[Batch]) -> Generator[Batch, None, None]:
    """The same batches, each made in a thread while the one before is in use. None of them may be None."""
    with ThreadPoolExecutor(1) as maker:
        following = maker.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = maker.submit(next, batches, None)
            yield batch
