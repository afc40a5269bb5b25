"""What a deployment is told by its settings alone: cookies, headers, hosts, and the key that it must have."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local import report
from local.instance import Instance
from tests.gunicorn_server import ROOT, Server

DEPLOYMENT = {
    "ACCESS": "tokens",
    "SECRET_KEY": secrets.token_hex(32),
    "ALLOWED_HOSTS": "connect.example.org",
    "API_URL": "https://connect.example.org",
    "APP_URL": "https://connect.example.org:30000",
    "DEBUG": "False",
}
SECRETS = (ROOT / "k8s" / "secrets" / "secrets.env.example").read_text()
EXAMPLE = [line for line in SECRETS.splitlines() if "=" in line and not line.startswith(("#", "POSTGRES"))]
TOLD = [
    "SECURE_PROXY_SSL_HEADER",
    "SESSION_COOKIE_SECURE",
    "CSRF_COOKIE_SECURE",
    "SESSION_COOKIE_NAME",
    "CSRF_COOKIE_NAME",
    "SECURE_HSTS_SECONDS",
    "CSRF_TRUSTED_ORIGINS",
]


def run(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, *arguments]
    environ = os.environ | environ
    environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)  # of the tests that have a browser
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def told(**environ: str) -> dict[str, Any]:
    """These settings as a process has them."""
    script = f"import json; from django.conf import settings as s; names = {TOLD}; "
    script += "print(json.dumps({name: getattr(s, name) for name in names}))"
    done = run("-c", script, DJANGO_SETTINGS_MODULE="connect.settings", **environ)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def by_hand(state: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`manage.py` typed in a new terminal, for the system in this folder."""
    command = [sys.executable, "manage.py", *arguments]
    environ = {"PATH": os.environ["PATH"], "CONNECT_STATE_DIR": str(state)}
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def test_manage_py_speaks_to_the_database_of_the_system_that_is_named(tmp_path: Path) -> None:
    url = "postgis://connect@127.0.0.1:1/the_second_system"
    (tmp_path / "env").write_text(f"DATABASE_URL={url}\nSECRET_KEY=of-the-second-one\nACCESS=tokens\n")
    script = "from django.conf import settings as s; print(s.DATABASES['default']['NAME'], s.SECRET_KEY)"
    done = by_hand(tmp_path, "shell", "--verbosity", "0", "--command", script)
    assert done.stdout.strip() == "the_second_system of-the-second-one", done.stderr


