"""One running system: its checkout, its state directory, its addresses.

Two systems on one machine differ only in state directory and port base.
Standard library only: local.prepare runs before the virtual environment exists.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connect import atomic_file

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"

# The manifests have the addresses of this base; another base shifts all of them.
NODE_PORT_BASE = 30000
NODE_PORTS = 4

# sun_path holds 108 bytes; HAProxy first binds a temporary name that is some 20 bytes longer.
LONGEST_SOCKET_DIRECTORY = 60


class Refused(Exception):
    """A problem that the user must solve; the text says how."""


@dataclass(frozen=True)
class Instance:
    state: Path
    port_base: int = NODE_PORT_BASE
    checkout: Path = CHECKOUT
    rendered: Path = CHECKOUT / "k8s" / "rendered"

    @classmethod
    def from_environment(cls) -> "Instance":
        base, last = os.environ.get("CONNECT_PORT_BASE") or str(NODE_PORT_BASE), 65535 - NODE_PORTS
        if not base.isdigit() or not 1024 <= int(base) <= last:
            raise Refused(f"CONNECT_PORT_BASE is {base!r}; it must be a port from 1024 to {last}.")
        state = Path(os.environ.get("CONNECT_STATE_DIR") or CHECKOUT / ".local")
        return cls(state=state.absolute(), port_base=int(base))

    @property
    def key(self) -> str:
        """Distinguishes this system's folders and processes from those of others on the machine."""
        return hashlib.sha256(str(self.state).encode()).hexdigest()[:10]

    @property
    def programs(self) -> Path:
        return self.state / "programs"

    @property
    def logs(self) -> Path:
        return self.state / "log"

    def node_port(self, port: int) -> int:
        """The port of this system for one of the manifests, 30000 to 30003."""
        return port - NODE_PORT_BASE + self.port_base

    def service_address(self, service: str) -> str:
        """The loopback address of a Service: two bytes of the port base, then one of the name's hash.

        It depends on the name only, so it stays when other Services come and go.
        """
        high, low = divmod(self.port_base, 256)
        return f"127.{high}.{low}.{1 + zlib.crc32(service.encode()) % 254}"

    @property
    def access(self) -> str:
        """`open`, unless the setting says `tokens`."""
        return given("ACCESS") or "open"

    def sockets(self) -> Path:
        """The folder of Unix sockets; in /tmp if the path of the checkout is too long for their names."""
        inside = self.state / "run"
        if len(str(inside)) <= LONGEST_SOCKET_DIRECTORY:
            return inside
        return Path("/tmp") / f"connect-{os.getuid()}-{self.key}"  # noqa: S108 - checked in `make`

    def make(self) -> None:
        for folder in (self.state, self.programs, self.logs, self.sockets()):
            private_directory(folder)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits until no other process holds this lock. The kernel releases it when the process ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def given(name: str) -> str | None:
    """A setting of the environment, to which local.__main__ adds `.env`. An empty one counts as unset."""
    return os.environ.get(name) or None


def private_directory(path: Path) -> Path:
    """Makes the folder with mode 700; refuses one of another user (in /tmp anybody can prepare one)."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise Refused(f"{path} is not a folder of user {os.getuid()}; remove it or run as its owner.")
    return path


def write(path: Path, text: str) -> None:
    """Replaces a file atomically, with mode 600, unless it has this text already."""
    if not path.exists() or path.read_text() != text:
        atomic_file.write(path, text)


@contextlib.contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """A path that becomes `folder` at the end. After an interruption the next call starts anew."""
    unfinished = folder.parent / f"{folder.name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    yield unfinished
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def read_json(path: Path) -> dict[str, Any]:
    """The object in the file; empty if there is no file."""
    return dict(json.loads(path.read_text())) if path.exists() else {}


def kept_secret(path: Path, new: str) -> str:
    """The secret in the file; the first call stores the new one."""
    if not path.exists():
        write(path, new + "\n")
    return path.read_text().strip()


def output_of(command: Sequence[str], failure: str, **how: Any) -> str:
    """Returns the output of the command. If it fails, the error has the whole output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **how)
    if done.returncode != 0:
        raise Refused(f"{failure}\n{done.stdout}{done.stderr}")
    return done.stdout


def say(line: str) -> None:
    print(line, flush=True)


def complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
