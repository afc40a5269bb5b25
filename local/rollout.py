"""Moving from what runs to what a rendering says, without losing a request.

A process is never rewired in place. A new or changed one starts as another generation on a fresh port beside
the old one; once it is ready HAProxy is reloaded, the old workers finish, and the old generation is stopped.
The Services that it asked stay until then, also those that the stage no longer has. All that is kept is which
generation is current; every program that is not is removed at the end, so an interrupted move is completed by
the next one.

A process may have something to do before a stage is without it (a writer leaves no topic half written). That
is written down when it starts and crossed out when it is done: however the system was stopped in between, the
next move to a stage without that process does it first.
"""

import hashlib
import http.client
import json
import re
import subprocess
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from grpc_server.probe import LOCATION_SERVICE, is_serving
from local import manifests, postgis, proxy, setting_overrides
from local.instance import VENV, Instance, Refused, keep, private_directory, read_json, say, write
from local.kafka import NAME as BROKER
from local.manifests import Process, Service, Stage
from local.polling import poll
from local.source_digest import digest
from local.supervision import Program, Supervisor, inherited, tail

READY_TIMEOUT_S = 90
# From all processes that take traffic to a whole system.
WHOLE_TIMEOUT_S = 60
# How long a long answer may go on behind an old worker before its process is told to end.
DRAIN_S = 120
# And for calls by gRPC: then no connection takes new ones (grpc_server.server); the server itself waits on.
DRAIN_CALLS_S = 10
AS_IN_THE_IMAGE = {"PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "2"}  # Dockerfile


@dataclass(frozen=True)
class Generation(proxy.Upstream):
    """One running incarnation of a process; the fingerprint is of everything that makes it what it is."""

    fingerprint: str
    ready_command: tuple[str, ...] | None = None
    speaks_tls: bool = False


def move(
    instance: Instance,
    supervisor: Supervisor,
    stage: Stage,
    own: set[str],
    *,
    finish: Callable[[str, tuple[str, ...], Mapping[str, str]], object],
) -> None:
    """From whatever runs to this stage: new beside old, one reload, drain, stop the old.

    `own` are the programs that no manifest describes and that stay. `finish` runs to its end what a process
    that the stage is without has to do before it goes.
    """
    running = read_json(running_file(instance))
    before = {name: Generation(**one) for name, one in running.get("processes", {}).items()}
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
    leaving = [
        proxy.Leaving(service, before[service.process])
        for service in (Service(**one) for one in running.get("services", ()))
        if service.process in before and address(service) not in map(address, stage.services)
    ]
    routes = proxy.routes_file(instance, stage)
    if stage.routes is not None and not routes.exists():
        write(routes, stage.routes)
    proxy.serve(instance, supervisor, proxy.configuration(instance, stage, current, leaving))
    state = {
        "stage": stage.name,
        "node_ports": node_ports(instance, stage),
        "services": [asdict(one) for one in stage.services],
        "processes": {name: asdict(one) for name, one in current.items()},
    }
    keep(running_file(instance), json.dumps(state, indent=1) + "\n")
    wanted = own | {one.program for one in current.values()}
    speak_grpc = {one.program for one in before.values() if proxy.is_grpc(one)}
    unfinished = {name: task for name, task in owed(instance).items() if name not in current}
    # Doors first: what they took is still to be finished, and those who do that stay until then.
    retire(instance, supervisor, wanted | {BROKER} | programs_of(supervisor, unfinished), speak_grpc)
    for name, task in unfinished.items():
        say(f"Finishing what {name} has to do.")
        own_file = {"WRITER_STATE_FILE": str(state_file(instance, f"{name}-last"))}
        finish(f"{name}-last", tuple(task["command"]), task["environ"] | own_file)
        owed_file(instance, name).unlink()
    retire(instance, supervisor, wanted, speak_grpc)
    proxy.close_leaving(instance)
    proxy.settle(instance, proxy.configuration(instance, stage, current))
    for old in set(instance.state.glob("routes-*.map")) - {routes}:
        old.unlink()


def start(
    instance: Instance, supervisor: Supervisor, process: Process, environ: Mapping[str, str], fingerprint: str
) -> Generation:
    if process.ready_path is None and not process.speaks_grpc and process.ready_command is None:
        raise Refused(f"{process.name} has no readiness probe; nobody could tell when it may be asked.")
    taken = frozenset(generation_ports(instance))
    port = postgis.free_port(taken) if process.ports else 0
    public_port = postgis.free_port(taken | {port}) if manifests.PUBLIC_PORT in process.ports else 0
    program = f"{process.name}-{next_number(instance)}"
    say(f"Starting {program}.")
    if process.before_it_goes is not None:
        task = {"command": process.before_it_goes, "environ": dict(environ)}
        write(owed_file(instance, process.name), json.dumps(task))
    environ = {**environ, **own_settings(instance, process, program, port, public_port), **AS_IN_THE_IMAGE}
    supervisor.add(Program(program, process.command, instance.checkout, environ))
    tls = process.speaks_grpc and "TLS_CERTIFICATE" in environ
    return Generation(
        program,
        port,
        process.ready_path,
        fingerprint,
        process.ready_command,
        speaks_tls=tls,
        public_port=public_port,
    )


def own_settings(
    instance: Instance, process: Process, program: str, port: int, public_port: int
) -> dict[str, str]:
    """What tells one generation from another: the variable by which a command learns its port or its file."""
    if process.command[0] == "gunicorn":
        return {"GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{port}"}
    if process.command[-1] == "run_location_server":
        return {
            "GRPC_ADDRESS": f"127.0.0.1:{port}",
            "GRPC_PUBLIC_ADDRESS": f"127.0.0.1:{public_port}",
        }
    if process.command[-1] == "consume_locations":
        return {"WRITER_STATE_FILE": str(state_file(instance, program))}
    raise Refused(f"{process.name}: nobody knows how to tell {process.command[0]} its port.")


def next_number(instance: Instance) -> int:
    """One more than any generation there is, of whatever process."""
    numbers = (
        int(match[1])
        for file in instance.programs.iterdir()
        if (match := re.search(r"-(\d+)\.ini$", file.name))
    )
    return 1 + max(numbers, default=0)


def generation_ports(instance: Instance) -> list[int]:
    """Those promised to programs, whether or not they listen yet."""
    texts = [file.read_text() for file in instance.programs.glob("*.ini")]
    return [int(port) for text in texts for port in re.findall(r"\b127\.0\.0\.1:(\d+)", text)]


def wait_ready(instance: Instance, supervisor: Supervisor, generation: Generation) -> None:
    """Waits until the process takes traffic; of one that dies instead the log is shown.

    It may still lack a neighbour, which becomes reachable with the HAProxy configuration that follows.
    """
    first = supervisor.programs()[generation.program]["pid"]

    def decided() -> bool:
        return takes_traffic(instance, generation) or has_died()

    def has_died() -> bool:
        info = supervisor.programs()[generation.program]
        return info["statename"] in ("BACKOFF", "FATAL", "EXITED") or (
            first != 0 and info["pid"] not in (0, first)
        )

    if poll(decided, READY_TIMEOUT_S, every_s=0.1) and takes_traffic(instance, generation):
        return
    lines = tail(instance.logs / f"{generation.program}.log", 30)
    raise Refused(f"{generation.program} does not get ready. The last lines of its log:\n{lines}")


def wait_whole(instance: Instance) -> None:
    """Waits until every process of the system has what it needs: the writer joins its group last."""

    def lacking() -> list[str]:
        known = read_json(running_file(instance))["processes"].values()
        return sorted(one["program"] for one in known if not is_ready(instance, Generation(**one)))

    if not poll(lambda: not lacking(), WHOLE_TIMEOUT_S, every_s=0.2) and (names := lacking()):
        lines = "\n".join(tail(instance.logs / f"{name}.log", 10) for name in names)
        raise Refused(f"Not ready in {WHOLE_TIMEOUT_S} s: {', '.join(names)}. Lines of their logs:\n{lines}")


def takes_traffic(instance: Instance, generation: Generation) -> bool:
    """What the readiness probe in the manifests asks."""
    return answers_well(instance, generation, generation.ready_path, service="")


def is_ready(instance: Instance, generation: Generation) -> bool:
    """Whether the process has everything that it needs."""
    path = generation.ready_path and "/health/ready"
    return answers_well(instance, generation, path, service=LOCATION_SERVICE)


def answers_well(instance: Instance, generation: Generation, path: str | None, *, service: str) -> bool:
    if generation.ready_command is not None:
        environ = (
            inherited()
            | told(instance)
            | {"WRITER_STATE_FILE": str(state_file(instance, generation.program))}
        )
        command = [str(VENV / "bin" / generation.ready_command[0]), *generation.ready_command[1:]]
        done = subprocess.run(command, cwd=instance.checkout, env=environ, capture_output=True, check=False)
        return done.returncode == 0
    if path is None:
        return is_serving(generation.port, service=service, tls=generation.speaks_tls)
    connection = http.client.HTTPConnection("127.0.0.1", generation.port, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": "localhost"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def told(instance: Instance) -> dict[str, str]:
    """What `make up` has written down for a `manage.py` that is typed by hand."""
    known = instance.state / "env"
    lines = known.read_text().splitlines() if known.exists() else []
    return dict(line.split("=", 1) for line in lines)


def retire(instance: Instance, supervisor: Supervisor, wanted: set[str], speak_grpc: set[str]) -> None:
    """Takes away every program that no longer belongs, once no request that it could have is in hand."""
    superseded = sorted(set(supervisor.programs()) - wanted)
    if superseded:
        say(f"Waiting for the last answers of {', '.join(superseded)}.")
    # Where there are calls by gRPC, old workers carry their connections until their server ends.
    for names, patience_s in (
        ([name for name in superseded if name in speak_grpc], DRAIN_CALLS_S),
        ([name for name in superseded if name not in speak_grpc], DRAIN_S),
    ):
        if names:
            poll(lambda: not proxy.has_old_workers(instance), patience_s, every_s=0.2)
        for name in names:
            supervisor.remove(name)
            for left in (*instance.logs.glob(f"{name}.log*"), state_file(instance, name)):
                left.unlink(missing_ok=True)


def owed(instance: Instance) -> dict[str, dict[str, Any]]:
    """What each process that runs, or that ran last, has to do before a stage is without it."""
    return {file.stem: read_json(file) for file in sorted((instance.state / "owed").glob("*.json"))}


def owed_file(instance: Instance, name: str) -> Path:
    return private_directory(instance.state / "owed") / f"{name}.json"


def programs_of(supervisor: Supervisor, names: Collection[str]) -> set[str]:
    """The generations of these processes."""
    return {program for program in supervisor.programs() if program.rpartition("-")[0] in names}


def state_file(instance: Instance, program: str) -> Path:
    """Where a worker says that it lives, and how far it is."""
    return instance.sockets() / f"{program}.json"


def native_environ(instance: Instance, stage: Stage, process: Process) -> dict[str, str]:
    here = {
        key: manifests.natively(key, value, instance, stage.services)
        for key, value in process.environ.items()
    }
    if instance.access == "open" or not here.get("KAFKA_PASSWORD"):  # nor has a given broker the users
        here = {key: value for key, value in here.items() if key not in ("KAFKA_USER", "KAFKA_PASSWORD")}
    quota = str(instance.sockets() / "ping-quota.sqlite")
    return setting_overrides.for_process(instance, here) | {"ACCESS": instance.access, "QUOTA_FILE": quota}


def address(service: Service) -> tuple[str, int]:
    return service.name, service.port


def node_ports(instance: Instance, stage: Stage) -> list[int]:
    return sorted(instance.node_port(one.node_port) for one in stage.services if one.node_port is not None)


def running_file(instance: Instance) -> Path:
    return instance.state / "running.json"
