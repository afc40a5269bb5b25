"""The one HAProxy that stands for the cluster's Services: its listeners, its reload, its old workers.

It alone listens where clients connect; what it passes on to changes with every move.
"""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.manifests import Stage
from local.place import Place, Refused, write
from local.polling import poll
from local.prepare import SYSTEM_PATH
from local.supervision import Program, Supervisor, tail

TAKEOVER_TIMEOUT_S = 20


@dataclass(frozen=True)
class Upstream:
    """The process that answers for a Service, and the path at which it says that it is ready."""

    program: str
    port: int
    ready_path: str


def configuration(place: Place, stage: Stage, upstreams: Mapping[str, Upstream]) -> str:
    """Listeners and upstreams of one moment; the rules for requests are in k8s/proxy/defaults.cfg."""
    blocks = []
    for service in stage.services:
        binds = [f"{place.service_address(service.name)}:{service.port}"]
        if service.node_port is not None:
            binds.append(f"127.0.0.1:{place.node_port(service.node_port)}")
        listeners = "\n".join(f"    bind {bind}" for bind in binds)
        blocks.append(
            f"frontend {service.name} from door\n{listeners}\n    default_backend {service.process}"
        )
    for name, upstream in sorted(upstreams.items()):
        blocks.append(
            f"backend {name} from upstream\n"
            "    option httpchk\n"
            f"    http-check send meth GET uri {upstream.ready_path} ver HTTP/1.1 hdr Host localhost\n"
            "    http-check expect status 200\n"
            f"    server {upstream.program} 127.0.0.1:{upstream.port} check inter 1s fall 3 rise 1"
        )
    body = "\n\n".join(blocks) + "\n"
    # The socket tells this name, and thereby that the workers have taken over this very text.
    marker = hashlib.sha256((rules_file(place).read_text() + body).encode()).hexdigest()[:16]
    sockets = place.sockets()
    head = (
        "global\n"
        f"    description {marker}\n"
        "    log stdout format raw local0\n"
        "    maxconn 2000\n"
        f"    stats socket {sockets / 'haproxy.sock'} mode 600 level admin expose-fd listeners\n"
        "    hard-stop-after 1h\n"
    )
    return f"{head}\n{body}"


def executable() -> str:
    found = shutil.which("haproxy", path=SYSTEM_PATH)
    if found is None:
        raise Refused("haproxy is not installed.")
    return found


def config_file(place: Place) -> Path:
    return place.state / "haproxy.cfg"


def rules_file(place: Place) -> Path:
    return place.checkout / "k8s" / "proxy" / "defaults.cfg"


def environment(place: Place) -> dict[str, str]:
    return {"ERRORS": str(place.checkout / "k8s" / "proxy")}


def command(place: Place) -> list[str]:
    """In the foreground, as a master that stays while its workers change."""
    files = ["-f", str(rules_file(place)), "-f", str(config_file(place))]
    return [executable(), "-W", "-db", "-S", str(place.sockets() / "haproxy-master.sock"), *files]


def install(place: Place, text: str) -> None:
    """Puts the configuration in place if HAProxy accepts it; else the one before stays."""
    before = config_file(place).read_text() if config_file(place).exists() else None
    write(config_file(place), text)
    check = subprocess.run(
        [*command(place), "-c"],
        env=os.environ | environment(place),
        capture_output=True,
        text=True,
        check=False,
    )
    if check.returncode != 0:
        if before is not None:
            write(config_file(place), before)
        raise Refused(f"HAProxy refuses its configuration:\n{check.stderr}")


def serve(place: Place, supervisor: Supervisor, text: str) -> None:
    """Makes HAProxy answer by this configuration: starts it, reloads it, or leaves it alone.

    A reload brings new workers up beside the old ones, which finish what they have in hand.
    """
    marker = marker_of(text)
    program = Program("haproxy", command(place), place.checkout, environment(place), priority=900)
    if supervisor.has(program) and running_marker(place) == marker:
        return
    install(place, text)
    if supervisor.has(program):
        supervisor.signal("haproxy", signal.SIGUSR2)
    else:
        supervisor.add(program)
    if not poll(lambda: running_marker(place) == marker, TAKEOVER_TIMEOUT_S):
        log = tail(place.logs / "haproxy.log")
        raise Refused(f"HAProxy did not take over its configuration. Its last lines:\n{log}")


def marker_of(text: str) -> str:
    return text.partition("description ")[2].split()[0]


def running_marker(place: Place) -> str | None:
    """The name of the configuration that answers now; None when no HAProxy does."""
    try:
        answer = ask(place.sockets() / "haproxy.sock", "show info")
    except OSError:
        return None
    return next(
        (line.split(": ", 1)[1] for line in answer.splitlines() if line.startswith("description: ")), None
    )


def old_workers(place: Place) -> int:
    """How many workers from before the last reload still have requests in hand."""
    try:
        answer = ask(place.sockets() / "haproxy-master.sock", "show proc")
    except OSError:
        return 0
    _, _, old = answer.partition("# old workers")
    return sum(1 for line in old.partition("# programs")[0].splitlines() if " worker " in line)


def ask(path: Path, question: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(question.encode() + b"\n")
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
