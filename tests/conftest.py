"""One whole system for all tests that walk through the stages: what is asked at a stage is asked together."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import a_browser, a_page
from tests.system import API, APP, STAGES, System, a_system


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with a_system(tmp_path_factory.mktemp("system")) as system:
        yield system


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Another one, where callers show tokens; whoever shows nothing else shows that of a staff user."""
    with a_system(tmp_path_factory.mktemp("guarded"), access="tokens") as system:
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def event(system: System, stage: str) -> System:
    """With sixty people at an event of two days, 2026-05-11 and the day after."""
    system.go(stage)
    system.empty()
    system.run("manage.py", "simulate", "--people", "60")
    return system


@pytest.fixture
def origins(system: System) -> set[str]:
    return {system.url("", APP), system.url("", API)}


@pytest.fixture
def page(browser: Browser, origins: set[str]) -> Iterator[Page]:
    """In Berlin, two hours before UTC at the time of the event."""
    with a_page(browser, origins) as page:
        yield page
