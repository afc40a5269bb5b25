"""The journey on what `docker compose up` starts. `make compose-test` runs this file; it needs Docker.

The system has a name and ports of its own, so that it can stand beside any other, and nothing of it is left
afterwards but the image.
"""

import os
import random
import secrets
import subprocess
from collections.abc import Iterator

import pytest

from local.instance import CHECKOUT, Instance
from local.kafka import USERS, secret_name
from local.manifests import token_keys
from local.tests.terminal import all_free
from tests.gunicorn_server import until
from tests.system import STAGES, Addresses
from tests.test_journey import *  # noqa: F403 - the same tests, with the fixtures below
from tests.test_journey import BOOTH, make_person, ping


class Composed(Addresses):
    """Stands at the last stage, and is asked through the contract's addresses."""

    def __init__(self) -> None:
        bases = iter(lambda: random.randrange(31000, 32700, 10), None)
        super().__init__(Instance(state=CHECKOUT, port_base=next(base for base in bases if all_free(base))))
        ports = str(self.instance.port_base).removesuffix("0")
        self.environ = (
            os.environ
            | {
                "COMPOSE_PROJECT_NAME": f"connect-test-{ports}",
                "CONNECT_PORTS": ports,
                "SECRET_KEY": secrets.token_hex(32),
                "PROXY_SECRET": secrets.token_hex(32),
                "POSTGRES_PASSWORD": secrets.token_hex(16),
            }
            | {secret_name(user): secrets.token_hex(16) for user in USERS}
            | {key: f"{secrets.token_hex(4)}.{secrets.token_hex(32)}" for key in token_keys(self.instance)}
        )

    def compose(self, *arguments: str) -> int:
        command = ["docker", "compose", *arguments]
        return subprocess.run(command, cwd=CHECKOUT, env=self.environ, check=False).returncode

    def manage(self, *arguments: str) -> str:
        """What a command says that runs in a process which has the database."""
        command = ["docker", "compose", "exec", "-T", "persons", *arguments]
        done = subprocess.run(
            command, cwd=CHECKOUT, env=self.environ, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def sign_in(self) -> None:
        """From now on a staff user's token is shown."""
        password = f"DJANGO_SUPERUSER_PASSWORD={secrets.token_hex(8)}"
        create = ["createsuperuser", "--noinput", "--username", "admin", "--email", "admin@localhost"]
        self.manage("env", password, "python", "manage.py", *create)
        self.token = self.manage("python", "manage.py", "tokens", "make", "staff", "--user", "admin")

    def empty(self) -> None:
        """Nobody, nowhere; ids are never given again, so no door has to forget anybody."""
        for one in self.get("/api/persons").json():
            assert self.ask("DELETE", f"/api/persons/{one['id']}").status_code == 204


@pytest.fixture(scope="session")
def system() -> Iterator[Composed]:
    composed = Composed()
    try:
        if composed.compose("up", "--build", "--wait", "--wait-timeout", "300"):
            composed.compose("ps", "--all")
            composed.compose("logs", "--tail", "30")
            pytest.fail("The system did not come up.")
        composed.sign_in()
        yield composed
    finally:
        composed.compose("down", "--volumes")


@pytest.fixture(scope="session")
def stage() -> str:
    return STAGES[-1]


@pytest.fixture
def fresh(system: Composed) -> Composed:
    system.empty()
    return system


def test_a_batch_that_is_worth_compressing_comes_through(fresh: Composed) -> None:
    ann = make_person(fresh, "Ann")
    day = [f"{hour:02}:{minute:02}:00" for hour in range(24) for minute in range(60)]
    sent = [ping(ann, time, BOOTH) for time in day]
    assert fresh.ask("POST", "/api/locations", json=sent).json() == {"accepted": len(sent)}
    until(lambda: len(fresh.get(f"/api/locations?person_id={ann}").json()) == len(sent))
