"""CPU time of processes, from /proc of Linux. It depends less on other work of the machine than time does."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from django.db import connection

_TICKS = os.sysconf("SC_CLK_TCK")


def of_process(pid: int) -> float:
    """Seconds."""
    return sum(map(int, _stat(pid)[11:13])) / _TICKS


def of_postgresql() -> float:
    """Seconds of all its processes. Parallel workers that have ended count as children of the server."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    server = _parent(pid)
    ended = sum(map(int, _stat(server)[13:15])) / _TICKS
    found = [ended]
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if _parent(int(path.name)) == server:
                found.append(of_process(int(path.name)))
    return sum(found)


def of_work(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of this process and of PostgreSQL that the work takes."""
    here, there = time.process_time(), of_postgresql()
    work()
    return time.process_time() - here, of_postgresql() - there


def peak_memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _stat(pid: int) -> list[str]:
    """/proc/PID/stat after the name. 11 and 12 are utime and stime; 13 and 14 those of ended children."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])
