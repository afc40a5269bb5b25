"""supervisord, which keeps the processes running: start it detached, add and remove programs, stop it."""

import contextlib
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

import psutil
from supervisor.xmlrpc import SupervisorTransport

from local.instance import VENV, Instance, Refused, output_of, write
from local.polling import poll

# Every process of a system has this variable, so that all are found after their supervisor was killed.
MARK = "CONNECT_STATE_DIR"
INHERITED = ("HOME", "LANG", "LC_ALL", "TZ")
PATH = os.pathsep.join([str(VENV / "bin"), "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"])
STOP_S = 90
RUNNING = 1  # supervisord's code; a lower one means that it is stopping
ENDED = ("STOPPED", "EXITED", "FATAL")


@dataclass(frozen=True)
class Program:
    """A program of supervisord, which has one file per program."""

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
    """supervisord expands names after a percent sign."""
    return text.replace("%", "%%")


def quoted(value: str) -> str:
    quote = "'" if '"' in value else '"'
    if quote in value or "\n" in value or " ;" in value or " #" in value:
        raise Refused("A setting must not contain both kinds of quotes, a line break, ' ;' or ' #'.")
    return f"{quote}{escaped(value)}{quote}"


def inherited() -> dict[str, str]:
    """The part of the caller's environment that processes get: little, so that every make does the same."""
    kept = {key: os.environ[key] for key in INHERITED if key in os.environ}
    return kept | {"PATH": PATH, "PYTHONUNBUFFERED": "1"}


def run(instance: Instance, command: Sequence[str], environ: Mapping[str, str]) -> str:
    """Runs a command of the virtual environment to its end and returns its output."""
    program = [str(VENV / "bin" / command[0]), *command[1:]]
    environ = inherited() | {MARK: str(instance.state), "ACCESS": instance.access} | dict(environ)
    failure = f"{' '.join(command)} failed:"
    return output_of(program, failure, cwd=instance.checkout, env=environ, stdin=subprocess.DEVNULL)


@dataclass(frozen=True)
class Supervisor:
    """The supervisord of one system, reached by its socket."""

    instance: Instance

    @property
    def rpc(self) -> Any:
        socket = self.instance.sockets() / "supervisor.sock"
        transport = SupervisorTransport(serverurl=f"unix://{socket}")
        return xmlrpc.client.ServerProxy("http://localhost", transport=transport).supervisor

    def pid(self) -> int | None:
        """None if it is not running; after a crash the socket exists and nothing answers."""
        try:
            return int(self.rpc.getPID())
        except (OSError, http.client.HTTPException):
            return None

    def start(self) -> None:
        """Starts it as a daemon, without the caller's terminal and file descriptors."""
        config = self.instance.state / "supervisord.conf"
        write(config, configuration(self.instance))
        environ = inherited() | {MARK: str(self.instance.state)}
        command = [str(VENV / "bin" / "python"), "-m", "supervisor.supervisord", "-c", str(config)]
        output_of(command, "supervisord did not start:", cwd=self.instance.checkout, env=environ)
        if not poll(self.pid, 20):
            raise Refused(f"supervisord did not start:\n{tail(self.instance.logs / 'supervisord.log')}")

    def settle(self) -> bool:
        """Whether it runs. Waits for one that is stopping."""
        pid = self.pid()
        if pid is not None and self.rpc.getState()["statecode"] < RUNNING:
            poll(lambda: not is_alive(pid), STOP_S + 30)
        return self.pid() is not None

    def programs(self) -> dict[str, dict[str, Any]]:
        """By name, what supervisord knows of each program: statename, pid, start, logfile, …"""
        return {info["name"]: info for info in self.rpc.getAllProcessInfo()}

    def has(self, program: Program) -> bool:
        """Whether supervisord has this program with the same description."""
        file = self.instance.programs / f"{program.name}.ini"
        return program.name in self.programs() and file.exists() and file.read_text() == program.section()

    def add(self, program: Program) -> None:
        """Starts a program, and again whenever it dies. Does nothing if it has the same description."""
        if self.has(program):
            return
        if program.name in self.programs():
            self.remove(program.name)
        write(self.instance.programs / f"{program.name}.ini", program.section())
        self.rpc.reloadConfig()
        self.rpc.addProcessGroup(program.name)

    def remove(self, name: str) -> None:
        """Stops a program, which may finish its requests, and removes it."""
        (self.instance.programs / f"{name}.ini").unlink(missing_ok=True)
        self.rpc.stopProcessGroup(name, False)  # noqa: FBT003 - does not wait
        if not poll(lambda: self.programs()[name]["statename"] in ENDED, STOP_S + 10):
            raise Refused(f"{name} does not stop.")
        self.rpc.reloadConfig()
        self.rpc.removeProcessGroup(name)

    def stop(self) -> None:
        """Stops all programs, those with the highest priority first, and itself."""
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
    """Processes of this system that run although their supervisor was killed."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it has ended, or belongs to another user
            environ = process.environ()
            # A make with the same CONNECT_STATE_DIR is no process of the system.
            if environ.get(MARK) == str(instance.state) and environ.get("SUPERVISOR_ENABLED") == "1":
                found.append(process.pid)
    return found


def end_leftovers(instance: Instance) -> None:
    """Asks them to end, then kills them. SIGINT, because on SIGTERM PostgreSQL waits for its clients."""
    for number, patience_s in ((signal.SIGINT, 15.0), (signal.SIGKILL, 5.0)):
        for pid in leftovers(instance):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if poll(lambda: not leftovers(instance), patience_s):
            return
    raise Refused(f"These processes of an earlier run do not end: {leftovers(instance)}.")


def is_alive(pid: int) -> bool:
    """Whether the process runs; False for a zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def tail(path: Path, lines: int = 20) -> str:
    if not path.exists():
        return f"(there is no {path})"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
