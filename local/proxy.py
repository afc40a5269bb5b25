"""The HAProxy that replaces the cluster's Services: its configuration, its reload, its old workers.

Clients and neighbours connect only to it; the processes behind it change with every rollout.
"""

import hashlib
import re
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local import setting_overrides
from local.instance import CHECKOUT, Instance, Refused, output_of, write
from local.manifests import Service, Stage
from local.polling import poll
from local.prepare import SYSTEM_PATH
from local.supervision import Program, Supervisor, tail

TAKEOVER_TIMEOUT_S = 20


# Rules of frontends, as in k8s/proxy/cluster.cfg: the limit of connections per address, and the timeout of a
# gRPC connection that sends nothing.
COUNTED = [
    "acl outside so_name public",
    'acl trusted src -- "${TRUSTED_PROXIES[*]}"',
    "tcp-request connection track-sc2 src table connections-per-address if outside !trusted",
    "tcp-request connection reject if { sc2_conn_cur gt 6600 }",
]
SPOKEN_TO = ["tcp-request inspect-delay 3s", "tcp-request content reject if outside !{ req.len ge 24 }"]
# For HAProxy before 3.2: rules of a frontend that refuse unparsable requests in JSON, and their service.
FIRST_REQUEST = (CHECKOUT / "local" / "first_request.cfg").read_text()
OLD = ".if !version_atleast(3.2)"
REFUSED = f"""{OLD}
backend refused
    mode tcp
    tcp-request content use-service lua.refuse
.endif"""
# Suffix of the frontend and the backend of a public port.
PUBLIC = "-public"


@dataclass(frozen=True)
class Upstream:
    """The process behind a Service.

    `ready_path` is None if it speaks gRPC and has a health service. A worker has no port (0). The gRPC server
    has another port for clients, `public_port`.
    """

    program: str
    port: int
    ready_path: str | None
    public_port: int = field(default=0, kw_only=True)


def configuration(
    instance: Instance,
    stage: Stage,
    upstreams: Mapping[str, Upstream],
    leaving: Sequence[tuple[Service, Upstream]] = (),
) -> str:
    """The whole configuration: settings, the rules of k8s/proxy/defaults.cfg, frontends and backends.

    `leaving` are Services that the stage no longer has, but that requests of old processes still use.
    """
    blocks = [service_frontend(instance, stage, service, upstreams) for service in stage.services]
    for name, upstream in sorted(upstreams.items()):
        ports = {name: upstream.port, f"{name}{PUBLIC}": upstream.public_port}
        blocks += [backend(each, upstream, port) for each, port in ports.items() if port]
    blocks.append(REFUSED)
    variables = "".join(
        f'    setenv {name} "{value}"\n' for name, value in setting_overrides.for_proxy(instance).items()
    )
    rules = (instance.checkout / "k8s" / "proxy" / "defaults.cfg").read_text()
    for service, upstream in leaving:
        name = f"leaving-{service.name}-{service.port}"
        binds = [f"{instance.service_address(service.name)}:{service.port}"]
        port = upstream.public_port if service.leads_to_public_port else upstream.port
        blocks.append(frontend(name, binds, f"default_backend {name}", grpc=is_grpc(upstream)))
        blocks.append(backend(name, upstream, port))
    body = f"{rules}\n" + "\n\n".join(blocks) + "\n"
    # The stats socket reports this digest, so it tells whether the workers use this configuration.
    marker = hashlib.sha256((variables + body).encode()).hexdigest()[:16]
    return (
        "global\n"
        f"    description {marker}\n"
        f'    stats socket "{instance.sockets() / "haproxy.sock"}" mode 600 level admin expose-fd listeners\n'
        "    hard-stop-after 1h\n"
        f"{variables}"
        f'{OLD}\n    lua-load "{instance.checkout / "local" / "refusals.lua"}"\n.endif\n\n'
        f"{body}"
    )


