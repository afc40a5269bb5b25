"""Is it alive, has it what it needs, and what every call says when the database is away."""

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

from connect.needs import Need
from tests.gunicorn_server import Server, until

DAY = "start_date=2026-05-11&end_date=2026-05-11"
ADA = {"first_name": "Ada", "last_name": "Lovelace", "company_name": "Engines Ltd"}
PING = {"person_id": 1, "latitude": 1, "longitude": 2}


@pytest.fixture(scope="module")
def cut_off(django_db_setup: None) -> Iterator[Server]:
    """A process whose database does not answer: nobody listens at the port."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with Server(DATABASE_URL=f"postgis://connect@127.0.0.1:{port}/none") as running:
        yield running


@pytest.mark.parametrize("path", ["/health", "/health/live"])
def test_a_process_that_answers_is_healthy(api: APIClient, path: str) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.content) == (200, b'"healthy"')


@pytest.mark.django_db
def test_ready_names_what_it_needs(api: APIClient) -> None:
    answer = api.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "needs": {"database": "ok"}}


def test_the_page_needs_no_database(api: APIClient, settings: Any) -> None:
    settings.SERVED_APPS = ["webapp"]
    assert api.get("/health/ready").json() == {"status": "ready", "needs": {}}


@pytest.mark.django_db
@pytest.mark.parametrize("served", [["connections"], ["locations"], ["connections", "webapp"]])
def test_what_is_asked_of_neighbours_needs_no_database_here(
    api: APIClient, settings: Any, served: list[str], free_port: int
) -> None:
    settings.SERVED_APPS = served
    assert api.get("/health/ready").json()["needs"] == {"database": "ok"}
    settings.PERSONS_URL = f"http://127.0.0.1:{free_port}"
    settings.LOCATIONS_URL = settings.PINGS_URL = f"grpc://127.0.0.1:{free_port}"
    away = {"persons": "out of reach", "locations": "out of reach"}
    answer = api.get("/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready", "needs": away})
    settings.SERVED_APPS = [*served, "persons"]
    assert api.get("/health/ready").json()["needs"] == {**away, "database": "ok"}


@pytest.fixture(scope="module")
def neighbours(django_db_setup: None) -> Iterator[tuple[Server, Server]]:
    """Persons and locations, as processes of their own."""
    with (
        Server(SERVED_APPS="persons,internal", WEB_WORKERS="1") as persons,
        Server(SERVED_APPS="locations,internal", WEB_WORKERS="1") as locations,
    ):
        yield persons, locations


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """The master and its workers: they accept connections and say nothing."""
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


def needs(door: Server, path: str = "/health/ready") -> tuple[int, dict[str, str]]:
    answer = door.get(path)
    return answer.status_code, answer.json()["needs"]


def test_a_process_names_each_neighbour_and_which_of_them_is_frozen(
    neighbours: tuple[Server, Server],
) -> None:
    persons, locations = neighbours
    wiring = {"PERSONS_URL": persons.url(""), "LOCATIONS_URL": locations.url(""), "DATABASE_URL": ""}
    well = (200, {"persons": "ok", "locations": "ok"})
    with Server(SERVED_APPS="connections", WEB_WORKERS="1", WEB_THREADS="4", **wiring) as door:
        assert needs(door) == well
        for name, server in (("persons", persons), ("locations", locations)):
            with frozen(server):
                expected = (503, well[1] | {name: "out of reach"})
                until(lambda expected=expected: needs(door) == expected)  # type: ignore[misc]
                with ThreadPoolExecutor(12) as crowd:  # more than there are threads: none of them is held
                    assert {*crowd.map(lambda _: door.get("/health/ready").status_code, range(48))} == {503}
                    assert door.get("/health/live").ok
            until(lambda: needs(door) == well)
        assert needs(door, "/health/ready/connections") == well
        assert door.get("/health/ready/locations").status_code == 404


def test_a_neighbour_that_lacks_its_own_needs_is_alive(cut_off: Server) -> None:
    """One fault is told once, and not by everybody."""
    wiring = {"PERSONS_URL": cut_off.url(""), "LOCATIONS_URL": cut_off.url(""), "DATABASE_URL": ""}
    with Server(SERVED_APPS="connections", WEB_WORKERS="1", **wiring) as door:
        assert needs(door) == (200, {"persons": "ok", "locations": "ok"})
    assert needs(cut_off)[0] == 503


def test_a_look_that_hangs_is_waited_for_once() -> None:
    """A frozen database holds the thread that looks, and no thread that is asked."""
    hangs = threading.Event()
    looks: list[int] = []

    def look() -> bool:
        looks.append(1)
        return hangs.wait(60)

    need = Need(look)
    assert not need.is_met()
    assert not any(need.is_met() for _ in range(1000))
    assert len(looks) == 1
    hangs.set()
    until(need.is_met)


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_health_takes_no_parameters(api: APIClient, path: str) -> None:
    answer = api.get(f"{path}?deep=1")
    assert (answer.status_code, answer.json()) == (400, {"deep": ["Unknown parameter."]})


@pytest.mark.parametrize("path", ["/health", "/health/live", "/api/schema", "/api/docs", "/api/redoc"])
def test_without_the_database_it_is_alive_all_the_same(cut_off: Server, path: str) -> None:
    assert cut_off.get(path).status_code == 200


def test_without_the_database_it_is_not_ready(cut_off: Server) -> None:
    answer = cut_off.get("/health/ready")
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/json")
    assert answer.json() == {"status": "not ready", "needs": {"database": "out of reach"}}
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
def test_without_the_database_every_call_that_needs_it_is_a_503(
    cut_off: Server, verb: str, path: str, body: Any, accept: str
) -> None:
    answer = cut_off.ask(verb, path, json=body, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, "application/json")
    assert "again" in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) > 0


def test_without_the_database_faults_of_the_call_itself_are_still_told(cut_off: Server) -> None:
    assert cut_off.get("/api/persons?limit=0").status_code == 400
    assert cut_off.post("/api/locations", json={"latitude": 91}).status_code == 400
    assert cut_off.post("/api/locations", json=[]).json() == {"accepted": 0}


def test_a_page_without_the_database_says_so_as_a_page(cut_off: Server) -> None:
    answer = cut_off.get("/api/persons", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert "out of reach" in answer.text
