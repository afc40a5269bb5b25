"""What the processes of a running system use."""

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from local.instance import Instance
from local.supervision import Supervisor

OTHERS = ("postgis", "kafka")  # programs of a system that are not Connect's own


@dataclass(frozen=True)
class Footprint:
    """What Connect's processes and HAProxy use at a moment, all together."""

    memory_mb: float
    threads: int
    temporary_mb: float
    pids: frozenset[int]


def footprint(instance: Instance) -> Footprint:
    memory = threads = files = 0
    pids = set()
    for process in processes(instance):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            pids.add(process.pid)
            memory += process.memory_info().rss
            threads += process.num_threads()
            files += temporary(instance, process.pid)
    return Footprint(memory / 1e6, threads, files / 1e6, frozenset(pids))


def processes(instance: Instance) -> list[psutil.Process]:
    found = []
    for name, info in Supervisor(instance).programs().items():
        with suppress(psutil.NoSuchProcess):
            if name not in OTHERS and info["pid"]:
                parent = psutil.Process(info["pid"])
                found += [parent, *parent.children(recursive=True)]
    return found


def temporary(instance: Instance, pid: int) -> int:
    """Bytes of the temporary files that a process holds open, deleted ones too."""
    total = 0
    for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
        with suppress(OSError):
            path = str(descriptor.readlink())
            if path.startswith(tempfile.gettempdir()) and not path.startswith(f"{instance.state}"):
                total += descriptor.stat().st_size
    return total
