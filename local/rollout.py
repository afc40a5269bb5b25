"""Moves a system to a stage without losing a request.

A running process never changes. A new or changed one starts as a new generation on another port, beside the
old one. When it is ready, HAProxy is reloaded, the old workers finish, and the old generation is stopped.
Services that the stage no longer has stay until then; another reload closes them. The state file says which
generations are current. All other programs are removed at the end, so the next move completes an interrupted
one.

A process may have a task to complete before a stage runs without it (the writer empties the topic). The task
is written to a file when the process starts, and the file is removed when the task is complete. Whatever
stops the system in between, the next move to a stage without that process runs the task first.
"""

import hashlib
import json
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import urllib3

from grpc_server.probe import LOCATION_SERVICE, is_serving
from local import manifests, postgis, proxy, setting_overrides
from local.instance import VENV, Instance, Refused, private_directory, read_json, say, write
from local.kafka import NAME as BROKER
from local.manifests import Process, Service, Stage
from local.polling import poll
from local.source_digest import digest
from local.supervision import Program, Supervisor, inherited, tail

READY_TIMEOUT_S = 90
WHOLE_TIMEOUT_S = 60  # from the readiness of the last process until each has everything that it needs
DRAIN_S = 120  # for long answers behind old workers
# For gRPC: by then all connections are closed for new calls; the server itself waits for the running ones.
DRAIN_CALLS_S = 10
BROKER_USERS = ("KAFKA_USER", "KAFKA_PASSWORD", "KAFKA_USERS")
AS_IN_THE_IMAGE = {"PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "2"}  # Dockerfile


@dataclass(frozen=True)
class Generation(proxy.Upstream):
    """One instance of a process. The fingerprint covers its command, its variables and its code."""

    fingerprint: str
    ready_command: tuple[str, ...] | None = None
    tls: Mapping[str, Any] = field(default_factory=dict)  # certificate file and name of a gRPC server


def move(
    instance: Instance,
    supervisor: Supervisor,
    stage: Stage,
    own: set[str],
    *,
    finish: Callable[[tuple[str, ...], Mapping[str, str]], object],
) -> None:
    """Starts new generations beside the old ones, reloads HAProxy, drains and stops the old ones.

    `own` are programs that are not in the manifests and stay. `finish` runs the pending task of a process.
    """
    running, before = read_json(running_file(instance)), generations(instance)
    current = {}
    started = []
    sources = digest(instance.checkout)
    for process in stage.processes:
        environ = native_environ(instance, stage, process)
        fingerprint = hashlib.sha256(json.dumps([process.command, environ, sources]).encode()).hexdigest()
        kept = before.get(process.name)
        if kept is not None and kept.fingerprint == fingerprint and kept.program in supervisor.programs():
            current[process.name] = kept
        else:
            current[process.name] = start(instance, supervisor, process, environ, fingerprint)
            started.append(current[process.name].program)
    try:
        for generation in current.values():
            wait_ready(instance, supervisor, generation)
    except Refused:
        for program in started:
            supervisor.remove(program)
        raise
    addresses = {(one.name, one.port) for one in stage.services}
    leaving = [
        (service, before[service.process])
        for service in (Service(**one) for one in running.get("services", ()))
        if service.process in before and (service.name, service.port) not in addresses
    ]
    proxy.serve(instance, supervisor, proxy.configuration(instance, stage, current, leaving))
    state = {
        "stage": stage.name,
        "node_ports": node_ports(instance, stage),
        "services": [asdict(one) for one in stage.services],
        "processes": {name: asdict(one) for name, one in current.items()},
    }
    write(running_file(instance), json.dumps(state, indent=1) + "\n")
    wanted = own | {one.program for one in current.values()}
    speak_grpc = {one.program for one in before.values() if proxy.is_grpc(one)}
    unfinished = {name: task for name, task in pending_tasks(instance).items() if name not in current}
    # First the processes that accept pings. Those that complete the tasks stay until the tasks are complete.
    busy = {program for program in supervisor.programs() if program.rpartition("-")[0] in unfinished}
    retire(instance, supervisor, wanted | {BROKER} | busy, speak_grpc)
    for name, task in unfinished.items():
        say(f"Completing the task of {name}.")
        own_file = {"WORKER_STATE_FILE": str(state_file(instance, f"{name}-last"))}
        finish(tuple(task["command"]), task["environ"] | own_file)
        task_file(instance, name).unlink()
    retire(instance, supervisor, wanted, speak_grpc)
    proxy.serve(instance, supervisor, proxy.configuration(instance, stage, current))


def start(
    instance: Instance, supervisor: Supervisor, process: Process, environ: Mapping[str, str], fingerprint: str
) -> Generation:
    port = postgis.free_port() if process.ports else 0
    public_port = postgis.free_port() if manifests.PUBLIC_PORT in process.ports else 0
    program = f"{process.name}-{next_number(instance)}"
    say(f"Starting {program}.")
    if process.before_it_goes is not None:
        task = {"command": process.before_it_goes, "environ": dict(environ)}
        write(task_file(instance, process.name), json.dumps(task))
    environ = {**environ, **own_settings(instance, process, program, port, public_port), **AS_IN_THE_IMAGE}
    supervisor.add(Program(program, process.command, instance.checkout, environ))
    tls = {}
    if process.speaks_grpc and (certificate := environ.get("TLS_CERTIFICATE")):
        name = environ.get("TLS_NAME", "locations")
        tls = {"certificate": str(instance.checkout / certificate), "name": name}
    return Generation(
        program, port, process.ready_path, fingerprint, process.ready_command, tls, public_port=public_port
    )


def own_settings(
    instance: Instance, process: Process, program: str, port: int, public_port: int = 0
) -> dict[str, str]:
    """The variables that differ between generations: the port, or the state file of a worker."""
    if process.command[0] == "gunicorn":
        return {"GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{port}"}
    if process.command[-1] == "run_location_server":
        return {"GRPC_ADDRESS": f"127.0.0.1:{port}", "GRPC_PUBLIC_ADDRESS": f"127.0.0.1:{public_port}"}
    if process.ready_command is not None:
        return {"WORKER_STATE_FILE": str(state_file(instance, program))}
    raise Refused(f"{process.name}: {process.command[0]} has no known variable for its port.")


def next_number(instance: Instance) -> int:
    """One more than the number of any generation of any process."""
    numbers = (re.search(r"-(\d+)\.ini$", file.name) for file in instance.programs.iterdir())
    return 1 + max((int(found[1]) for found in numbers if found), default=0)


def wait_ready(instance: Instance, supervisor: Supervisor, generation: Generation) -> None:
    """Waits until the process takes traffic. If it dies instead, the error shows its log.

    Its neighbours may be unreachable until HAProxy gets its new configuration.
    """

    def decided() -> bool:
        has_died = supervisor.programs()[generation.program]["statename"] in ("BACKOFF", "FATAL", "EXITED")
        return has_died or is_ready(instance, generation, wholly=False)

    if poll(decided, READY_TIMEOUT_S, every_s=0.1) and is_ready(instance, generation, wholly=False):
        return
    lines = tail(instance.logs / f"{generation.program}.log", 30)
    raise Refused(f"{generation.program} does not get ready. The end of its log:\n{lines}")


def wait_whole(instance: Instance) -> None:
    """Waits until every process has everything that it needs. The writer joins its group last."""

    def is_whole() -> bool:
        return all(is_ready(instance, one) for one in generations(instance).values())

    if not poll(is_whole, WHOLE_TIMEOUT_S, every_s=0.2):
        raise Refused("Not every process gets ready: see `make status` and `make logs`.")


def is_ready(instance: Instance, generation: Generation, *, wholly: bool = True) -> bool:
    """Whether it has everything that it needs; if not `wholly`, the result of the probe in the manifests."""
    if generation.ready_command is not None:
        state = {"WORKER_STATE_FILE": str(state_file(instance, generation.program))}
        known = dict(line.split("=", 1) for line in (instance.state / "env").read_text().splitlines())
        environ = inherited() | known | state
        command = [str(VENV / "bin" / generation.ready_command[0]), *generation.ready_command[1:]]
        done = subprocess.run(command, cwd=instance.checkout, env=environ, capture_output=True, check=False)
        return done.returncode == 0
    if generation.ready_path is None:
        service = LOCATION_SERVICE if wholly else ""
        return is_serving(generation.port, service=service, **generation.tls)
    url = f"http://127.0.0.1:{generation.port}{'/health/ready' if wholly else generation.ready_path}"
    try:
        answer = urllib3.request("GET", url, headers={"Host": "localhost"}, timeout=5, retries=False)
    except urllib3.exceptions.HTTPError:
        return False
    return answer.status == 200


def retire(instance: Instance, supervisor: Supervisor, wanted: set[str], speak_grpc: set[str]) -> None:
    """Removes all programs that are not wanted, when they have no more requests."""
    superseded = sorted(set(supervisor.programs()) - wanted)
    if superseded:
        say(f"Waiting for the last answers of {', '.join(superseded)}.")
    # gRPC servers first: old workers keep their connections until the server ends.
    for is_grpc, patience_s in ((True, DRAIN_CALLS_S), (False, DRAIN_S)):
        if names := [name for name in superseded if (name in speak_grpc) == is_grpc]:
            poll(lambda: not proxy.has_old_workers(instance), patience_s, every_s=0.2)
        for name in names:
            supervisor.remove(name)
            for left in (*instance.logs.glob(f"{name}.log*"), state_file(instance, name)):
                left.unlink(missing_ok=True)


def pending_tasks(instance: Instance) -> dict[str, dict[str, Any]]:
    """By process, the task to complete before a stage runs without it."""
    return {file.stem: read_json(file) for file in sorted((instance.state / "owed").glob("*.json"))}


def task_file(instance: Instance, name: str) -> Path:
    return private_directory(instance.state / "owed") / f"{name}.json"


def state_file(instance: Instance, program: str) -> Path:
    """The file in which a worker records that it is alive, and its lag."""
    return instance.sockets() / f"{program}.json"


def native_environ(instance: Instance, stage: Stage, process: Process) -> dict[str, str]:
    here = {
        key: manifests.localized(key, value, instance, stage.services)
        for key, value in process.environ.items()
    }
    if instance.access == "open" or not here.get("KAFKA_PASSWORD"):  # a given broker has other users
        here = {key: value for key, value in here.items() if key not in BROKER_USERS}
    quota = str(instance.sockets() / "ping-quota.sqlite")
    return setting_overrides.for_process(instance, here) | {"ACCESS": instance.access, "QUOTA_FILE": quota}


def node_ports(instance: Instance, stage: Stage) -> list[int]:
    return sorted(instance.node_port(one.node_port) for one in stage.services if one.node_port is not None)


def generations(instance: Instance) -> dict[str, Generation]:
    """The current generation of each process. The file may be of an older version with other fields."""
    known = {field.name for field in fields(Generation)}
    return {
        name: Generation(**{key: value for key, value in one.items() if key in known})
        for name, one in read_json(running_file(instance)).get("processes", {}).items()
    }


def running_file(instance: Instance) -> Path:
    return instance.state / "running.json"
