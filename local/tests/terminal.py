"""A system of a test's own, and somebody at a terminal who types make commands for it."""

import contextlib
import os
import random
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from local import postgis, runner
from local.instance import CHECKOUT, NODE_PORTS, VENV, Instance
from local.seed import STAFF_USER


@contextlib.contextmanager
def an_instance(folder: Path) -> Iterator[Instance]:
    base = next(base for base in iter(lambda: random.choice(port_bases()), None) if all_free(base))
    instance = Instance(state=folder / "state", port_base=base)
    instance.make()
    try:
        yield instance
    finally:
        runner.down(instance)
        shutil.rmtree(postgis.home_of(instance), ignore_errors=True)


def port_bases() -> range:
    """Each worker of pytest has a range of its own: a base is free until its system listens."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return range(31000 + 200 * (worker % 8), 31000 + 200 * (worker % 8 + 1), NODE_PORTS)


def all_free(base: int) -> bool:
    return all(postgis.is_free(base + number) for number in range(NODE_PORTS))


def make_token(environ: Mapping[str, str], *arguments: str) -> str:
    return _tokens(environ, "make", *arguments)


def make_code(environ: Mapping[str, str], person_id: int) -> str:
    """The one-time code of a new sign-in link."""
    return _tokens(environ, "link", "--people", str(person_id)).partition("#code=")[2]


def _tokens(environ: Mapping[str, str], *arguments: str) -> str:
    command = [VENV / "bin" / "python", "manage.py", "tokens", *arguments]
    made = subprocess.run(command, cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def staff_token(environ: Mapping[str, str]) -> str:
    return make_token(environ, "staff", "--user", STAFF_USER)


class Terminal:
    """Types make commands for one system, whose database is the private one whatever the tests have."""

    def __init__(self, instance: Instance, *, access: str = "open") -> None:
        self.instance = instance
        self.environ = {
            key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))
        }
        self.environ |= {
            "DATABASE_URL": "",
            "CONNECT_STATE_DIR": str(instance.state),
            "CONNECT_PORT_BASE": str(instance.port_base),
            "ACCESS": access,
            "SIMULATE_LIVE": "false",
        }

    def staff_token(self) -> str:
        """A new one, of the staff user whom `make up` has made."""
        known = dict(line.split("=", 1) for line in (self.instance.state / "env").read_text().splitlines())
        return staff_token(self.environ | known)

    def make(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["make", "--no-print-directory", *arguments],
            cwd=CHECKOUT,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=900,
            check=False,
        )

    def get(self, port: int, path: str) -> str:
        url = f"http://127.0.0.1:{self.instance.node_port(port)}{path}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            return str(answer.read().decode())
