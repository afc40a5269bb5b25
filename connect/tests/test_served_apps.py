"""The seam at start: what a process serves and where its neighbours are, or why it does not start."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from rest_framework.test import APIClient

from tests.gunicorn_server import ROOT, Server, database_url

PATHS_OF = {
    "persons": ["/api/persons?limit=1", "/api/persons/1/export", "/api/persons/1", "/api/persons/1/consent"],
    "locations": ["/api/locations?limit=1", "/api/locations/1-1"],
    "connections": ["/api/persons/1/connection", "/api/persons/1/encounters"],
}


def start(**environ: str) -> subprocess.CompletedProcess[str]:
    """Gunicorn as it is deployed, on any port, until it ends by itself."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "-c",
            "python:connect.gunicorn",
            "-b",
            "127.0.0.1:0",
            "connect.asgi",
        ],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database_url(), "WEB_WORKERS": "1"} | environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("PERSONS_URL", "ftp://persons:21"),
        ("LOCATIONS_URL", "carrier-pigeon:"),
        ("PINGS_URL", "https:"),
        ("SERVED_APPS", "persons,nonsense"),
        ("WEB_THREADS", "many"),
        ("WEB_THREADS", "0"),
        ("LOCATIONS_URL", "http://"),
        ("SECRET_KEY", ""),
        ("DATABASE_URL", "sqlite:///here"),
    ],
)
def test_a_setting_that_makes_no_sense_stops_the_process_at_start(setting: str, value: str) -> None:
    ended = start(**{setting: value})
    assert ended.returncode != 0
    assert setting in ended.stderr
    if setting.endswith("_URL") and setting != "DATABASE_URL":  # which may hold a password
        assert value in ended.stderr


@pytest.fixture(scope="module", params=PATHS_OF)
def alone(request: pytest.FixtureRequest, django_db_setup: None) -> Iterator[tuple[str, Server]]:
    """A process that serves one app only."""
    with Server(SERVED_APPS=request.param, WEB_WORKERS="1") as server:
        yield request.param, server


@pytest.mark.django_db
def test_an_app_that_is_not_served_is_an_honest_404(alone: tuple[str, Server], api: APIClient) -> None:
    served, server = alone
    for app, paths in PATHS_OF.items():
        for path in paths:
            answer = server.get(path)
            assert answer.headers["Content-Type"] == "application/json"
            if app != served:
                assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})
            else:
                assert answer.json() != {"detail": "Not found."}
    assert server.get("/admin/").status_code == 404
    assert server.get("/health/ready").status_code == 200
    schema = server.get("/api/schema", headers={"Accept": "application/json"})
    assert schema.json() == api.get("/api/schema", headers={"accept": "application/json"}).json()


@pytest.mark.django_db
def test_a_page_leads_up_to_the_paths_above_whoever_serves_them(alone: tuple[str, Server]) -> None:
    served, server = alone
    path = PATHS_OF[served][-1]
    above = "/".join(path.split("/")[:3])
    assert f'<li><a href="{above}">' in server.get(path, headers={"Accept": "text/html"}).text


@pytest.mark.parametrize("shown", [{}, {"Authorization": "Bearer a"}, {"Cookie": "sessionid=a"}])
@pytest.mark.parametrize("path", ["/", "/api/schema"])
def test_the_process_of_pages_asks_nobody_who_calls(path: str, shown: dict[str, str]) -> None:
    token = "process0." + "k" * 32
    with Server(SERVED_APPS="webapp", DATABASE_URL="", ACCESS="tokens", SERVICE_TOKEN=token) as server:
        assert server.get(path, headers=shown).status_code == 200
