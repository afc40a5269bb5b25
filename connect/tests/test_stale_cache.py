"""The cache that keeps old entries: age, eviction, and a source that is away."""

import pytest
from django.db import OperationalError

from connect.errors import NeighbourUnavailable
from connect.stale_cache import RETRY_S, StaleCache


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> StaleCache[str, int]:
    return StaleCache(max_size=2, clock=clock)


def test_the_reader_limits_the_age_of_an_entry(cache: StaleCache[str, int], clock: Clock) -> None:
    cache.replace(["a"], {"a": 1}, clock.now)
    clock.now += 5
    assert cache.get("a", max_age_s=5.1) == 1
    assert cache.get("a", max_age_s=5) is None
    assert cache.get("a") == 1


def test_an_answer_replaces_the_entries_of_its_keys(cache: StaleCache[str, int], clock: Clock) -> None:
    cache.replace(["a", "b"], {"a": 1, "b": 2}, clock.now)
    cache.replace(["a", "b"], {"b": 3}, clock.now)
    assert cache.get_many(["a", "b"]) == {"b": 3}


def test_the_oldest_entry_is_evicted(cache: StaleCache[str, int], clock: Clock) -> None:
    cache.replace(["a", "b"], {"a": 1, "b": 2}, clock.now)
    cache.renew("a", clock.now)
    cache.renew("unknown", clock.now)
    cache.replace(["c"], {"c": 3}, clock.now)
    assert cache.get_many(["a", "b", "c", "unknown"]) == {"a": 1, "c": 3}


@pytest.mark.parametrize("fault", [NeighbourUnavailable, OperationalError])
def test_a_source_that_fails_counts_as_away_for_the_retry_time(
    cache: StaleCache[str, int], clock: Clock, db: None, fault: type[Exception]
) -> None:
    def source() -> int:
        raise fault

    assert cache.fetch(lambda: 1) == 1
    assert not cache.source_is_away
    with pytest.raises(NeighbourUnavailable):
        cache.fetch(source)
    assert cache.source_is_away
    clock.now += RETRY_S
    assert not cache.source_is_away
