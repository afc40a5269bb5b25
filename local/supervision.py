"""The supervisor that keeps the processes: starting it detached, adding and removing programs, ending it.

supervisord reads one file per program.
"""

import http.client
import os
import shlex
import signal
import subprocess
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from local.instance import VENV, Instance, Refused, write
from local.polling import poll

# Marks every process of a system, so that none can be left behind by a supervisor that was killed.
MARK = "CONNECT_STATE_DIR"
INHERITED = ("HOME", "LANG", "LC_ALL", "TZ")
PATH = os.pathsep.join([str(VENV / "bin"), "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"])
STOP_S = 90
WITHOUT_WAITING = False
RUNNING = 1  # supervisord's own number; what is lower is on its way down
ENDED = ("STOPPED", "EXITED", "FATAL")


@dataclass(frozen=True)
class Program:
    """What supervisord is to keep running."""

    name: str
    command: Sequence[str]
    directory: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    priority: int = 500  # started from low to high, stopped from high to low
    stop_signal: str = "TERM"
    stop_s: int = STOP_S
    user: str | None = None

    def section(self) -> str:
        lines = {
            "command": escaped(shlex.join(self.command)),
            "directory": escaped(str(self.directory)),
            "environment": ",".join(f"{key}={quoted(value)}" for key, value in sorted(self.environ.items())),
            "priority": self.priority,
            "stopsignal": self.stop_signal,
            "stopwaitsecs": self.stop_s,
            "startsecs": 1,
            "startretries": 1000,
            "autorestart": "true",
            "redirect_stderr": "true",
            "stdout_logfile": f"%(here)s/../log/{self.name}.log",
            "stdout_logfile_maxbytes": "20MB",
            "stdout_logfile_backups": 9,
        }
        if self.user is not None:
            lines["user"] = self.user
        return f"[program:{self.name}]\n" + "".join(f"{key}={value}\n" for key, value in lines.items())


def escaped(text: str) -> str:
    """supervisord expands what follows a percent sign."""
    return text.replace("%", "%%")


def quoted(value: str) -> str:
    quote = "'" if '"' in value else '"'
    if quote in value or "\n" in value or " ;" in value or " #" in value:
        raise Refused(
            "A setting with both kinds of quotes, a line break, ' ;' or ' #' in it cannot be passed on."
        )
    return f"{quote}{escaped(value)}{quote}"


def inherited() -> dict[str, str]:
    """What processes have of the caller's environment: little, so that one make does what the next does."""
    kept = {key: os.environ[key] for key in INHERITED if key in os.environ}
    return kept | {"PATH": PATH, "PYTHONUNBUFFERED": "1"}