def service_frontend(
    instance: Instance, stage: Stage, service: Service, upstreams: Mapping[str, Upstream]
) -> str:
    grpc = service.process is not None and is_grpc(upstreams[service.process])
    binds = [f"{instance.service_address(service.name)}:{service.port}"]
    if service.node_port is not None:
        tls = setting_overrides.certificate(instance) and not grpc  # the gRPC server has TLS of its own
        address = f"{setting_overrides.public_address(instance)}:{instance.node_port(service.node_port)}"
        binds.append(f"{address} name public" + (f' ssl crt "{certificate_file(instance)}"' if tls else ""))
    if service.process is not None:
        suffix = PUBLIC if service.leads_to_public_port else ""
        to = f"default_backend {service.process}{suffix}"
        return frontend(f"{service.name}{suffix}", binds, to, grpc=grpc)
    lines = [
        "http-request set-var(txn.route) path,url_dec",
        # A path that cannot be decoded goes to the process of the root path, which answers it.
        "http-request set-var(txn.route) str(/) unless { var(txn.route) -m found }",
    ]
    for pattern, process in map(str.split, stage.route_lines()):
        lines.append(f"use_backend {process} if {{ var(txn.route) -m reg '{pattern}' }}")
    return frontend(service.name, binds, *lines)


def frontend(name: str, binds: Sequence[str], *to: str, grpc: bool = False) -> str:
    lines = [f"frontend {name} from {'tunnel' if grpc else 'door'}", *(f"bind {bind}" for bind in binds)]
    lines += [*COUNTED, *(SPOKEN_TO if grpc else FIRST_REQUEST.splitlines()), *to]
    return "\n    ".join(lines)


def backend(name: str, upstream: Upstream, port: int) -> str:
    defaults = "tunnel" if is_grpc(upstream) else "upstream"
    return f"backend {name} from {defaults}\n    server {upstream.program} 127.0.0.1:{port}"


def is_grpc(upstream: Upstream) -> bool:
    return upstream.port != 0 and upstream.ready_path is None


def executable() -> str:
    return shutil.which("haproxy", path=SYSTEM_PATH) or "haproxy"


def config_file(instance: Instance) -> Path:
    return instance.state / "haproxy.cfg"


def certificate_file(instance: Instance) -> Path:
    """Another certificate has another name, so old workers keep theirs and a reload reads the new one."""
    text = setting_overrides.certificate(instance) or ""
    return instance.state / f"tls-{hashlib.sha256(text.encode()).hexdigest()[:10]}.pem"


def command(instance: Instance) -> list[str]:
    """A master in the foreground, which stays while its workers are replaced."""
    master = str(instance.sockets() / "haproxy-master.sock")
    return [executable(), "-W", "-db", "-S", master, "-f", str(config_file(instance))]


def install(instance: Instance, text: str) -> None:
    """Writes the configuration if HAProxy accepts it; otherwise the previous one stays."""
    if (pem := setting_overrides.certificate(instance)) is not None:
        write(certificate_file(instance), pem)
    new = instance.state / "haproxy.new.cfg"
    write(new, text)
    output_of([executable(), "-c", "-f", str(new)], "HAProxy refuses its configuration:")
    new.replace(config_file(instance))


def serve(instance: Instance, supervisor: Supervisor, text: str) -> None:
    """Starts or reloads HAProxy with this configuration, unless it uses it already.

    A reload starts new workers beside the old ones, which finish their requests.
    """
    marker = text.partition("description ")[2].split()[0]
    program = Program("haproxy", command(instance), instance.checkout, priority=900)
    if supervisor.has(program) and running_marker(instance) == marker:
        return
    install(instance, text)
    if supervisor.has(program):
        supervisor.rpc.signalProcess("haproxy", "USR2")
    else:
        supervisor.add(program)
    if not poll(lambda: running_marker(instance) == marker, TAKEOVER_TIMEOUT_S):
        log = tail(instance.logs / "haproxy.log")
        raise Refused(f"HAProxy did not load its configuration. The end of its log:\n{log}")
    for old in set(instance.state.glob("tls-*.pem")) - {certificate_file(instance)}:
        old.unlink()


def running_marker(instance: Instance) -> str | None:
    """The marker of the configuration in use; None if HAProxy does not run."""
    try:
        answer = ask(instance.sockets() / "haproxy.sock", "show info")
    except OSError:
        return None
    found = re.search(r"^description: (.*)$", answer, re.MULTILINE)
    return found[1] if found else None


def has_old_workers(instance: Instance) -> bool:
    """Whether workers from before the last reload still have requests; True while that is unknown."""
    try:
        answer = ask(instance.sockets() / "haproxy-master.sock", "show proc")
    except OSError:
        answer = ""
    if "# workers" not in answer:  # during a reload the master closes the connection
        return True
    _, _, old = answer.partition("# old workers")
    return " worker " in old.partition("# programs")[0]


def ask(path: Path, question: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(question.encode() + b"\n")
        connection.shutdown(socket.SHUT_WR)  # the master would keep an interactive connection open
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
