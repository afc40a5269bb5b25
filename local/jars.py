"""The jars of the broker, fetched by Maven, and the Java that runs them. Standard library only."""

import hashlib
import os
import re
import shutil
from pathlib import Path

from local.downloads import download, is_current, run
from local.instance import CHECKOUT, Refused

NAMED = CHECKOUT / "local" / "kafka.xml"
# In the format of sha256sum. For other versions: cd .local/jars && sha256sum *.jar
PINNED = CHECKOUT / "local" / "kafka.sha256"
FOLDER = CHECKOUT / ".local" / "jars"
OLDEST_JAVA = 17


def java() -> Path | None:
    """A Java that is new enough: on the path, or from any package."""
    packaged = sorted(Path("/usr/lib/jvm").glob("*/bin/java"))
    candidates = [Path(shutil.which("java") or "/usr/bin/java"), *packaged]
    return next((found for found in candidates if java_version(found) >= OLDEST_JAVA), None)


def java_version(program: Path) -> int:
    """17 of 17.0.15; 0 if it is unknown."""
    try:
        release = (program.resolve().parent.parent / "release").read_text()
    except OSError:
        return 0
    found = re.search(r'^JAVA_VERSION="(\d+)', release, re.MULTILINE)
    return int(found[1]) if found else 0


def are_fetched(folder: Path = FOLDER) -> bool:
    return is_current(folder, pins())


def fetch(folder: Path = FOLDER, *options: str) -> None:
    if are_fetched(folder):
        return
    with download(folder, pins(), "the jars of the broker, Apache Kafka, 44 MB") as unfinished:
        command = ["mvn", "-q", "-B", "-f", str(NAMED), "dependency:copy-dependencies", *options]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={unfinished}"]
        failure = "Maven could not fetch the broker's jars; is a Maven repository reachable?"
        run(command, folder.with_suffix(".log"), failure)
        if wrong := unpinned(unfinished):
            raise Refused(f"These jars of the broker are not those of {PINNED}: {', '.join(wrong)}.")


def unpinned(folder: Path) -> list[str]:
    """The jars that are missing, differ from the pinned ones, or are not pinned."""
    pinned = {name: digest for digest, name in map(str.split, PINNED.read_text().splitlines())}
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in folder.glob("*.jar")}
    return sorted({name for name, _ in pinned.items() ^ found.items()})


def pins() -> str:
    """A digest of what names and pins the jars."""
    return hashlib.sha256(NAMED.read_bytes() + PINNED.read_bytes()).hexdigest()


def command(main: str, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
    """The command that runs a class of the jars."""
    program = java()
    if program is None or not are_fetched():
        raise Refused("Java or the broker's jars are missing; `make up` and `make test` install them.")
    return [str(program), *options, "-cp", f"{FOLDER}{os.sep}*", main, *arguments]
