"""What a writer says of itself, for probes and for `make status`: a small file, written again and again."""

import json
import logging
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

EVERY_S = 1.0
STUCK_S = 60.0  # many times as long as the longest step of a writer that is well

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Said:
    """`doing` is waiting (for database or broker), writing or stopped; counts are since its start.

    `unwritten` and `oldest_s` are of the partitions of this writer.
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
        self._written = float("-inf")

    def say(self, doing: str, *, at_once: bool = False, **more: float | None) -> None:
        """At most every EVERY_S, since it is said at every step. A file that cannot be written is logged."""
        now = time.monotonic()
        if at_once or now - self._written >= EVERY_S:
            self._written = now
            try:
                write(self._path, Said(os.getpid(), time.time(), doing, **more))  # type: ignore[arg-type]
            except OSError as fault:
                logger.warning("The state file is not written: %s", fault)


def write(path: Path, said: Said) -> None:
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(asdict(said), file)
        Path(beside).replace(path)
    except OSError:
        Path(beside).unlink(missing_ok=True)
        raise


def read(path: Path) -> Said | None:
    """None when there is none yet."""
    try:
        return Said(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
