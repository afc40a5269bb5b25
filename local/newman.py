"""newman, which runs the Postman collection in the tests: fetched by npm, pinned in local/newman/.

requirements-dev.txt brings Node. Standard library only.
"""

import hashlib
import shutil
from pathlib import Path

from local.downloads import download, is_current, run
from local.instance import CHECKOUT, VENV

PINNED = CHECKOUT / "local" / "newman"
FOLDER = CHECKOUT / ".local" / "newman"


def fetch() -> None:
    pins = hashlib.sha256((PINNED / "package-lock.json").read_bytes()).hexdigest()
    if is_current(FOLDER, pins):
        return
    with download(FOLDER, pins, "newman, which runs the Postman collection, 66 MB") as unfinished:
        shutil.copytree(PINNED, unfinished, dirs_exist_ok=True)
        # It needs none of its packages' install scripts.
        command = [str(VENV / "bin" / "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        failure = "npm could not fetch newman; is an npm registry reachable?"
        run(command, FOLDER.with_suffix(".log"), failure, folder=unfinished)


def command(*arguments: str | Path) -> list[str]:
    """The command that runs newman."""
    program = FOLDER / "node_modules" / "newman" / "bin" / "newman.js"
    return [str(VENV / "bin" / "node"), str(program), *map(str, arguments)]
