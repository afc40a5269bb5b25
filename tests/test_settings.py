"""`.env.example` lists every setting and nothing else, and `make up` passes each one on."""

import re
from pathlib import Path

import pytest

from local import setting_overrides
from local.instance import Instance

ROOT = Path(__file__).resolve().parent.parent
PLACE = Instance(state=Path("/nowhere"))
READ = set(re.findall(r'env\.\w+\(\s*"(\w+)"', (ROOT / "connect" / "settings.py").read_text()))
LISTED = re.findall(r"^#?([A-Z][A-Z0-9_]*)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
OF_THE_PROXY = {"TRUSTED_PROXIES"}  # HAProxy alone reads it
OF_MAKE_UP = {"SIMULATE_LIVE"}
NO_SETTINGS = {"CONNECT_STATE_DIR", "SUPERVISOR_ENABLED"}  # of make and of supervisord


def test_the_example_lists_every_environment_variable_that_is_read():
    assert sorted(LISTED) == sorted((READ - NO_SETTINGS) | OF_THE_PROXY | OF_MAKE_UP)


def test_every_setting_reaches_the_processes_or_has_another_source(monkeypatch: pytest.MonkeyPatch):
    for name in LISTED:
        monkeypatch.setenv(name, "given")
    told = setting_overrides.for_process(PLACE, {})

    assert set(told) | set(setting_overrides.NOT_PASSED_ON) == set(LISTED)
    assert not set(told) & set(setting_overrides.NOT_PASSED_ON)
    assert set(told.values()) == {"given"}


def test_a_setting_in_the_environment_of_make_up_reaches_the_processes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CORS_ALLOWED_ORIGINS", "https://map.example.org")
    monkeypatch.setenv("TILES_URL", "https://tile.example.org/{z}/{x}/{y}.png")
    told = setting_overrides.for_process(PLACE, {"SERVED_APPS": "webapp"})

    assert told["CORS_ALLOWED_ORIGINS"] == "https://map.example.org"
    assert told["TILES_URL"] == "https://tile.example.org/{z}/{x}/{y}.png"


def test_no_other_file_of_the_apps_reads_the_environment():
    apps = ("connect", "persons", "locations", "connections", "grpc_server", "consumers", "privacy", "webapp")
    readers = [
        str(path.relative_to(ROOT))
        for app in apps
        for path in (ROOT / app).rglob("*.py")
        if re.search(r"os\.environ(?!\.setdefault)|getenv", path.read_text()) and "tests" not in path.parts
    ]

    assert readers == []
