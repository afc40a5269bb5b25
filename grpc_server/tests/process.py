"""Runs `manage.py run_location_server` on a free port and the database of the tests."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from tests.gunicorn_server import ROOT, database_url, until


class LocationProcess:
    """Listens on entry and stops on exit. Keywords are environment variables."""

    def __init__(self, *arguments: str, address: str = "127.0.0.1:0", **environ: str):
        addresses = ("--address", address, "--public-address", "127.0.0.1:0")
        self._command = [sys.executable, "manage.py", "run_location_server", *addresses, *arguments]
        self._environ = {"DATABASE_URL": database_url(), "PYTHONUNBUFFERED": "1"} | environ
        self._log = tempfile.NamedTemporaryFile(prefix="location-server-", suffix=".log")  # noqa: SIM115

    def start(self) -> Self:
        self.process = subprocess.Popen(
            self._command, cwd=ROOT, env=os.environ | self._environ, stdout=self._log, stderr=self._log
        )
        return self

    def __enter__(self) -> Self:
        self.start()
        try:
            self.address, self.public_address = until(self._listens, at_most_s=60)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """Returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)  # as long as the grace period
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def output(self) -> str:
        return Path(self._log.name).read_text()

    def _listens(self) -> tuple[str, str] | None:
        assert self.process.poll() is None, self.output()
        lines = r"^Listening on (\S+)\nListening for clients on (\S+)$"
        found = re.search(lines, self.output(), re.MULTILINE)
        return (found[1], found[2]) if found else None

    @property
    def url(self) -> str:
        return f"grpc://{self.address}"

    def channel(self) -> grpc.Channel:
        return grpc.insecure_channel(self.address)

    def public_channel(self) -> grpc.Channel:
        return grpc.insecure_channel(self.public_address)
