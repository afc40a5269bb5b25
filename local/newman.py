"""newman, which runs the Postman collection in the tests: fetched once by npm as local/newman/ pins it.

Node itself comes with requirements-dev.txt.
"""

import hashlib
import shutil
import subprocess
from pathlib import Path

from local.instance import CHECKOUT, VENV, Refused, private_directory, say

PINNED = CHECKOUT / "local" / "newman"
FOLDER = CHECKOUT / ".local" / "newman"


def fetch(folder: Path = FOLDER) -> None:
    """Has npm install beside and renames, so that an interrupted fetch is begun again."""
    stamp = folder / "stamp"
    if stamp.exists() and stamp.read_text() == digest():
        return
    say("Fetching newman, which runs the Postman collection, 66 MB.")
    unfinished = private_directory(folder.parent) / f"{folder.name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(PINNED, unfinished)
    # It needs no script of its packages to run, and nobody here knows what they would do.
    command = [str(VENV / "bin" / "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    log = folder.parent / "npm.log"
    with log.open("wb") as output:
        result = subprocess.run(
            command, cwd=unfinished, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        )
    if result.returncode != 0:
        raise Refused(f"npm could not fetch newman; is an npm registry in reach? See {log}.")
    (unfinished / "stamp").write_text(digest())
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def digest() -> str:
    return hashlib.sha256((PINNED / "package-lock.json").read_bytes()).hexdigest()


def command(*arguments: str | Path) -> list[str]:
    """What runs newman with these arguments."""
    program = FOLDER / "node_modules" / "newman" / "bin" / "newman.js"
    return [str(VENV / "bin" / "node"), str(program), *map(str, arguments)]