@pytest.mark.parametrize("command", [("runserver",), ("tokens", "list")])
def test_without_a_system_manage_py_says_what_is_missing(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = by_hand(tmp_path, *command)
    assert done.returncode == 1
    assert done.stderr.startswith("Settings: SECRET_KEY is not set")
    assert "make up" in done.stderr
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


def test_the_token_command_names_the_system(tmp_path: Path) -> None:
    assert report.manage_py(Instance(state=ROOT / ".local")) == ".venv/bin/python manage.py"
    other = Instance(state=tmp_path / "my event")
    assert report.manage_py(other) == f"CONNECT_STATE_DIR='{tmp_path}/my event' .venv/bin/python manage.py"


def test_a_deployment_passes_every_check() -> None:
    done = run("manage.py", "check", "--deploy", "--fail-level", "WARNING", **DEPLOYMENT)
    assert done.returncode == 0, done.stderr


def test_all_that_tls_changes_follows_from_the_address_of_the_api() -> None:
    assert told(**DEPLOYMENT) == {
        "SECURE_PROXY_SSL_HEADER": ["HTTP_X_FORWARDED_PROTO", "https"],
        "SESSION_COOKIE_SECURE": True,
        "CSRF_COOKIE_SECURE": True,
        "SESSION_COOKIE_NAME": "__Host-sessionid",
        "CSRF_COOKIE_NAME": "__Host-csrftoken",
        "SECURE_HSTS_SECONDS": 31_536_000,
        "CSRF_TRUSTED_ORIGINS": [DEPLOYMENT["APP_URL"], "https://connect.example.org"],
    }
    plain = told(**DEPLOYMENT | {"API_URL": "http://127.0.0.1:30001"})
    assert plain.pop("CSRF_TRUSTED_ORIGINS") == [DEPLOYMENT["APP_URL"]]
    assert (plain.pop("SESSION_COOKIE_NAME"), plain.pop("CSRF_COOKIE_NAME")) == ("sessionid", "csrftoken")
    assert not any(plain.values())


def test_who_asks_neighbours_has_something_to_show_them() -> None:
    asks = DEPLOYMENT | {"PERSONS_URL": "http://persons:8000"}
    done = run("manage.py", "check", **asks | {"SERVICE_TOKEN": ""})
    assert done.returncode != 0
    assert "SERVICE_TOKEN is empty" in done.stderr
    for enough in ({"SERVICE_TOKEN": "process0." + "k" * 32}, {"SERVICE_TOKEN": "", "ACCESS": "open"}):
        assert run("manage.py", "check", **asks | enough).returncode == 0


def test_the_page_starts_without_a_secret_and_without_a_database() -> None:
    key = "from django.conf import settings as s; print(s.SECRET_KEY)"
    without = {name: value for name, value in DEPLOYMENT.items() if name != "SECRET_KEY"}
    bare = without | {"PATH": os.environ["PATH"], "DATABASE_URL": "", "SUPERVISOR_ENABLED": "1"}
    for apps, wiring in (
        ("webapp", {}),
        ("", {}),  # a worker
        ("connections", {"PERSONS_URL": "http://persons:8000", "SERVICE_TOKEN": "process0." + "k" * 32}),
    ):
        command = [sys.executable, "manage.py", "shell", "--verbosity", "0", "--command", key]
        environ = bare | wiring | {"SERVED_APPS": apps}
        keys = {subprocess.run(command, cwd=ROOT, env=environ, stdout=-1, check=True).stdout for _ in "12"}
        assert len(keys) == 2
    command = [sys.executable, "manage.py", "check"]
    for apps, wiring in (("persons", {}), ("admin", {"PERSONS_URL": "http://persons:8000"})):
        environ = bare | wiring | {"SERVED_APPS": apps}
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "SECRET_KEY is not set" in done.stderr


@pytest.mark.parametrize("line", EXAMPLE)
def test_the_values_of_the_example_are_refused(line: str) -> None:
    name, _, value = line.partition("=")
    name = "SERVICE_TOKEN" if name.startswith("SERVICE_TOKEN_") else name
    name = "KAFKA_PASSWORD" if name.startswith("KAFKA_") else name
    done = run("manage.py", "check", **DEPLOYMENT | {name: value})
    assert done.returncode != 0
    assert f"{name} has the value of the example" in done.stderr


@pytest.mark.parametrize("key", ["", "a-key-for-one-laptop-only-set-your-own-anywhere-else"])
def test_the_key_that_everybody_knows_is_refused_where_not_everybody_may_ask(key: str) -> None:
    done = run("manage.py", "check", **DEPLOYMENT | {"SECRET_KEY": key})
    assert done.returncode != 0
    assert "SECRET_KEY" in done.stderr
    at_home = run("manage.py", "check", **DEPLOYMENT | {"SECRET_KEY": key, "ACCESS": "open"})
    assert (at_home.returncode == 0) == bool(key)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ACCESS", "some"),
        ("TLS_CERTIFICATE", "alone.pem"),
        ("TLS_KEY", "alone.pem"),
        ("RATE_PER_TOKEN", "-1"),
        ("RATE_PER_ADDRESS", "many"),
        ("MAX_RANGE_DAYS", "-1"),
        ("MAX_SPEED_M_S", "0"),
        ("INGEST_MAX_AGE_H", "0"),
    ],
)
def test_a_setting_that_cannot_be_stops_the_process_by_its_name(name: str, value: str) -> None:
    done = run("manage.py", "check", **DEPLOYMENT | {name: value})
    assert done.returncode != 0
    assert name in done.stderr


@pytest.mark.parametrize(
    ("chosen", "findable"),
    [
        ({"ACCESS": "tokens"}, False),
        ({"ACCESS": "open"}, True),
        ({"ACCESS": "tokens", "FINDABLE_BY_DEFAULT": "true"}, True),
        ({"ACCESS": "open", "FINDABLE_BY_DEFAULT": "false"}, False),
    ],
)
def test_new_people_are_found_without_being_asked_only_where_everybody_may_ask(
    chosen: dict[str, str], *, findable: bool
) -> None:
    show = "from persons.models import Person; print(Person().findable)"
    done = run("manage.py", "shell", "--no-imports", "-c", show, **DEPLOYMENT | chosen)
    assert done.stdout.split()[-1] == str(findable), done.stderr


@pytest.mark.django_db
def test_cookies_of_the_admin_are_for_tls_alone_and_pages_say_that_it_stays() -> None:
    with Server(WEB_WORKERS="1", **DEPLOYMENT | {"ALLOWED_HOSTS": "localhost,127.0.0.1"}) as server:
        by_tls = server.get("/admin/login/", headers={"X-Forwarded-Proto": "https"})
        plain = server.get("/admin/login/")
    assert "; Secure" in by_tls.headers["Set-Cookie"]
    assert by_tls.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "Strict-Transport-Security" not in plain.headers
