"""Liveness, readiness, and the responses of all calls without a database."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from connect import __version__
from connect.needs import TIMEOUT_S, Need
from tests.gunicorn_server import Server, until

DAY = "start_date=2026-05-11&end_date=2026-05-11"
ADA = {"first_name": "Ada", "last_name": "Lovelace", "company_name": "Engines Ltd"}
PING = {"person_id": 1, "latitude": 1, "longitude": 2}


@pytest.fixture(scope="module")
def no_database_server(django_db_setup: None) -> Iterator[Server]:
    """A process whose DATABASE_URL has a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Server(DATABASE_URL=f"postgis://connect@127.0.0.1:{port}/none") as running:
        yield running


@pytest.mark.parametrize("path", ["/health", "/health/live"])
def test_liveness_is_healthy(api: APIClient, path: str) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.content) == (200, b'"healthy"')


@pytest.mark.django_db
def test_readiness_lists_the_dependencies(api: APIClient) -> None:
    answer = api.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "version": __version__, "needs": {"database": "ok"}}


def test_the_web_app_has_no_dependencies(api: APIClient, settings: Any) -> None:
    settings.SERVED_APPS = ["webapp"]
    assert api.get("/health/ready").json() == {"status": "ready", "version": __version__, "needs": {}}


@pytest.mark.django_db
@pytest.mark.parametrize("served", [["connections"], ["locations"], ["connections", "webapp"]])
def test_an_app_with_remote_neighbours_does_not_depend_on_the_database(
    api: APIClient, settings: Any, served: list[str], free_port: int
) -> None:
    settings.SERVED_APPS = served
    assert api.get("/health/ready").json()["needs"] == {"database": "ok"}
    settings.PERSONS_URL = f"http://127.0.0.1:{free_port}"
    settings.LOCATIONS_URL = settings.PINGS_URL = f"grpc://127.0.0.1:{free_port}"
    away = {"persons": "out of reach", "locations": "out of reach"}
    answer = api.get("/health/ready")
    assert (answer.status_code, answer.json()) == (
        503,
        {"status": "not ready", "version": __version__, "needs": away},
    )
    settings.SERVED_APPS = [*served, "persons"]
    assert api.get("/health/ready").json()["needs"] == {**away, "database": "ok"}


@pytest.fixture(scope="module")
def neighbours(django_db_setup: None) -> Iterator[tuple[Server, Server]]:
    """Persons and locations as separate processes."""
    with (
        Server(SERVED_APPS="persons,internal", WEB_WORKERS="1") as persons,
        Server(SERVED_APPS="locations,internal", WEB_WORKERS="1") as locations,
    ):
        yield persons, locations


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """Stops the master and its workers: they accept connections but do not respond."""
    pids = [server.process.pid, *map(int, children(server.process.pid))]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def needs(web: Server, path: str = "/health/ready") -> tuple[int, dict[str, str]]:
    answer = web.get(path)
    return answer.status_code, answer.json()["needs"]


def test_readiness_shows_which_neighbour_is_frozen(
    neighbours: tuple[Server, Server],
) -> None:
    persons, locations = neighbours
    wiring = {"PERSONS_URL": persons.url(""), "LOCATIONS_URL": locations.url(""), "DATABASE_URL": ""}
    healthy = (200, {"persons": "ok", "locations": "ok"})
    with Server(SERVED_APPS="connections", WEB_WORKERS="1", WEB_THREADS="4", **wiring) as web:
        assert needs(web) == healthy
        for name, server in (("persons", persons), ("locations", locations)):
            with frozen(server):
                expected = (503, healthy[1] | {name: "out of reach"})
                until(lambda expected=expected: needs(web) == expected)  # type: ignore[misc]
                with ThreadPoolExecutor(12) as crowd:  # more requests than threads: checks block no thread
                    assert {*crowd.map(lambda _: web.get("/health/ready").status_code, range(48))} == {503}
                    assert web.get("/health/live").ok
            until(lambda: needs(web) == healthy)
        assert needs(web, "/health/ready/connections") == healthy
        assert web.get("/health/ready/locations").status_code == 404