class Supervisor:
    """One system's supervisord, asked over its socket. Every method but `start` needs it to be there."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    @property
    def rpc(self) -> Any:
        socket = self.instance.sockets() / "supervisor.sock"
        transport = SupervisorTransport(serverurl=f"unix://{socket}")
        return xmlrpc.client.ServerProxy("http://localhost", transport=transport).supervisor

    def pid(self) -> int | None:
        """None when it is not running; a socket left over from a crash answers nobody."""
        try:
            return int(self.rpc.getPID())
        except (OSError, http.client.HTTPException):
            return None

    def start(self) -> None:
        """Starts it in a session of its own that holds no terminal and no descriptor of the caller's."""
        config = self.instance.state / "supervisord.conf"
        write(config, configuration(self.instance))
        environ = inherited() | {MARK: str(self.instance.state)}
        with (self.instance.logs / "supervisord.out").open("wb") as output:
            child = subprocess.Popen(
                [VENV / "bin" / "python", "-m", "supervisor.supervisord", "-n", "-c", config],
                cwd=self.instance.checkout,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        poll(lambda: self.pid() is not None or child.poll() is not None, 20)
        if self.pid() is None or child.poll() is not None:
            raise Refused(f"supervisord did not start:\n{tail(self.instance.logs / 'supervisord.out')}")

    def settle(self) -> bool:
        """Whether it runs; one that is on its way down is waited for."""
        pid = self.pid()
        if pid is not None and self.rpc.getState()["statecode"] < RUNNING:
            poll(lambda: not is_alive(pid), STOP_S + 30)
        return self.pid() is not None

    def programs(self) -> dict[str, dict[str, Any]]:
        """What supervisord knows of each program: statename, pid, start, logfile, …"""
        return {info["name"]: info for info in self.rpc.getAllProcessInfo()}

    def has(self, program: Program) -> bool:
        """Whether it is kept running already, exactly as described."""
        file = self.instance.programs / f"{program.name}.ini"
        return program.name in self.programs() and file.exists() and file.read_text() == program.section()

    def add(self, program: Program) -> None:
        """Starts a program, now and whenever it dies; one that is there just as described is left alone."""
        if self.has(program):
            return
        if program.name in self.programs():
            self.remove(program.name)
        write(self.instance.programs / f"{program.name}.ini", program.section())
        self.rpc.reloadConfig()
        self.rpc.addProcessGroup(program.name)

    def remove(self, name: str) -> None:
        """Stops a program, with the time it needs for what it has in hand, and forgets it."""
        (self.instance.programs / f"{name}.ini").unlink(missing_ok=True)
        self.rpc.stopProcessGroup(name, WITHOUT_WAITING)
        if not poll(lambda: self.programs()[name]["statename"] in ENDED, STOP_S + 10):
            raise Refused(f"{name} does not stop.")
        self.rpc.reloadConfig()
        self.rpc.removeProcessGroup(name)

    def signal(self, name: str, number: int) -> None:
        os.kill(self.programs()[name]["pid"], number)

    def stop(self) -> None:
        """Ends everything, in the order of the priorities backwards."""
        pid = self.pid()
        if pid is not None:
            self.rpc.shutdown()
            poll(lambda: not is_alive(pid), STOP_S + 30)


def configuration(instance: Instance) -> str:
    run_as_root = "user=root\n" if os.getuid() == 0 else ""
    return (
        f"[unix_http_server]\nfile={escaped(str(instance.sockets() / 'supervisor.sock'))}\nchmod=0600\n\n"
        "[supervisord]\nlogfile=%(here)s/log/supervisord.log\nlogfile_maxbytes=1MB\nlogfile_backups=9\n"
        f"pidfile=%(here)s/supervisord.pid\nidentifier=connect\n{run_as_root}\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\n"
        "[include]\nfiles=programs/*.ini\n"
    )


def leftovers(instance: Instance) -> list[int]:
    """Processes of this system that live on after their supervisor was killed."""
    mark = f"{MARK}={instance.state}".encode()
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        pid = int(environ.parent.name)
        try:
            if (
                mark in environ.read_bytes().split(b"\0")
                and pid != os.getpid()
                and is_supervised(environ.parent)
            ):
                found.append(pid)
        except OSError:
            continue  # ended in between, or somebody else's
    return found


def is_supervised(process: Path) -> bool:
    """Tells the system's own processes from a make that was given the same CONNECT_STATE_DIR."""
    return b"SUPERVISOR_ENABLED=1" in (process / "environ").read_bytes().split(b"\0")


def end_leftovers(instance: Instance) -> None:
    """Asks them to end, then makes them. SIGINT, because on SIGTERM PostgreSQL waits for its clients."""
    for number, patience_s in ((signal.SIGINT, 15.0), (signal.SIGKILL, 5.0)):
        for pid in leftovers(instance):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        if poll(lambda: not leftovers(instance), patience_s):
            return
    raise Refused(f"These processes of an earlier run do not end: {leftovers(instance)}.")


def is_alive(pid: int) -> bool:
    """False also for a dead process that its parent has not been told of yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def tail(path: Path, lines: int = 20) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return f"(there is no {path})"
