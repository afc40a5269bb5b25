"""How long identities are remembered, and for whom while their source is away."""

import time
from typing import Any

import pytest

from access.callers import Caller, Kind, Remembered
from connect import bind_check
from connect.errors import NeighbourUnavailable

INGEST = Caller(Kind.INGEST, "token a", (1, 1))
STAFF = Caller(Kind.STAFF, "user b")
PERSON = Caller(Kind.PERSON, "token c", (1, 1))
USERS = [STAFF, Caller(Kind.SERVICE, "token d")]
OTHERS = [PERSON, *USERS]
PHONES = [INGEST, PERSON]


class Asked:
    """Answers, or is away, and counts."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.times, self.away = answer, 0, False

    def __call__(self) -> Any:
        self.times += 1
        if self.away:
            raise NeighbourUnavailable
        return self.answer


@pytest.fixture
def clock() -> list[float]:
    return [100.0]


@pytest.fixture
def changes() -> Asked:
    """The number of changes of tokens so far."""
    return Asked(7)


@pytest.fixture
def remembered(clock: list[float], changes: Asked) -> Remembered:
    return Remembered(clock=lambda: clock[0], token_changes=changes)


@pytest.mark.parametrize("caller", PHONES)
@pytest.mark.parametrize("sends", [True, False])
def test_the_token_of_a_phone_holds_while_no_token_changes(
    remembered: Remembered, clock: list[float], changes: Asked, caller: Caller, sends: bool
) -> None:
    asks = {name: Asked(caller) for name in "abc"}
    for _ in range(10):
        assert [remembered.caller(name, ask, sends=sends) for name, ask in asks.items()] == [caller] * 3
        clock[0] += 1.0
    assert [ask.times for ask in asks.values()] == [1, 1, 1]
    assert changes.times == 10  # once a second for all of them
    changes.answer = 8
    asks["a"].answer = None
    assert remembered.caller("a", asks["a"], sends=sends) is None
    assert remembered.caller("b", asks["b"], sends=sends) == caller
    assert asks["b"].times == 2


def test_the_token_of_a_phone_is_asked_about_again_after_ten_minutes(
    remembered: Remembered, clock: list[float]
) -> None:
    ask = Asked(INGEST)
    remembered.caller("a", ask)
    clock[0] += 600
    remembered.caller("a", ask)
    assert ask.times == 2


def test_where_changes_cannot_be_learnt_each_token_is_asked_about(
    remembered: Remembered, clock: list[float], changes: Asked
) -> None:
    """Persons is away, or it runs older code."""
    changes.away = True
    ask = Asked(INGEST)
    remembered.caller("a", ask)
    clock[0] += 1.0
    remembered.caller("a", ask)
    assert ask.times == 2


@pytest.mark.parametrize("caller", USERS)
def test_an_identity_is_remembered_for_a_second(
    remembered: Remembered, clock: list[float], caller: Caller
) -> None:
    ask = Asked(caller)
    assert [remembered.caller("a", ask), remembered.caller("a", ask)] == [caller, caller]
    assert ask.times == 1
    ask.answer = None
    clock[0] += 1.0
    assert remembered.caller("a", ask) is None


@pytest.mark.parametrize("caller", OTHERS)
def test_while_the_source_is_away_nobody_reads(
    remembered: Remembered, clock: list[float], changes: Asked, caller: Caller
) -> None:
    ask = Asked(caller)
    remembered.caller("a", ask)
    ask.away = changes.away = True
    clock[0] += 1.0
    with pytest.raises(NeighbourUnavailable):
        remembered.caller("a", ask)


def test_while_the_source_is_away_pings_are_taken_for_ten_minutes(
    remembered: Remembered, clock: list[float], changes: Asked
) -> None:
    ask = Asked(INGEST)
    remembered.caller("a", ask, sends=True)
    ask.away = changes.away = True
    clock[0] += 599
    assert remembered.caller("a", ask, sends=True) == INGEST
    assert remembered.caller("a", ask, sends=True) == INGEST
    assert ask.times == 2  # each attempt may take long
    with pytest.raises(NeighbourUnavailable):
        remembered.caller("stranger", ask, sends=True)
    clock[0] += 1
    with pytest.raises(NeighbourUnavailable):
        remembered.caller("a", ask, sends=True)
    clock[0] += 1
    ask.away = changes.away = False
    ask.answer = None
    assert remembered.caller("a", ask, sends=True) is None


def test_one_that_expires_is_not_remembered_any_longer(remembered: Remembered) -> None:
    ask = Asked(Caller(Kind.INGEST, "token a", (1, 1), until=time.time() - 1))
    remembered.caller("a", ask)
    assert remembered.caller("a", ask) is None


def test_no_more_are_remembered_than_there_is_room_for(
    remembered: Remembered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Remembered, "MOST", 2)
    asks = [Asked(INGEST) for _ in range(3)]
    for number, ask in enumerate(asks):
        remembered.caller(str(number), ask)
    remembered.caller("0", asks[0])
    assert [ask.times for ask in asks] == [2, 1, 1]


# --- where a process may listen ------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost", "127.117.48.5"])
def test_an_open_door_is_on_its_own_machine(settings: object, host: str) -> None:
    settings.ACCESS = "open"  # type: ignore[attr-defined]
    assert "ACCESS=open" in bind_check.check([host])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]", "10.0.0.1", "connect.example", ""])  # noqa: S104
def test_an_open_door_on_the_network_is_refused(settings: object, host: str) -> None:
    settings.ACCESS = "open"  # type: ignore[attr-defined]
    with pytest.raises(bind_check.ImproperlyConfigured, match="ACCESS=open"):
        bind_check.check(["127.0.0.1", host])
    settings.ACCESS = "tokens"  # type: ignore[attr-defined]
    assert "ACCESS=tokens" in bind_check.check([host])
