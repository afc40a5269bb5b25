"""Concurrent calls share a batch; each thread gets the answers of its batch or its exception."""

import threading
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from connect.coalescing import Coalescer
from tests.gunicorn_server import until


class BlockingSource:
    """Returns doubled keys; blocks until `may_continue` is set."""

    def __init__(self) -> None:
        self.batches: list[set[int]] = []
        self.may_continue = threading.Event()
        self.error: Exception | None = None

    def __call__(self, keys: AbstractSet[int]) -> dict[int, int]:
        self.batches.append(set(keys))
        assert self.may_continue.wait(20)
        if self.error is not None:
            raise self.error
        return {key: 2 * key for key in keys if key > 0}


@pytest.fixture
def source() -> BlockingSource:
    return BlockingSource()


@pytest.fixture
def coalescer(source: BlockingSource) -> Coalescer[int, int]:
    return Coalescer(source, max_keys=10)


@pytest.fixture
def start(coalescer: Coalescer[int, int], source: BlockingSource) -> Iterator[Callable[[int], Future]]:
    """Calls the coalescer in a new thread; returns once the key is in a batch."""
    with ThreadPoolExecutor(32) as threads:

        def begin(key: int) -> Future:
            answer = threads.submit(coalescer, {key})
            until(lambda: any(key in keys for keys in [*source.batches, coalescer._next.keys]))
            return answer

        yield begin
        source.may_continue.set()


def test_a_single_call_is_sent_at_once(coalescer: Coalescer[int, int], source: BlockingSource) -> None:
    source.may_continue.set()
    assert coalescer({1}) == {1: 2}
    assert coalescer({1}) == {1: 2}
    assert source.batches == [{1}, {1}]


def test_calls_during_a_batch_share_the_next_batch(start: Callable, source: BlockingSource) -> None:
    first = start(1)
    until(lambda: source.batches == [{1}])
    others = [start(key) for key in (2, 3, -4, 2)]
    source.may_continue.set()
    assert first.result(20) == {1: 2}
    assert [answer.result(20) for answer in others] == [{2: 4, 3: 6}] * 4
    assert source.batches == [{1}, {2, 3, -4}]


def test_an_exception_is_raised_in_all_threads_of_the_batch_only(
    start: Callable, source: BlockingSource
) -> None:
    first = start(1)
    until(lambda: source.batches == [{1}])
    others = [start(key) for key in (2, 3)]
    source.error = ConnectionError("away")
    source.may_continue.set()
    for answer in (first, *others):
        with pytest.raises(ConnectionError, match="away"):
            answer.result(20)
    source.error = None
    assert start(5).result(20) == {5: 10}


def test_a_batch_has_a_maximum_size(start: Callable, source: BlockingSource) -> None:
    first = start(100)
    until(lambda: source.batches == [{100}])
    others = [start(key) for key in range(1, 16)]
    source.may_continue.set()
    assert first.result(20) == {100: 200}
    for key, answer in enumerate(others, 1):
        assert answer.result(20)[key] == 2 * key
    assert sorted(map(len, source.batches)) == [1, 5, 10]
