"""One whole system for all tests that walk through the stages: what is asked at a stage is asked together."""

from collections.abc import Iterator

import pytest

from tests.system import STAGES, System, a_system


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with a_system(tmp_path_factory.mktemp("system")) as system:
        yield system


@pytest.fixture(scope="session", params=STAGES)
def stage(request: pytest.FixtureRequest, system: System) -> str:
    """The name of the stage that the system is at."""
    system.go(request.param)
    return str(request.param)


@pytest.fixture
def fresh(system: System, stage: str) -> System:
    """At its stage, wherever others went meanwhile, with nobody in it."""
    system.go(stage)
    system.empty()
    return system
