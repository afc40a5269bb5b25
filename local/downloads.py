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


def run(command: list[str], folder: Path, failure: str) -> None:
    """Runs the package manager in the folder; its output is in a log beside the folder."""
    log = folder.parent / f"{folder.stem}.log"
    with log.open("wb") as output:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        )
    if done.returncode != 0:
        raise Refused(f"{failure} See {log}.")
