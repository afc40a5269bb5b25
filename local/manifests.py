"""Reads a rendering: the processes, jobs and Services of a stage.

Everything that the reader does not understand is refused. Of StatefulSets it reads only the names, because
the runner has its own database and broker. It leaves out the process of the proxy, because one HAProxy
replaces all Services and takes over its routes. CronJobs are read but not run (docs/run.md).
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from local.instance import Instance, Refused

NAME_LABEL = "app.kubernetes.io/name"
# In the manifests; the private broker, or a given one, has another address.
BROKERS_URL = "kafka://kafka:9092"
BEFORE_IT_GOES = "connect/before-it-goes"
ROUTES = "routes.map"
PUBLIC_PORT = "grpc-public"  # the port of the gRPC server for clients
DOOR = "-door"  # suffix of the Service by which clients reach another Service


@dataclass(frozen=True)
class Process:
    """The one container of a Deployment or of a job."""

    name: str
    command: tuple[str, ...]
    environ: Mapping[str, str]
    ports: Mapping[str, int]
    ready_path: str | None
    speaks_grpc: bool = False
    ready_command: tuple[str, ...] | None = None  # of a worker, which has no port
    # A task to complete before a stage runs without the process.
    before_it_goes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Service:
    """An address that stays while processes are replaced. One without a `node_port` is for neighbours only.

    If `process` is None, the stage's routes select the process.
    """

    name: str
    process: str | None
    port: int
    node_port: int | None
    leads_to_public_port: bool = False


@dataclass(frozen=True)
class Stage:
    name: str
    processes: tuple[Process, ...]
    jobs: tuple[Process, ...]
    services: tuple[Service, ...]
    routes: str | None = None  # the map file of the stage's proxy
    scheduled: tuple[Process, ...] = ()  # the CronJobs
    stateful: tuple[str, ...] = ()  # the names of the StatefulSets: postgis, kafka

    def route_lines(self) -> list[str]:
        """The pattern and the process of each route. The first match wins."""
        return [line for line in (self.routes or "").splitlines() if line and not line.startswith("#")]


def stage_names(instance: Instance) -> list[str]:
    """In order."""
    names = (path.stem for path in instance.rendered.glob("*.yaml"))
    return sorted(names, key=lambda name: int(name.split("-")[0]))


def find_stage(instance: Instance, wanted: str | None) -> str:
    """The full name for a name or a number; the last stage for None."""
    names = stage_names(instance)
    if not wanted:
        return names[-1]
    for name in names:
        if wanted in (name, name.split("-")[0]):
            return name
    raise Refused(f"There is no stage {wanted!r}. There are: {', '.join(names)}.")


def read_stage(
    instance: Instance, name: str, secrets: Mapping[str, str], *, brokers_url: str = BROKERS_URL
) -> Stage:
    """The stage of a rendering; `secrets` has the values of the Secret."""
    text = (instance.rendered / f"{name}.yaml").read_text()
    return parse(name, text.replace(BROKERS_URL, brokers_url), secrets)


def parse(name: str, rendering: str, secrets: Mapping[str, str]) -> Stage:
    objects = [one for one in yaml.safe_load_all(rendering) if one]
    maps = {one["metadata"]["name"]: one["data"] for one in objects if one["kind"] == "ConfigMap"}

    def of_kind(kind: str) -> Iterator[dict[str, Any]]:
        return (one for one in objects if one["kind"] == kind)

    processes = tuple(process(one, maps, secrets) for one in of_kind("Deployment"))
    proxies = {one.name for one in processes if one.command[0] == "haproxy"}
    answering = {one.name: None if one.name in proxies else one.name for one in processes}
    return Stage(
        name=name,
        processes=tuple(one for one in processes if one.name not in proxies),
        jobs=tuple(process(one, maps, secrets) for one in of_kind("Job")),
        services=tuple(services([*of_kind("Service")], answering)),
        routes=next((one[ROUTES] for one in maps.values() if ROUTES in one), None) if proxies else None,
        scheduled=tuple(process(job_of(one), maps, secrets) for one in of_kind("CronJob")),
        stateful=tuple(one["metadata"]["name"] for one in of_kind("StatefulSet")),
    )


def job_of(cron_job: dict[str, Any]) -> dict[str, Any]:
    """The job that a CronJob makes each time."""
    return cron_job | {"spec": cron_job["spec"]["jobTemplate"]["spec"]}


def process(one: dict[str, Any], maps: Mapping[str, Any], secrets: Mapping[str, str]) -> Process:
    name = one["metadata"]["name"]
    containers = one["spec"]["template"]["spec"]["containers"]
    if len(containers) != 1 or "command" not in containers[0]:
        raise Refused(f"{name}: one container with a command is expected.")
    container = containers[0]
    probe = container.get("readinessProbe", {})
    before_it_goes = one["metadata"].get("annotations", {}).get(BEFORE_IT_GOES)
    return Process(
        name=name,
        command=(*container["command"], *container.get("args", ())),
        environ=environ(name, container, maps, secrets),
        ports={port["name"]: port["containerPort"] for port in container.get("ports", ())},
        ready_path=probe.get("httpGet", {}).get("path"),
        speaks_grpc="grpc" in probe,
        ready_command=tuple(probe["exec"]["command"]) if "exec" in probe else None,
        before_it_goes=tuple(shlex.split(before_it_goes)) if before_it_goes else None,
    )


def environ(
    name: str, container: dict[str, Any], maps: Mapping[str, Any], secrets: Mapping[str, str]
) -> dict[str, str]:
    """The container's variables; a later one wins."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        if set(source) != {"configMapRef"}:
            raise Refused(f"{name}: cannot read variables from {source}.")
        found |= maps[source["configMapRef"]["name"]]
    for variable in container.get("env", ()):
        match variable:
            case {"value": str(value)}:
                found[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda other: found[other[1]], value)
            case {"valueFrom": {"secretKeyRef": {"key": key}}}:
                found[variable["name"]] = secrets[key]
            case {"valueFrom": {"configMapKeyRef": {"name": source, "key": key}}}:
                found[variable["name"]] = maps[source][key]
            case _:
                raise Refused(f"{name}: cannot read the variable {variable}.")
    return found