def test_a_neighbour_without_its_own_dependencies_counts_as_ok(no_database_server: Server) -> None:
    """One failure does not spread to the neighbours."""
    wiring = {
        "PERSONS_URL": no_database_server.url(""),
        "LOCATIONS_URL": no_database_server.url(""),
        "DATABASE_URL": "",
    }
    with Server(SERVED_APPS="connections", WEB_WORKERS="1", **wiring) as web:
        assert needs(web) == (200, {"persons": "ok", "locations": "ok"})
    assert needs(no_database_server)[0] == 503


def test_callers_wait_only_once_for_a_hanging_check() -> None:
    """A frozen database blocks the checking thread, not the callers."""
    hangs = threading.Event()
    runs: list[int] = []

    def probe() -> bool:
        runs.append(1)
        return hangs.wait(60)

    need = Need(probe)
    assert not need.is_met()
    assert not any(need.is_met() for _ in range(1000))
    assert len(runs) == 1
    hangs.set()
    until(need.is_met)


def test_the_first_check_of_a_process_may_be_slow() -> None:
    need = Need(lambda: not threading.Event().wait(1.2 * TIMEOUT_S))
    assert need.is_met()


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_health_refuses_query_parameters(api: APIClient, path: str) -> None:
    answer = api.get(f"{path}?deep=1")
    assert (answer.status_code, answer.json()) == (400, {"deep": ["Unknown parameter."]})


@pytest.mark.parametrize("path", ["/health", "/health/live", "/api/schema", "/api/docs", "/api/redoc"])
def test_liveness_and_docs_work_without_the_database(no_database_server: Server, path: str) -> None:
    assert no_database_server.get(path).status_code == 200


def test_without_the_database_a_process_is_not_ready(no_database_server: Server) -> None:
    answer = no_database_server.get("/health/ready")
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/json")
    assert answer.json() == {
        "status": "not ready",
        "version": __version__,
        "needs": {"database": "out of reach"},
    }
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("accept", ["application/json", "*/*", "text/csv, application/json;q=0.5"])
@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("GET", "/api/persons", None),
        ("GET", "/api/persons?limit=5&search=ann", None),
        ("POST", "/api/persons", ADA),
        ("GET", "/api/persons/1", None),
        ("PUT", "/api/persons/1", ADA),
        ("PATCH", "/api/persons/1", ADA),
        ("DELETE", "/api/persons/1", None),
        ("GET", "/api/locations?limit=5", None),
        ("GET", "/api/locations?person_id=1", None),
        ("POST", "/api/locations", PING),
        ("POST", "/api/locations", [PING | {"creation_time": "2026-05-11T09:30:00Z"}]),
        ("GET", "/api/locations/1-1778491800000000", None),
        ("GET", f"/api/persons/1/connection?{DAY}", None),
        ("GET", f"/api/persons/1/encounters?{DAY}", None),
    ],
)
def test_without_the_database_every_call_that_reads_or_writes_is_a_503(
    no_database_server: Server, verb: str, path: str, body: Any, accept: str
) -> None:
    answer = no_database_server.ask(verb, path, json=body, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/json")
    assert "again" in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) > 0


def test_invalid_input_is_a_400_even_without_the_database(no_database_server: Server) -> None:
    assert no_database_server.get("/api/persons?limit=0").status_code == 400
    assert no_database_server.post("/api/locations", json={"latitude": 91}).status_code == 400
    assert no_database_server.post("/api/locations", json=[]).json() == {"accepted": 0}


def test_without_the_database_a_browser_gets_the_503_as_a_page(no_database_server: Server) -> None:
    answer = no_database_server.get("/api/persons", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert "out of reach" in answer.text
