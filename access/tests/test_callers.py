"""The cache of identities: its TTLs, and the calls that it serves while the source is away."""

import time
from typing import Any

import pytest

from access.callers import Caller, IdentityCache, Kind
from connect import bind_check
from connect.errors import NeighbourUnavailable

INGEST = Caller(Kind.INGEST, "token a", (1, 1))
STAFF = Caller(Kind.STAFF, "user b")
PERSON = Caller(Kind.PERSON, "token c", (1, 1))
USERS = [STAFF, Caller(Kind.SERVICE, "token d")]
READERS = [PERSON, *USERS]
KINDS_BY_CHANGES = [INGEST, PERSON]


class Source:
    """Answers, or is away. Counts the calls."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.calls, self.away = answer, 0, False

    def __call__(self) -> Any:
        self.calls += 1
        if self.away:
            raise NeighbourUnavailable
        return self.answer


@pytest.fixture
def clock() -> list[float]:
    return [100.0]


@pytest.fixture
def changes() -> Source:
    """The number of changes of tokens so far."""
    return Source(7)


@pytest.fixture
def identities(clock: list[float], changes: Source) -> IdentityCache:
    return IdentityCache(clock=lambda: clock[0], token_changes=changes)


@pytest.mark.parametrize("caller", KINDS_BY_CHANGES)
@pytest.mark.parametrize("sends_pings", [True, False])
def test_an_ingest_or_person_token_is_cached_while_no_token_changes(
    identities: IdentityCache, clock: list[float], changes: Source, caller: Caller, sends_pings: bool
) -> None:
    asks = {name: Source(caller) for name in "abc"}
    for _ in range(10):
        assert [identities.caller(name, ask, sends_pings=sends_pings) for name, ask in asks.items()] == [
            caller
        ] * 3
        clock[0] += 1.0
    assert [ask.calls for ask in asks.values()] == [1, 1, 1]
    assert changes.calls == 10  # one call a second for all of them
    changes.answer = 8
    asks["a"].answer = None
    assert identities.caller("a", asks["a"], sends_pings=sends_pings) is None
    assert identities.caller("b", asks["b"], sends_pings=sends_pings) == caller
    assert asks["b"].calls == 2


def test_an_ingest_token_is_asked_about_again_after_ten_minutes(
    identities: IdentityCache, clock: list[float]
) -> None:
    ask = Source(INGEST)
    identities.caller("a", ask)
    clock[0] += 600
    identities.caller("a", ask)
    assert ask.calls == 2


def test_without_the_count_of_changes_each_token_is_asked_about(
    identities: IdentityCache, clock: list[float], changes: Source
) -> None:
    """Persons is away, or it runs older code."""
    changes.away = True
    ask = Source(INGEST)
    identities.caller("a", ask)
    clock[0] += 1.0
    identities.caller("a", ask)
    assert ask.calls == 2


@pytest.mark.parametrize("caller", USERS)
def test_an_identity_is_cached_for_a_second(
    identities: IdentityCache, clock: list[float], caller: Caller
) -> None:
    ask = Source(caller)
    assert [identities.caller("a", ask), identities.caller("a", ask)] == [caller, caller]
    assert ask.calls == 1
    ask.answer = None
    clock[0] += 1.0
    assert identities.caller("a", ask) is None


@pytest.mark.parametrize("caller", READERS)
def test_while_the_source_is_away_reading_fails(
    identities: IdentityCache, clock: list[float], changes: Source, caller: Caller
) -> None:
    ask = Source(caller)
    identities.caller("a", ask)
    ask.away = changes.away = True
    clock[0] += 1.0
    with pytest.raises(NeighbourUnavailable):
        identities.caller("a", ask)


def test_while_the_source_is_away_pings_are_accepted_for_ten_minutes(
    identities: IdentityCache, clock: list[float], changes: Source
) -> None:
    ask = Source(INGEST)
    identities.caller("a", ask, sends_pings=True)
    ask.away = changes.away = True
    clock[0] += 599
    assert identities.caller("a", ask, sends_pings=True) == INGEST
    assert identities.caller("a", ask, sends_pings=True) == INGEST
    assert ask.calls == 2  # no second attempt within the retry time
    with pytest.raises(NeighbourUnavailable):
        identities.caller("unknown", ask, sends_pings=True)
    clock[0] += 1
    with pytest.raises(NeighbourUnavailable):
        identities.caller("a", ask, sends_pings=True)
    clock[0] += 1
    ask.away = changes.away = False
    ask.answer = None
    assert identities.caller("a", ask, sends_pings=True) is None


def test_an_expired_token_is_not_served_from_the_cache(identities: IdentityCache) -> None:
    ask = Source(Caller(Kind.INGEST, "token a", (1, 1), until=time.time() - 1))
    identities.caller("a", ask)
    assert identities.caller("a", ask) is None


def test_the_oldest_identity_is_evicted(clock: list[float], changes: Source) -> None:
    identities = IdentityCache(max_size=2, clock=lambda: clock[0], token_changes=changes)
    asks = [Source(INGEST) for _ in range(3)]
    for number, ask in enumerate(asks):
        identities.caller(str(number), ask)
    identities.caller("0", asks[0])
    assert [ask.calls for ask in asks] == [2, 1, 1]


# --- where a process may listen ------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost", "127.117.48.5"])
def test_open_access_may_listen_on_loopback(settings: object, host: str) -> None:
    settings.ACCESS = "open"  # type: ignore[attr-defined]
    assert "ACCESS=open" in bind_check.check([host])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]", "10.0.0.1", "connect.example", ""])  # noqa: S104
def test_open_access_on_the_network_is_refused(settings: object, host: str) -> None:
    settings.ACCESS = "open"  # type: ignore[attr-defined]
    with pytest.raises(bind_check.ImproperlyConfigured, match="ACCESS=open"):
        bind_check.check(["127.0.0.1", host])
    settings.ACCESS = "tokens"  # type: ignore[attr-defined]
    assert "ACCESS=tokens" in bind_check.check([host])
