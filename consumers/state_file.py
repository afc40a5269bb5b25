"""The state file of a worker: a small JSON file that it updates, for probes and `make status`."""

import json
import logging
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from connect import atomic_file

WRITE_INTERVAL_S = 1.0
STUCK_S = 60.0  # many times the longest step of a healthy writer

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class WorkerState:
    """`doing` is `waiting` (for the database or the broker), `writing` or `stopped`, for the writer of pings.

    Its counts start with the process; `unwritten` and `oldest_s` cover its partitions only. Other workers
    have no counts.
    """

    pid: int
    at: float
    doing: str
    stored: int = 0
    rejected: int = 0
    dropped: int = 0
    unwritten: int | None = None
    oldest_s: float | None = None

    @property
    def age_s(self) -> float:
        return max(0.0, time.time() - self.at)

    @property
    def is_alive(self) -> bool:
        return self.age_s < STUCK_S


class NotAlive(Exception):
    """A process has no state file, or does not update it."""


class StateFile:
    def __init__(self, path: Path):
        self._path = path
        self._written_at = float("-inf")

    def update(self, doing: str, *, force: bool = False, **fields: float | None) -> None:
        """Writes the file at most once per WRITE_INTERVAL_S unless forced. Logs a write error."""
        now = time.monotonic()
        if force or now - self._written_at >= WRITE_INTERVAL_S:
            self._written_at = now
            try:
                write(self._path, WorkerState(os.getpid(), time.time(), doing, **fields))  # type: ignore[arg-type]
            except OSError as error:
                logger.warning("Cannot write the state file: %s", error)


def write(path: Path, state: WorkerState) -> None:
    """Replaces the file atomically."""
    atomic_file.write(path, json.dumps(asdict(state)), sync=False)


def read(path: Path) -> WorkerState | None:
    """None if the file does not exist."""
    try:
        return WorkerState(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None


def check(path: Path, name: str) -> str:
    """Describes the last state and its age. Raises NotAlive with a text that names the process."""
    state = read(path)
    if state is None:
        raise NotAlive(f"There is no state file of a {name}: {path}")
    if not state.is_alive:
        raise NotAlive(f"The {name} is stuck: its state file is {state.age_s:.0f} s old.")
    return f"{state.doing}, updated {state.age_s:.1f} s ago"
