"""Nothing that a client sends gets a 5xx, a hang, HTML for a client of JSON, or a restart."""

import pytest

from tests.fuzz.run import Fuzz
from tests.system import System

SEED = 1


@pytest.fixture(scope="module")
def fuzz(guarded: System) -> Fuzz:
    return Fuzz(guarded, SEED)


def test_rest(fuzz: Fuzz) -> None:
    report = fuzz.send_rest(range(1500))
    assert report.failures == [], report.lines()
    assert {"200", "201", "400", "404"} <= report.statuses.keys()
    assert fuzz.restarted() == 0


def test_grpc(fuzz: Fuzz) -> None:
    report = fuzz.send_grpc(range(400))
    assert report.failures == [], report.lines()
    assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND"} <= report.statuses.keys()
    assert fuzz.restarted() == 0
