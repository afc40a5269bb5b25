"""A client cannot tell which stage serves it: the same requests have the same answers, to the byte.

Those of the first stage are what the others are compared with; it is compared with itself, which finds what
is new in each replay and has no name yet.
"""

import difflib
from collections.abc import Iterable
from itertools import chain, islice

import pytest

from tests.replay import Answer, Replay
from tests.system import STAGES, System

SHOWN = 400  # lines of a difference


def replay(system: System) -> list[Answer]:
    system.empty(restart_ids=True)
    return list(Replay(system).run())


@pytest.fixture(scope="session")
def at_first(guarded: System) -> list[Answer]:
    """What the first stage answers."""
    guarded.go(STAGES[0])
    return replay(guarded)


def test_the_first_stage_answers_as_the_contract_says(at_first: list[Answer]) -> None:
    other = [f"{one.status}: {one.text}" for one in at_first if one.status != one.request.status]
    assert not other, "\n\n".join(other)


def test_every_stage_answers_alike(at_first: list[Answer], guarded: System, guarded_stage: str) -> None:
    guarded.go(guarded_stage)
    found = list(difference(at_first, replay(guarded), STAGES[0], guarded_stage))
    assert not found, "\n".join(found)


def difference(before: list[Answer], after: list[Answer], *names: str) -> Iterable[str]:
    """As `diff -U` shows it; nothing when all is equal."""
    if [one.text for one in before] == [one.text for one in after]:
        return []
    texts = [list(chain.from_iterable(one.text.splitlines() for one in some)) for some in (before, after)]
    return islice(difflib.unified_diff(*texts, *names, lineterm="", n=6), SHOWN)
