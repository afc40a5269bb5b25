"""The writer's state file: a small JSON file that the writer updates, for probes and `make status`."""

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
class WriterState:
    """`doing` is `waiting` (for the database or the broker), `writing` or `stopped`.

    The counts start with the writer; `unwritten` and `oldest_s` cover the partitions of this writer only.
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
                write(self._path, WriterState(os.getpid(), time.time(), doing, **fields))  # type: ignore[arg-type]
            except OSError as error:
                logger.warning("Cannot write the state file: %s", error)


def write(path: Path, state: WriterState) -> None:
    """Replaces the file atomically."""
    atomic_file.write(path, json.dumps(asdict(state)), sync=False)


def read(path: Path) -> WriterState | None:
    """None if the file does not exist."""
    try:
        return WriterState(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
