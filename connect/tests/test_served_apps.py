"""SERVED_APPS and the neighbour URLs: the served paths, and invalid settings at startup."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from rest_framework.test import APIClient

from tests.gunicorn_server import ROOT, Server, database_url

PATHS_BY_APP = {
    "persons": ["/api/persons?limit=1", "/api/persons/1/export", "/api/persons/1", "/api/persons/1/consent"],
    "locations": ["/api/locations?limit=1", "/api/locations/1-1"],
    "connections": ["/api/persons/1/connection", "/api/persons/1/encounters"],
    "venue": ["/api/event", "/api/zones", "/api/zones/visits"],
    "encounters": ["/api/encounters", "/api/encounters/graph", "/api/webhooks", "/api/webhooks/1"],
}


def start(**environ: str) -> subprocess.CompletedProcess[str]:
    """Runs gunicorn as deployed, on any port, until it exits."""
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
def test_an_invalid_setting_stops_the_process_at_startup(setting: str, value: str) -> None:
    result = start(**{setting: value})
    assert result.returncode != 0
    assert setting in result.stderr
    if setting.endswith("_URL") and setting != "DATABASE_URL":  # it may contain a password
        assert value in result.stderr


@pytest.fixture(scope="module", params=PATHS_BY_APP)
def single_app(request: pytest.FixtureRequest, django_db_setup: None) -> Iterator[tuple[str, Server]]:
    """A process that serves only one app."""
    with Server(SERVED_APPS=request.param, WEB_WORKERS="1") as server:
        yield request.param, server


@pytest.mark.django_db
def test_paths_of_other_apps_are_a_404(single_app: tuple[str, Server], api: APIClient) -> None:
    served, server = single_app
    for app, paths in PATHS_BY_APP.items():
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
def test_a_page_links_to_its_parent_paths_of_other_processes(single_app: tuple[str, Server]) -> None:
    served, server = single_app
    path = PATHS_BY_APP[served][-1]
    above = "/".join(path.split("/")[:3])
    assert f'<li><a href="{above}">' in server.get(path, headers={"Accept": "text/html"}).text


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer a"}, {"Cookie": "sessionid=a"}])
@pytest.mark.parametrize("path", ["/", "/api/schema"])
def test_the_web_app_process_does_not_authenticate_callers(path: str, headers: dict[str, str]) -> None:
    token = "process0." + "k" * 32
    with Server(SERVED_APPS="webapp", DATABASE_URL="", ACCESS="tokens", SERVICE_TOKEN=token) as server:
        assert server.get(path, headers=headers).status_code == 200
