"""The one HAProxy that stands for the cluster's Services: its listeners, its reload, its old workers.

It alone listens where clients connect; what it passes on to changes with every move.
"""

import csv
import hashlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local import setting_overrides
from local.instance import CHECKOUT, Instance, Refused, write
from local.manifests import Service, Stage
from local.polling import poll
from local.prepare import SYSTEM_PATH
from local.supervision import Program, Supervisor, tail

TAKEOVER_TIMEOUT_S = 20


# Rules of frontends, as in k8s/proxy/cluster.cfg: how many connections an address may have, and that one to
# the gRPC server which does not begin to speak is closed.
COUNTED = [
    "acl outside so_name public",
    'acl trusted src -- "${TRUSTED_PROXIES[*]}"',
    "tcp-request connection track-sc2 src table connections-per-address if outside !trusted",
    "tcp-request connection reject if { sc2_conn_cur gt 6600 }",
]
SPOKEN_TO = [
    "tcp-request inspect-delay 3s",
    "tcp-request content reject if outside !{ req.len ge 24 }",
]
# For HAProxy before 3.2: a frontend's rules that refuse in JSON what cannot be parsed, and their service.
FIRST_REQUEST = (CHECKOUT / "local" / "first_request.cfg").read_text()
OLD = ".if !version_atleast(3.2)"
REFUSED = f"""{OLD}
backend refused
    mode tcp
    tcp-request content use-service lua.refuse
.endif"""
# Marks the frontends of Services that the stage no longer has.
LEAVING = "leaving-"
# Ends the names of the frontend and the backend of a public port.
PUBLIC = "-public"


@dataclass(frozen=True)
class Upstream:
    """The process that answers for a Service.

    At `ready_path` it says that it is ready; without one it speaks gRPC, and its health service says so.
    A worker answers for none and has no port. The gRPC server has another port for clients, `public_port`.
    """

    program: str
    port: int
    ready_path: str | None
    public_port: int = field(default=0, kw_only=True)


@dataclass(frozen=True)
class Leaving:
    """A Service that the stage no longer has, for those who were wired to it and have requests in hand."""

    service: Service
    upstream: Upstream

    @property
    def name(self) -> str:
        return f"{LEAVING}{self.service.name}-{self.service.port}"

    @property
    def port(self) -> int:
        return self.upstream.public_port if self.service.leads_to_public_port else self.upstream.port


def configuration(
    instance: Instance, stage: Stage, upstreams: Mapping[str, Upstream], leaving: Sequence[Leaving] = ()
) -> str:
    """All of one moment: settings, the rules of k8s/proxy/defaults.cfg, listeners and upstreams."""
    blocks = []
    public = (
        f'name public ssl crt "{certificate_file(instance)}"'
        if setting_overrides.certificate(instance)
        else "name public"
    )
    for service in stage.services:
        binds = [f"{instance.service_address(service.name)}:{service.port}"]
        if service.node_port is not None:
            # The gRPC server speaks TLS itself: its calls go through as they are.
            passed_through = service.process is not None and is_grpc(upstreams[service.process])
            options = " name public" if passed_through else f" {public}"
            binds.append(
                f"{setting_overrides.doors(instance)}:{instance.node_port(service.node_port)}{options}"
            )
        if service.process is None:
            routes = routes_file(instance, stage)
            lines = [
                "http-request set-var(txn.route) path,url_dec",
                # A path that cannot be decoded is led where the root is: that process has an answer for it.
                "http-request set-var(txn.route) str(/) unless { var(txn.route) -m found }",
                f'use_backend %[var(txn.route),map_reg("{routes}")]',
            ]
            blocks.append(frontend(service.name, binds, "\n    ".join(lines)))
        else:
            suffix = PUBLIC if service.leads_to_public_port else ""
            to = f"default_backend {service.process}{suffix}"
            grpc = is_grpc(upstreams[service.process])
            blocks.append(frontend(f"{service.name}{suffix}", binds, to, grpc=grpc))
    for name, upstream in sorted(upstreams.items()):
        blocks += backends(name, upstream)
    blocks.append(REFUSED)
    body = "\n\n".join(blocks) + "\n"
    told = "".join(
        f'    setenv {name} "{value}"\n' for name, value in setting_overrides.for_proxy(instance).items()
    )
    rules = f"{rules_file(instance).read_text()}\n"
    # The socket tells this name, and thereby that the workers have taken over this very text. Services on
    # their way out are not part of it: without them it is the same configuration.
    marked = told + rules + body
    marker = hashlib.sha256(marked.encode()).hexdigest()[:16]
    for one in leaving:
        binds = [f"{instance.service_address(one.service.name)}:{one.service.port}"]
        to = f"default_backend {one.name}"
        body += f"\n{frontend(one.name, binds, to, grpc=is_grpc(one.upstream))}\n"
        body += f"\n{backend(one.name, one.upstream, one.port)}\n"
    head = (
        "global\n"
        f"    description {marker}\n"
        f'    stats socket "{instance.sockets() / "haproxy.sock"}" mode 600 level admin expose-fd listeners\n'
        "    hard-stop-after 1h\n"
        f"{told}"
        f'{OLD}\n    lua-load "{instance.checkout / "local" / "refusals.lua"}"\n.endif\n'
    )
    return f"{head}\n{rules}{body}"


