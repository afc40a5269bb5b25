"""The two ways to the schema that the code needs: from nothing, and from the first one, with data in it.

Generations of different code run beside each other on one schema, so no upgrade may wait for a stage.
"""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from tests.gunicorn_server import ROOT
from tests.system import at

PERSON = "INSERT INTO persons_person (id, first_name, last_name, company_name) VALUES (5, 'Ada', 'L', 'E')"
PING = "INSERT INTO locations_location VALUES (5, '2019-05-11T10:00:00Z', 52.52, 13.4)"
Manage = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def url() -> Iterator[str]:
    """A database in which nothing is."""
    given = os.environ.get("DATABASE_URL", "postgis://connect:connect@127.0.0.1:5432/connect")
    name = f"test_migrations_{uuid.uuid4().hex[:10]}"
    with at(given) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        yield urlsplit(given)._replace(path=f"/{name}").geturl()
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def manage(url: str) -> Manage:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "manage.py", *arguments]
        environ = os.environ | {"DATABASE_URL": url}
        return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)

    return run


def ask(url: str, sql: str) -> list[tuple[object, ...]]:
    with at(url) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []


def test_from_nothing_and_a_second_time_nothing_is_to_do(manage: Manage) -> None:
    assert manage("migrate", "--check").returncode == 1, "what pods wait for until the job has run"
    assert manage("migrate").returncode == 0
    assert manage("migrate", "--check").returncode == 0
    assert "No migrations to apply" in manage("migrate").stdout


def test_from_the_first_schema_with_people_and_pings_in_it(manage: Manage, url: str) -> None:
    for app in ("persons", "locations"):
        assert manage("migrate", app, "0001").returncode == 0
    ask(url, PERSON)
    ask(url, PING)

    upgrade = manage("migrate")

    assert upgrade.returncode == 0, upgrade.stderr
    assert manage("migrate", "--check").returncode == 0
    assert ask(url, "SELECT person_id, latitude, longitude FROM locations_location") == [(5, 52.52, 13.4)]
    ask(url, "DELETE FROM persons_person WHERE id = 5")
    assert ask(url, "SELECT * FROM locations_location") == []
