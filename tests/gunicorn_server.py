"""A gunicorn as it is deployed, on a port of its own, for the tests that need real HTTP."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import requests
from django.db import connection

from local.polling import poll

ROOT = Path(__file__).resolve().parent.parent
T = TypeVar("T")


def until(check: Callable[[], T], *, at_most_s: float = 60) -> T:
    """The first true answer; fails when there is none in time."""
    answer = poll(check, at_most_s)
    assert answer, f"not so within {at_most_s} s: {check}"
    return answer


def database_url() -> str:
    """The tests' own database, as a process of its own is told of it."""
    default = "postgis://connect:connect@127.0.0.1:5432/connect"
    url = urlsplit(os.environ.get("DATABASE_URL", default))
    return url._replace(path=f"/{connection.settings_dict['NAME']}").geturl()


class Server:
    """Started on entry, alive then; stopped on exit. Keywords go into its environment.

    `{port}` in a value is the server's own port. Another `checkout` has its own .venv.
    """

    def __init__(
        self,
        *,
        config: str = "python:connect.gunicorn",
        checkout: Path = ROOT,
        application: str = "connect.asgi",
        **environ: str,
    ):
        self.config = config
        self.checkout = checkout
        self.application = application
        self.environ = environ if "DATABASE_URL" in environ else {"DATABASE_URL": database_url()} | environ
        self.log = tempfile.NamedTemporaryFile(prefix="serving-", suffix=".log")  # noqa: SIM115

    def __enter__(self) -> Self:
        # The listener is made here and handed down, so that nobody else can take its port meanwhile.
        with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
            self.port = listener.getsockname()[1]
            bind = ["--bind", f"fd://{listener.fileno()}"]
            self.process = subprocess.Popen(
                [self._python(), "-m", "gunicorn", "--config", self.config, *bind, self.application],
                cwd=self.checkout,
                env=os.environ
                | {name: value.replace("{port}", str(self.port)) for name, value in self.environ.items()},
                pass_fds=[listener.fileno()],
                stdout=self.log,
                stderr=self.log,
            )
        try:
            until(self._alive, at_most_s=60)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _python(self) -> str:
        return sys.executable if self.checkout == ROOT else str(self.checkout / ".venv/bin/python")

    def _stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _alive(self) -> bool:
        assert self.process.poll() is None, self.output()
        try:
            return self.get("/health/live").ok
        except requests.ConnectionError:
            return False

    def output(self) -> str:
        return Path(self.log.name).read_text()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def ask(self, verb: str, path: str, **how: Any) -> requests.Response:
        return requests.request(verb, self.url(path), timeout=60, **how)

    def get(self, path: str, **how: Any) -> requests.Response:
        return self.ask("GET", path, **how)

    def post(self, path: str, **how: Any) -> requests.Response:
        return self.ask("POST", path, **how)
