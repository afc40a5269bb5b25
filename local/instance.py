"""Where one running system lives: its checkout, its state, its addresses.

Two systems on one machine differ in nothing but this: another state directory and another port base.
Standard library only: local.prepare runs before the virtual environment exists.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import stat
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"

# The addresses in the manifests are those of this base; another base shifts them all.
NODE_PORT_BASE = 30000
NODE_PORTS = 4

# sun_path holds 108 bytes; HAProxy binds a temporary name that is some 20 bytes longer first.
LONGEST_SOCKET_DIRECTORY = 60


class Refused(Exception):
    """Something the person at the keyboard has to know and to change; its text is all they need."""


@dataclass(frozen=True)
class Instance:
    """One system's folder and addresses."""

    state: Path
    port_base: int = NODE_PORT_BASE
    checkout: Path = CHECKOUT
    rendered: Path = CHECKOUT / "k8s" / "rendered"

    @classmethod
    def from_environment(cls) -> "Instance":
        base = os.environ.get("CONNECT_PORT_BASE") or str(NODE_PORT_BASE)
        if not base.isdigit() or not 1024 <= int(base) <= 65535 - NODE_PORTS:
            raise Refused(
                f"CONNECT_PORT_BASE is {base!r}; it must be a port from 1024 to {65535 - NODE_PORTS}."
            )
        state = Path(os.environ.get("CONNECT_STATE_DIR") or CHECKOUT / ".local")
        return cls(state=state.absolute(), port_base=int(base))

    @property
    def key(self) -> str:
        """Tells this system's folders and processes from those of any other on the machine."""
        return hashlib.sha256(str(self.state).encode()).hexdigest()[:10]

    @property
    def programs(self) -> Path:
        return self.state / "programs"

    @property
    def logs(self) -> Path:
        return self.state / "log"

    def node_port(self, port: int) -> int:
        """The port that stands here for the manifests' 30000 to 30003."""
        return port - NODE_PORT_BASE + self.port_base

    def service_address(self, service: str) -> str:
        """The loopback address that stands for a Service: the port base in two bytes, then the name in one.

        A function of the name alone, so it stays when other Services come and go.
        """
        high, low = divmod(self.port_base, 256)
        return f"127.{high}.{low}.{1 + zlib.crc32(service.encode()) % 254}"

    @property
    def access(self) -> str:
        """On one's own machine everything is open, unless something else is said."""
        return given("ACCESS", self.checkout) or "open"

    def sockets(self) -> Path:
        """The folder for Unix sockets; elsewhere when the checkout lies too deep for their names."""
        inside = self.state / "run"
        if len(str(inside)) <= LONGEST_SOCKET_DIRECTORY:
            return inside
        return Path("/tmp") / f"connect-{os.getuid()}-{self.key}"  # noqa: S108 - checked in `make`

    def make(self) -> None:
        for folder in (self.state, self.programs, self.logs, self.sockets()):
            private_directory(folder)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Held by whoever changes the system; the kernel lets go of it however the holder ends."""
        private_directory(self.state)
        with (self.state / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Another make is at work on this system; waiting for it.")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def private_directory(path: Path) -> Path:
    """Makes the folder for its owner alone; refuses one that somebody else prepared (in /tmp anyone can)."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise Refused(
            f"{path} exists and is not a folder of user {os.getuid()}; remove it or run as its owner."
        )
    return path


def write(path: Path, text: str) -> None:
    """Writes a file that is either the old one or the new one, whenever the machine stops; mode 600."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)


def keep(path: Path, text: str) -> None:
    """Writes the file unless it says so already."""
    if not path.exists() or path.read_text() != text:
        write(path, text)


def read_json(path: Path) -> dict[str, Any]:
    """The object in the file; empty when there is none."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}


def kept_secret(path: Path, length: int = 32) -> str:
    """The secret in the file, made of so many random bytes at the first call."""
    return kept(path, lambda: secrets.token_urlsafe(length))


def kept_token(path: Path) -> str:
    """The same, in the form of a token (access/services.py)."""
    return kept(path, lambda: f"{secrets.token_hex(4)}.{secrets.token_hex(32)}")


def kept(path: Path, make: Callable[[], str]) -> str:
    if not path.exists():
        write(path, make() + "\n")
    return path.read_text().strip()


def say(line: str) -> None:
    print(line, flush=True)


def complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def given(name: str, checkout: Path = CHECKOUT) -> str | None:
    """A setting from the environment or else from `.env`; set but empty means: as if in neither."""
    if name in os.environ:
        return os.environ[name] or None
    try:
        lines = (checkout / ".env").read_text().splitlines()
    except FileNotFoundError:
        return None
    for line in lines:
        key, separator, value = line.removeprefix("export ").partition("=")
        if separator and key.strip() == name:
            return value.strip().strip("\"'") or None
    return None
