"""`.env.example` lists every knob, and nothing that is none."""

import re
from pathlib import Path

from local.wishes import PASSED_ON

ROOT = Path(__file__).resolve().parent.parent


def test_the_example_lists_every_environment_variable_that_is_read():
    read = set(re.findall(r'env\.\w+\(\s*"(\w+)"', (ROOT / "connect" / "settings.py").read_text()))
    listed = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))

    assert listed == read | set(PASSED_ON)


def test_no_other_file_of_the_apps_reads_the_environment():
    apps = ("connect", "persons", "locations", "connections", "grpc_server", "consumers", "privacy", "webapp")
    readers = [
        str(path.relative_to(ROOT))
        for app in apps
        for path in (ROOT / app).rglob("*.py")
        if re.search(r"os\.environ(?!\.setdefault)|getenv", path.read_text()) and "tests" not in path.parts
    ]

    assert readers == []
