"""The broker's jars, fetched once by Maven as local/kafka.xml names them, and the Java that runs them.

Beside the virtual environment they are what every system of a checkout shares. Standard library only.
"""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from local.instance import CHECKOUT, Refused, private_directory, say

NAMED = CHECKOUT / "local" / "kafka.xml"
# As `sha256sum` writes and checks it. Made anew for other versions: cd .local/jars && sha256sum *.jar
PINNED = CHECKOUT / "local" / "kafka.sha256"
FOLDER = CHECKOUT / ".local" / "jars"
OLDEST_JAVA = 17
JVMS = Path("/usr/lib/jvm")


def java() -> Path | None:
    """A Java that is new enough: the one on the path, else any that a package brought."""
    on_path = shutil.which("java")
    candidates = [Path(on_path)] if on_path else []
    candidates += sorted(JVMS.glob("*/bin/java"))
    return next((found for found in candidates if java_version(found) >= OLDEST_JAVA), None)


def java_version(program: Path) -> int:
    """17 of 17.0.15; 0 where it cannot be told."""
    release = program.resolve().parent.parent / "release"
    try:
        found = re.search(r'^JAVA_VERSION="(\d+)', release.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def are_fetched(folder: Path = FOLDER) -> bool:
    stamp = folder / "stamp"
    return stamp.exists() and stamp.read_text() == digest()


def fetch(folder: Path = FOLDER, *options: str) -> None:
    """Has Maven copy the jars beside and renames, so that an interrupted fetch is begun again."""
    if are_fetched(folder):
        return
    say("Fetching the broker's jars: Apache Kafka and what it needs, 44 MB.")
    unfinished = private_directory(folder.parent) / f"{folder.name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    command = ["mvn", "-q", "-B", "-f", str(NAMED), "dependency:copy-dependencies", "-DincludeScope=runtime"]
    log = folder.parent / "maven.log"
    with log.open("wb") as output:
        result = subprocess.run(
            [*command, f"-DoutputDirectory={unfinished}", *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    if result.returncode != 0 or not any(unfinished.glob("kafka_*.jar")):
        raise Refused(f"Maven could not fetch the broker's jars; is a Maven repository in reach? See {log}.")
    if wrong := unpinned(unfinished):
        raise Refused(f"These of the broker's jars are not those of {PINNED}: {', '.join(wrong)}.")
    (unfinished / "stamp").write_text(digest())
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def unpinned(folder: Path) -> list[str]:
    """The jars that are missing, are others than the pinned ones, or are not pinned at all."""
    pinned = {name: digest for digest, name in map(str.split, PINNED.read_text().splitlines())}
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in folder.glob("*.jar")}
    return sorted({name for name, _ in pinned.items() ^ found.items()})


def digest() -> str:
    """Of what names and pins the jars: other jars are fetched when it changes."""
    return hashlib.sha256(NAMED.read_bytes() + PINNED.read_bytes()).hexdigest()


def command(main: str, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
    """What runs a class of the jars."""
    program = java()
    if program is None or not are_fetched():
        raise Refused("Java or the broker's jars are missing; `make up` and `make test` install them.")
    return [str(program), *options, "-cp", f"{FOLDER}{os.sep}*", main, *arguments]
