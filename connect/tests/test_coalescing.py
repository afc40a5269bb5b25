"""Threads that ask at the same time share a question; each gets its own answer or the question's fault."""

import threading
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from connect.coalescing import Coalescer
from tests.gunicorn_server import until


class Source:
    """Doubles numbers; waits with each answer until it may go on."""

    def __init__(self) -> None:
        self.asked: list[set[int]] = []
        self.may_go_on = threading.Event()
        self.fault: Exception | None = None

    def __call__(self, keys: AbstractSet[int]) -> dict[int, int]:
        self.asked.append(set(keys))
        assert self.may_go_on.wait(20)
        if self.fault is not None:
            raise self.fault
        return {key: 2 * key for key in keys if key > 0}


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def coalesced(source: Source) -> Coalescer[int, int]:
    return Coalescer(source, max_keys=10)


@pytest.fixture
def start(coalesced: Coalescer[int, int], source: Source) -> Iterator[Callable[[int], Future]]:
    """Asks in a thread of its own; returns once its key is in a question."""
    with ThreadPoolExecutor(32) as threads:

        def begin(key: int) -> Future:
            answer = threads.submit(coalesced, {key})
            until(lambda: any(key in keys for keys in [*source.asked, coalesced._next.keys]))
            return answer

        yield begin
        source.may_go_on.set()


def test_one_alone_is_asked_at_once(coalesced: Coalescer[int, int], source: Source) -> None:
    source.may_go_on.set()
    assert coalesced({1}) == {1: 2}
    assert coalesced({1}) == {1: 2}
    assert source.asked == [{1}, {1}]


def test_those_who_come_meanwhile_share_the_next_question(start: Callable, source: Source) -> None:
    first = start(1)
    until(lambda: source.asked == [{1}])
    others = [start(key) for key in (2, 3, -4, 2)]
    source.may_go_on.set()
    assert first.result(20) == {1: 2}
    assert [answer.result(20) for answer in others] == [{2: 4, 3: 6}] * 4
    assert source.asked == [{1}, {2, 3, -4}]


def test_a_fault_is_that_of_all_in_the_question_and_of_nobody_else(start: Callable, source: Source) -> None:
    first = start(1)
    until(lambda: source.asked == [{1}])
    others = [start(key) for key in (2, 3)]
    source.fault = ConnectionError("away")
    source.may_go_on.set()
    for answer in (first, *others):
        with pytest.raises(ConnectionError, match="away"):
            answer.result(20)
    source.fault = None
    assert start(5).result(20) == {5: 10}


def test_a_question_has_a_largest_size(start: Callable, source: Source) -> None:
    first = start(100)
    until(lambda: source.asked == [{100}])
    others = [start(key) for key in range(1, 16)]
    source.may_go_on.set()
    assert first.result(20) == {100: 200}
    for key, answer in enumerate(others, 1):
        assert answer.result(20)[key] == 2 * key
    assert sorted(map(len, source.asked)) == [1, 5, 10]
