"""Runs a worker, such as `manage.py consume_locations`, on the database, topics and groups of the tests."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from django.conf import settings

from consumers import state_file
from tests.gunicorn_server import ROOT, database_url, until


class WriterProcess:
    """Starts on entry and stops on exit. Keywords are environment variables."""

    command = "consume_locations"

    def __init__(self, *arguments: str, **environ: str):
        self._folder = tempfile.TemporaryDirectory(prefix=f"{self.command}-")
        self.state_file = Path(self._folder.name) / "state"
        self._command = [sys.executable, "manage.py", self.command, *arguments]
        self._environ = {
            "DATABASE_URL": database_url(),
            "PINGS_URL": settings.PINGS_URL,
            "KAFKA_TOPIC": settings.KAFKA_TOPIC,
            "KAFKA_GROUP": settings.KAFKA_GROUP,
            "KAFKA_FINDER_GROUP": settings.KAFKA_FINDER_GROUP,
            "KAFKA_ENCOUNTERS_TOPIC": settings.KAFKA_ENCOUNTERS_TOPIC,
            "KAFKA_TIMEOUT_S": str(settings.KAFKA_TIMEOUT_S),
            "WORKER_STATE_FILE": str(self.state_file),
            "PYTHONUNBUFFERED": "1",
        } | environ
        self._log = tempfile.NamedTemporaryFile(prefix=f"{self.command}-", suffix=".log")  # noqa: SIM115

    def __enter__(self) -> Self:
        environ = os.environ | self._environ
        self.process = subprocess.Popen(
            self._command, cwd=ROOT, env=environ, stdout=self._log, stderr=self._log
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._folder.cleanup()

    def stop(self) -> int:
        """Returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait_for_exit()

    def wait_for_exit(self) -> int:
        """Waits for the process to end by itself; returns the exit status."""
        try:
            return self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"The process does not end:\n{self.output()}") from None

    def until_output(self, text: str, *, at_most_s: float = 60) -> None:
        def is_in_output() -> bool:
            assert self.process.poll() is None, self.output()
            return text in self.output()

        until(is_in_output, at_most_s=at_most_s)

    def output(self) -> str:
        return Path(self._log.name).read_text()

    def state(self) -> state_file.WorkerState | None:
        return state_file.read(self.state_file)

    def run_command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs the command once more with other arguments, such as --check."""
        return subprocess.run(
            [*self._command[:3], *arguments],
            cwd=ROOT,
            env=os.environ | self._environ,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
