"""What a deployment is told by its settings alone: cookies, headers, hosts, and the key that it must have."""

import json
import os
import secrets
import subprocess
import sys
from typing import Any

import pytest

from tests.serving import ROOT, Server

DEPLOYMENT = {
    "ACCESS": "tokens",
    "SECRET_KEY": secrets.token_hex(32),
    "ALLOWED_HOSTS": "connect.example.org",
    "API_URL": "https://connect.example.org",
    "APP_URL": "https://connect.example.org:30000",
    "DEBUG": "False",
}
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
    ],
)
def test_a_setting_that_cannot_be_stops_the_process_by_its_name(name: str, value: str) -> None:
    done = run("manage.py", "check", **DEPLOYMENT | {name: value})
    assert done.returncode != 0
    assert name in done.stderr


@pytest.mark.django_db
def test_cookies_of_the_admin_are_for_tls_alone_and_pages_say_that_it_stays() -> None:
    with Server(WEB_WORKERS="1", **DEPLOYMENT | {"ALLOWED_HOSTS": "localhost,127.0.0.1"}) as server:
        by_tls = server.get("/admin/login/", headers={"X-Forwarded-Proto": "https"})
        plain = server.get("/admin/login/")
    assert "; Secure" in by_tls.headers["Set-Cookie"]
    assert by_tls.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "Strict-Transport-Security" not in plain.headers
