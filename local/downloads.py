"""Downloads that all systems of a checkout share: by a package manager, from pinned versions.

Standard library only: local.prepare runs before the virtual environment exists.
"""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from local.instance import Refused, private_directory, replaced, say


def is_current(folder: Path, pins: str) -> bool:
    stamp = folder / "stamp"
    return stamp.exists() and stamp.read_text() == pins


@contextlib.contextmanager
def download(folder: Path, pins: str, what: str) -> Iterator[Path]:
    """A new folder to fill. It replaces the old one at the end, unless an error occurs."""
    say(f"Fetching {what}.")
    private_directory(folder.parent)
    with replaced(folder) as unfinished:
        unfinished.mkdir()
        yield unfinished
        (unfinished / "stamp").write_text(pins)


def run(command: list[str], log: Path, failure: str, *, folder: Path | None = None) -> None:
    """Runs a package manager, with its output in the log."""
    with log.open("wb") as output:
        done = subprocess.run(command, cwd=folder, stdout=output, stderr=output, check=False)
    if done.returncode != 0:
        raise Refused(f"{failure} See {log}.")
