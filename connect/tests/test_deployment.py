"""Settings of a deployment: cookies, headers, hosts, and the required SECRET_KEY."""

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
SETTING_NAMES = [
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
    environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)  # set by the browser tests
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def settings_of_process(**environ: str) -> dict[str, Any]:
    """The values of SETTING_NAMES in a new process."""
    script = f"import json; from django.conf import settings as s; names = {SETTING_NAMES}; "
    script += "print(json.dumps({name: getattr(s, name) for name in names}))"
    result = run("-c", script, DJANGO_SETTINGS_MODULE="connect.settings", **environ)
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout))


def manage_py_for(state: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs `manage.py` with a bare environment, for the system in `state`."""
    command = [sys.executable, "manage.py", *arguments]
    environ = {"PATH": os.environ["PATH"], "CONNECT_STATE_DIR": str(state)}
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


def test_manage_py_uses_the_database_of_connect_state_dir(tmp_path: Path) -> None:
    url = "postgis://connect@127.0.0.1:1/the_second_system"
    (tmp_path / "env").write_text(f"DATABASE_URL={url}\nSECRET_KEY=of-the-second-one\nACCESS=tokens\n")
    script = "from django.conf import settings as s; print(s.DATABASES['default']['NAME'], s.SECRET_KEY)"
    result = manage_py_for(tmp_path, "shell", "--verbosity", "0", "--command", script)
    assert result.stdout.strip() == "the_second_system of-the-second-one", result.stderr


@pytest.mark.parametrize("command", [("runserver",), ("tokens", "list")])
def test_manage_py_without_a_system_names_the_missing_setting(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    result = manage_py_for(tmp_path, *command)
    assert result.returncode == 1
    assert result.stderr.startswith("Settings: SECRET_KEY is not set")
    assert "make up" in result.stderr
    assert str(tmp_path) in result.stderr
    assert "Traceback" not in result.stderr


def test_the_token_command_names_the_system(tmp_path: Path) -> None:
    assert report.manage_py(Instance(state=ROOT / ".local")) == ".venv/bin/python manage.py"
    other = Instance(state=tmp_path / "my event")
    assert report.manage_py(other) == f"CONNECT_STATE_DIR='{tmp_path}/my event' .venv/bin/python manage.py"


def test_a_deployment_passes_every_check() -> None:
    result = run("manage.py", "check", "--deploy", "--fail-level", "WARNING", **DEPLOYMENT)
    assert result.returncode == 0, result.stderr


def test_an_https_api_url_enables_all_tls_settings() -> None:
    assert settings_of_process(**DEPLOYMENT) == {
        "SECURE_PROXY_SSL_HEADER": ["HTTP_X_FORWARDED_PROTO", "https"],
        "SESSION_COOKIE_SECURE": True,
        "CSRF_COOKIE_SECURE": True,
        "SESSION_COOKIE_NAME": "__Host-sessionid",
        "CSRF_COOKIE_NAME": "__Host-csrftoken",
        "SECURE_HSTS_SECONDS": 31_536_000,
        "CSRF_TRUSTED_ORIGINS": [DEPLOYMENT["APP_URL"], "https://connect.example.org"],
    }
    plain = settings_of_process(**DEPLOYMENT | {"API_URL": "http://127.0.0.1:30001"})
    assert plain.pop("CSRF_TRUSTED_ORIGINS") == [DEPLOYMENT["APP_URL"]]
    assert (plain.pop("SESSION_COOKIE_NAME"), plain.pop("CSRF_COOKIE_NAME")) == ("sessionid", "csrftoken")
    assert not any(plain.values())


def test_remote_neighbours_require_a_service_token() -> None:
    with_remote = DEPLOYMENT | {"PERSONS_URL": "http://persons:8000"}
    result = run("manage.py", "check", **with_remote | {"SERVICE_TOKEN": ""})
    assert result.returncode != 0
    assert "SERVICE_TOKEN is empty" in result.stderr
    for valid in ({"SERVICE_TOKEN": "process0." + "k" * 32}, {"SERVICE_TOKEN": "", "ACCESS": "open"}):
        assert run("manage.py", "check", **with_remote | valid).returncode == 0


def test_the_web_app_starts_without_secret_key_and_database() -> None:
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
        result = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
        assert result.returncode != 0
        assert "SECRET_KEY is not set" in result.stderr


@pytest.mark.parametrize("line", EXAMPLE)
def test_example_values_are_refused(line: str) -> None:
    name, _, value = line.partition("=")
    name = "SERVICE_TOKEN" if name.startswith("SERVICE_TOKEN_") else name
    name = "KAFKA_PASSWORD" if name.startswith("KAFKA_") else name
    result = run("manage.py", "check", **DEPLOYMENT | {name: value})
    assert result.returncode != 0
    assert f"{name} has the value of the example" in result.stderr


@pytest.mark.parametrize("key", ["", "a-key-for-one-laptop-only-set-your-own-anywhere-else"])
def test_the_laptop_key_is_refused_unless_access_is_open(key: str) -> None:
    result = run("manage.py", "check", **DEPLOYMENT | {"SECRET_KEY": key})
    assert result.returncode != 0
    assert "SECRET_KEY" in result.stderr
    with_open_access = run("manage.py", "check", **DEPLOYMENT | {"SECRET_KEY": key, "ACCESS": "open"})
    assert (with_open_access.returncode == 0) == bool(key)


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
def test_the_error_for_an_invalid_setting_names_it(name: str, value: str) -> None:
    result = run("manage.py", "check", **DEPLOYMENT | {name: value})
    assert result.returncode != 0
    assert name in result.stderr


@pytest.mark.parametrize(
    ("environ", "findable"),
    [
        ({"ACCESS": "tokens"}, False),
        ({"ACCESS": "open"}, True),
        ({"ACCESS": "tokens", "FINDABLE_BY_DEFAULT": "true"}, True),
        ({"ACCESS": "open", "FINDABLE_BY_DEFAULT": "false"}, False),
    ],
)
def test_new_people_are_findable_by_default_only_with_access_open(
    environ: dict[str, str], *, findable: bool
) -> None:
    show = "from persons.models import Person; print(Person().findable)"
    result = run("manage.py", "shell", "--no-imports", "-c", show, **DEPLOYMENT | environ)
    assert result.stdout.split()[-1] == str(findable), result.stderr


@pytest.mark.django_db
def test_admin_cookies_are_secure_and_tls_pages_have_hsts() -> None:
    with Server(WEB_WORKERS="1", **DEPLOYMENT | {"ALLOWED_HOSTS": "localhost,127.0.0.1"}) as server:
        by_tls = server.get("/admin/login/", headers={"X-Forwarded-Proto": "https"})
        plain = server.get("/admin/login/")
    assert "; Secure" in by_tls.headers["Set-Cookie"]
    assert by_tls.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "Strict-Transport-Security" not in plain.headers