def token_keys(instance: Instance) -> list[str]:
    """The keys of the Secret that are tokens of processes."""
    texts = (path.read_text() for path in instance.rendered.glob("*.yaml"))
    return sorted({key for text in texts for key in re.findall(r"\bkey: (SERVICE_TOKEN_\w+)", text)})


def services(objects: list[dict[str, Any]], answering: Mapping[str, str | None]) -> Iterator[Service]:
    """The Services of processes. `<name>` gets the node port of `<name>-door`, which is behind the proxy."""
    doors = {
        one["metadata"]["name"].removesuffix(DOOR): one["spec"]["ports"][0]["nodePort"]
        for one in objects
        if one["metadata"]["name"].endswith(DOOR)
    }
    for one in objects:
        name, selected = one["metadata"]["name"], one["spec"]["selector"][NAME_LABEL]
        if selected in answering and not name.endswith(DOOR):
            for port in one["spec"]["ports"]:
                is_public = port.get("targetPort") == PUBLIC_PORT
                node_port = port.get("nodePort")
                if is_public or len(one["spec"]["ports"]) == 1:
                    node_port = doors.pop(name, node_port)
                yield Service(name, answering[selected], port["port"], node_port, is_public)
    if doors:
        raise Refused(f"There is no Service for {', '.join(doors)}, which has a door.")


def localized(key: str, value: str, instance: Instance, services: tuple[Service, ...]) -> str:
    """A variable's value with the local addresses of Services and node ports."""
    names = {service.name for service in services}
    if key == "ALLOWED_HOSTS":
        hosts = value.split(",")
        return ",".join([*hosts, *(instance.service_address(host) for host in hosts if host in names)])
    for name in sorted(names):
        value = re.sub(rf"(?<=://){re.escape(name)}(?=[:/]|$)", instance.service_address(name), value)
    node_port = r"(?<=://127\.0\.0\.1:)3000[0-3]\b"
    return re.sub(node_port, lambda match: str(instance.node_port(int(match[0]))), value)