def frontend(name: str, binds: Sequence[str], to: str, *, grpc: bool = False) -> str:
    lines = (
        [f"bind {bind}" for bind in binds]
        + COUNTED
        + (SPOKEN_TO if grpc else FIRST_REQUEST.splitlines())
        + [to]
    )
    return "\n    ".join([f"frontend {name} from {'tunnel' if grpc else 'door'}", *lines])


def backends(name: str, upstream: Upstream) -> list[str]:
    ports = {name: upstream.port, f"{name}{PUBLIC}": upstream.public_port}
    return [backend(each, upstream, port) for each, port in ports.items() if port]


def backend(name: str, upstream: Upstream, port: int) -> str:
    defaults = "tunnel" if is_grpc(upstream) else "upstream"
    return f"backend {name} from {defaults}\n    server {upstream.program} 127.0.0.1:{port}"


def is_grpc(upstream: Upstream) -> bool:
    return upstream.port != 0 and upstream.ready_path is None


def routes_file(instance: Instance, stage: Stage) -> Path:
    """Where the stage's routes are for HAProxy; another name for other routes, so that none is read half."""
    text = stage.routes or ""
    return instance.state / f"routes-{hashlib.sha256(text.encode()).hexdigest()[:10]}.map"


def executable() -> str:
    found = shutil.which("haproxy", path=SYSTEM_PATH)
    if found is None:
        raise Refused("haproxy is not installed.")
    return found


def config_file(instance: Instance) -> Path:
    return instance.state / "haproxy.cfg"


def rules_file(instance: Instance) -> Path:
    return instance.checkout / "k8s" / "proxy" / "defaults.cfg"


def certificate_file(instance: Instance) -> Path:
    """Another name for another certificate: a reload reads the new one, and the workers before had theirs."""
    text = setting_overrides.certificate(instance) or ""
    return instance.state / f"tls-{hashlib.sha256(text.encode()).hexdigest()[:10]}.pem"


def command(instance: Instance) -> list[str]:
    """In the foreground, as a master that stays while its workers change."""
    master = str(instance.sockets() / "haproxy-master.sock")
    return [executable(), "-W", "-db", "-S", master, "-f", str(config_file(instance))]


def install(instance: Instance, text: str) -> None:
    """Puts the configuration in place if HAProxy accepts it; else the one before stays."""
    if (pem := setting_overrides.certificate(instance)) is not None:
        write(certificate_file(instance), pem)
    before = config_file(instance).read_text() if config_file(instance).exists() else None
    write(config_file(instance), text)
    check = subprocess.run([*command(instance), "-c"], capture_output=True, text=True, check=False)
    if check.returncode != 0:
        if before is not None:
            write(config_file(instance), before)
        raise Refused(f"HAProxy refuses its configuration:\n{check.stderr}")


def serve(instance: Instance, supervisor: Supervisor, text: str) -> None:
    """Makes HAProxy answer by this configuration: starts it, reloads it, or leaves it alone.

    A reload brings new workers up beside the old ones, which finish what they have in hand.
    """
    marker = marker_of(text)
    program = Program("haproxy", command(instance), instance.checkout, priority=900)
    if supervisor.has(program) and running_marker(instance) == marker:
        return
    install(instance, text)
    if supervisor.has(program):
        supervisor.signal("haproxy", signal.SIGUSR2)
    else:
        supervisor.add(program)
    if not poll(lambda: running_marker(instance) == marker, TAKEOVER_TIMEOUT_S):
        log = tail(instance.logs / "haproxy.log")
        raise Refused(f"HAProxy did not take over its configuration. Its last lines:\n{log}")


def settle(instance: Instance, text: str) -> None:
    """Leaves behind the configuration that answers now, for the next start of HAProxy."""
    if config_file(instance).read_text() != text:
        write(config_file(instance), text)
    for old in set(instance.state.glob("tls-*.pem")) - {certificate_file(instance)}:
        old.unlink()


def close_leaving(instance: Instance) -> None:
    """Nobody is wired to these any more: the answer there is 503 now, and from the next reload on none.

    To close them now would take another reload: a listener that can be handed over is only really closed so.
    """
    there = instance.sockets() / "haproxy.sock"
    for row in csv.DictReader(ask(there, "show stat").removeprefix("# ").splitlines()):
        if row["svname"] not in ("FRONTEND", "BACKEND") and row["pxname"].startswith(LEAVING):
            ask(there, f"set server {row['pxname']}/{row['svname']} state maint")


def marker_of(text: str) -> str:
    return text.partition("description ")[2].split()[0]


def running_marker(instance: Instance) -> str | None:
    """The name of the configuration that answers now; None when no HAProxy does."""
    try:
        answer = ask(instance.sockets() / "haproxy.sock", "show info")
    except OSError:
        return None
    return next(
        (line.split(": ", 1)[1] for line in answer.splitlines() if line.startswith("description: ")), None
    )


def has_old_workers(instance: Instance) -> bool:
    """Whether workers from before the last reload still have requests in hand; yes while nobody can say."""
    try:
        answer = ask(instance.sockets() / "haproxy-master.sock", "show proc")
    except OSError:
        return True
    if "# workers" not in answer:
        return True  # a master in the middle of a reload hangs up without a word
    _, _, old = answer.partition("# old workers")
    return " worker " in old.partition("# programs")[0]


def ask(path: Path, question: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(question.encode() + b"\n")
        connection.shutdown(socket.SHUT_WR)  # the master would keep an interactive connection open
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
