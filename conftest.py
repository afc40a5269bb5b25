"""What the tests of all apps share: a client, people, pings, and a web process of their own."""

import os
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project
from django.contrib.staticfiles.storage import StaticFilesStorage
from rest_framework.test import APIClient

from connect import needs
from consumers import producer, topic
from consumers.person_cache import PersonCache
from persons.models import Person
from tests.gunicorn_server import Server

# Fixtures and imports of tests that start processes or a browser.
STARTERS = {
    *("server", "location_server", "kafka", "database", "live_server"),
    *("Server", "WriterProcess", "LocationProcess", "Broker", "subprocess", "sync_playwright", "Browser"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that `make test-fast` leaves out."""
    for item in items:
        if STARTERS & {*getattr(item, "fixturenames", ()), *vars(getattr(item, "module", object))}:
            item.add_marker(pytest.mark.processes)


@pytest.fixture(scope="session")
def no_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("static")


@pytest.fixture(autouse=True)
def plain_static_names(settings: Any, no_files: Path) -> None:
    """Pages are rendered whether or not `collectstatic` has run, and no client searches what it collected."""
    settings.STATIC_ROOT = no_files
    backend = f"{StaticFilesStorage.__module__}.{StaticFilesStorage.__name__}"
    settings.STORAGES = settings.STORAGES | {"staticfiles": {"BACKEND": backend}}


@pytest.fixture(autouse=True)
def fresh_needs() -> None:
    """Each test makes its own readiness checks; a later one of another test runs when it has no database."""
    needs.needs_of_process.cache_clear()


@pytest.fixture
def api() -> APIClient:
    return APIClient(raise_request_exception=False)


@pytest.fixture
def person(db: None) -> Callable[..., Person]:
    """Makes people: `person("Ann")`."""

    def make(first_name: str = "Ann", last_name: str = "Lee", company_name: str = "Acme") -> Person:
        return Person.objects.create(first_name=first_name, last_name=last_name, company_name=company_name)

    return make


@pytest.fixture
def ann(person: Callable[..., Person]) -> Person:
    return person("Ann")


@pytest.fixture
def bo(person: Callable[..., Person]) -> Person:
    return person("Bo", "Ek", "Brio")


@pytest.fixture
def walk(api: APIClient) -> Callable[[str], list[list[Any]]]:
    """All pages from a path on, each `Link` followed to the next."""

    def pages(path: str) -> list[list[Any]]:
        found: list[list[Any]] = []
        while path:
            answer = api.get(path)
            assert answer.status_code == 200, answer.content
            found.append(answer.json())
            link = re.fullmatch(r'<(/api/[^>]+)>; rel="next"', answer.get("Link", ""))
            assert bool(link) == answer.has_header("Link")
            path = link[1] if link else ""
        return found

    return pages


@pytest.fixture(scope="session")
def server(django_db_setup: None) -> Iterator[Server]:
    """Real HTTP, all paths, on the tests' database: one worker of six threads, two of them for streams.

    It sees what is committed, so its tests take `transactional_db`.
    """
    apps = [*project.SERVED_APPS, "encounters"]
    with Server(SERVED_APPS=",".join(apps), WEB_WORKERS="1", WEB_THREADS="6") as running:
        yield running


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def kafka(settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """PINGS_URL leads to a real broker, which `make test` starts; topic and group are the test's own."""
    settings.PINGS_URL = os.environ["TEST_KAFKA_URL"]
    settings.KAFKA_TOPIC = f"locations-{secrets.token_hex(4)}"
    settings.KAFKA_GROUP = f"writers-of-{settings.KAFKA_TOPIC}"
    settings.KAFKA_FINDER_GROUP = f"finders-of-{settings.KAFKA_TOPIC}"
    settings.KAFKA_ENCOUNTERS_TOPIC = f"encounters-of-{settings.KAFKA_TOPIC}"
    topic.ensure(3)
    monkeypatch.setattr(producer, "person_cache", PersonCache())  # ids are given again from test to test
    return settings.PINGS_URL
