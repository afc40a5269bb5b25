"""Two whole systems for the tests that visit stages. Each goes through the stages once, for all its tests."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from xdist.scheduler import LoadScopeScheduling

from grpc_server import client as grpc_client
from grpc_server.tests.process import LocationProcess
from locations import http_client, storage
from tests.browser import a_browser, a_page
from tests.gunicorn_server import Server
from tests.system import API, APP, STAGES, System, a_system

# Which tests use which shared system. One worker of pytest-xdist gets all tests of a system.
SHARED = {
    "system": "app app_edges app_event app_live app_states app_stream docs drawings hosts journey overview "
    "phone_samples postman unreadable_requests",
    "guarded": "access app_access fuzz organisers_hour parity phones",
}
# Modules whose tests start systems of their own, the longest first.
LONG = ("attacks", "faults", "walk", "leaving_kafka", "secrets", "tls")
SYSTEM_OF = {f"test_{module}.py": system for system, modules in SHARED.items() for module in modules.split()}

# The paths of the processes that are new at the last stage.
NEW_PATHS = ["/api/live", "/api/encounters", "/health/ready/encounters", "/health/ready/live"]


class BySystem(LoadScopeScheduling):
    """Gives a worker all tests of a shared system, or all tests of another module."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return SYSTEM_OF.get(Path(module).name, module)


@pytest.hookimpl(optionalhook=True)  # there is none with `-p no:xdist`
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> BySystem | None:
    if config.option.dist != "load":
        return None
    config.option.loadscopereorder = False  # the order is that of the collection, see below
    return BySystem(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Sorts by shared system, then by stage: each system visits each stage once. The longest begin first."""
    yield
    long = [*SHARED, *(f"test_{module}.py" for module in LONG)]

    def key(item: pytest.Item) -> tuple[int, int]:
        group = SYSTEM_OF.get(item.path.name, item.path.name)
        return long.index(group) if group in long else len(long), stage_number(item)

    items.sort(key=key)


def stage_number(item: pytest.Item) -> int:
    """The number of the stage that a test of a shared system visits; the last one if it names none."""
    callspec = getattr(item, "callspec", None)
    if callspec is None or item.path.name not in SYSTEM_OF:
        return len(STAGES)
    return next((STAGES.index(each) for each in callspec.params.values() if each in STAGES), len(STAGES))


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


@pytest.fixture(scope="session", params=STAGES)
def guarded_stage(request: pytest.FixtureRequest, guarded: System) -> str:
    """The name of the stage that the guarded system is at."""
    guarded.go(request.param)
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
def page(request: pytest.FixtureRequest, browser: Browser, origins: set[str]) -> Iterator[Page]:
    """In Berlin, two hours before UTC at the time of the event.

    The app finds by a 404 that an earlier stage does not have the new processes of the last one.
    """
    with a_page(browser, origins) as page:
        if stage_number(request.node) < len(STAGES) - 1:
            page.expected_errors += NEW_PATHS  # type: ignore[attr-defined]
        yield page


# --- one contract, several implementations -------------------------------------------------------


@pytest.fixture(scope="module")
def http_process(django_db_setup: None) -> Iterator[Server]:
    with Server(SERVED_APPS="locations,internal", WEB_WORKERS="1") as running:
        yield running


@pytest.fixture(scope="module")
def grpc_process(django_db_setup: None) -> Iterator[LocationProcess]:
    with LocationProcess() as running:
        yield running


@pytest.fixture(params=["local", "http", "grpc"])
def locations(request: pytest.FixtureRequest, settings: Any) -> ModuleType:
    """Each implementation of LOCATIONS_URL."""
    if request.param == "http":
        settings.LOCATIONS_URL = request.getfixturevalue("http_process").url("")
        return http_client
    if request.param == "grpc":
        settings.LOCATIONS_URL = request.getfixturevalue("grpc_process").url
        return grpc_client
    return storage
