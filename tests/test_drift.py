"""The manifests of all stages: as rendered, valid, safe, at one with themselves and with what runs."""

import re
import shutil
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from django.urls import URLResolver

from connect.urls import MOUNTS
from local import manifests, rendering
from local.manifests import Process, Stage
from local.place import CHECKOUT, Place

PLACE = Place(state=Path("/nowhere"))
MOVED = Place(state=Path("/nowhere"), port_base=31000)
STAGES = manifests.stage_names(PLACE)
SECRETS = {"DATABASE_URL": "postgis://the-database", "SECRET_KEY": "the-key"}
SECRET_VARIABLES = {*SECRETS, "POSTGRES_PASSWORD"}
OTHERS_IMAGES = {"postgis", "proxy"}
NEIGHBOURS = ("PERSONS_URL", "LOCATIONS_URL", "PINGS_URL")
H2C = "kubernetes.io/h2c"
# What any web process answers, whatever it serves besides.
EVERYWHERE = (
    "/health",
    "/health/ready",
    "/api/schema",
    "/api/docs",
    "/api/redoc",
    "/static/admin/css/base.css",
)


@cache
def objects(stage: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((PLACE.rendered / f"{stage}.yaml").read_text()))


def of_kind(stage: str, kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in objects(stage) if one["kind"] == kind}


def pods(stage: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for one in objects(stage):
        if "template" in one.get("spec", {}):
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]


def containers(stage: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, pod in pods(stage):
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            yield name, container


@cache
def as_read(stage: str) -> Stage:
    return manifests.read_stage(PLACE, stage, SECRETS)


def processes(stage: str) -> dict[str, Process]:
    return {one.name: one for one in as_read(stage).processes}


# --- the objects themselves ----------------------------------------------------------------------


def test_each_stage_is_rendered_as_committed() -> None:
    directories = rendering.directories(PLACE)
    assert [one.name for one in directories] == STAGES
    for directory in directories:
        committed = (PLACE.rendered / f"{directory.name}.yaml").read_text()
        assert rendering.kustomize(directory) == committed, f"make render changes {directory.name}"


def test_each_stage_stands_on_the_one_before() -> None:
    for before, stage in pairwise(STAGES):
        text = (CHECKOUT / "k8s" / stage / "kustomization.yaml").read_text()
        assert yaml.safe_load(text)["resources"][0] == f"../{before}"


def test_a_stage_that_follows_leaves_the_processes_as_they_are(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "k8s", tmp_path, dirs_exist_ok=True)
    (tmp_path / "next").mkdir()
    following = {"resources": [f"../{STAGES[-1]}"], "components": ["../process", "../image"]}
    (tmp_path / "next" / "kustomization.yaml").write_text(yaml.safe_dump(following))
    assert list(yaml.safe_load_all(rendering.kustomize(tmp_path / "next"))) == objects(STAGES[-1])


@pytest.mark.parametrize("stage", STAGES)
def test_every_object_is_valid(stage: str) -> None:
    for one in objects(stage):
        kubernetes_validate.validate(one, "1.37", strict=True)


@pytest.mark.parametrize("stage", STAGES)
def test_every_object_lives_in_the_namespace(stage: str) -> None:
    outside = [one["kind"] for one in objects(stage) if one["metadata"].get("namespace") != "connect"]
    assert outside == ["Namespace"]


@pytest.mark.parametrize("stage", STAGES)
def test_secrets_are_referred_to_and_never_contained(stage: str) -> None:
    assert not of_kind(stage, "Secret")
    for name, container in containers(stage):
        for variable in container.get("env", ()):
            if variable["name"] in SECRET_VARIABLES:
                assert "valueFrom" in variable or variable["value"] == "", name


@pytest.mark.parametrize("stage", STAGES)
def test_pods_have_no_rights_that_they_do_not_need(stage: str) -> None:
    for name, pod in pods(stage):
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
    for name, container in containers(stage):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True, name
        assert context["allowPrivilegeEscalation"] is False, name
        assert context["capabilities"] == {"drop": ["ALL"]}, name
        assert "memory" in container["resources"]["limits"], name
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}, name


@pytest.mark.parametrize("stage", STAGES)
def test_the_image_is_named_in_one_place(stage: str) -> None:
    component = yaml.safe_load((CHECKOUT / "k8s" / "image" / "kustomization.yaml").read_text())["images"][0]
    image = f"{component['newName']}:{component['newTag']}"
    ours = {container["image"] for name, container in containers(stage) if name not in OTHERS_IMAGES}
    assert ours == {image}


@pytest.mark.parametrize("stage", STAGES)
def test_every_service_leads_to_pods_at_a_port_that_they_have(stage: str) -> None:
    deployments = of_kind(stage, "Deployment") | of_kind(stage, "StatefulSet")
    for name, service in of_kind(stage, "Service").items():
        pod = deployments[service["spec"]["selector"][manifests.NAME_LABEL]]["spec"]["template"]
        assert pod["metadata"]["labels"].items() >= service["spec"]["selector"].items(), name
        ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports, name


@pytest.mark.parametrize("stage", STAGES)
def test_every_configuration_that_is_referred_to_is_there(stage: str) -> None:
    maps = of_kind(stage, "ConfigMap").keys()
    referred = set()
    for _, pod in pods(stage):
        referred |= {one["configMap"]["name"] for one in pod.get("volumes", ()) if "configMap" in one}
        for container in pod["containers"]:
            referred |= {one["configMapRef"]["name"] for one in container.get("envFrom", ())}
    assert referred <= maps


def test_a_port_answers_from_its_stage_on() -> None:
    for number, stage in enumerate(STAGES):
        services = as_read(stage).services
        ports = {one.node_port for one in services} - {None}
        assert ports == {30000, 30001} | ({30002} if number >= 1 else set()) | (
            {30003} if number >= 3 else set()
        )


# --- what runs natively --------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_the_runner_starts_what_the_manifests_say(stage: str) -> None:
    deployments = of_kind(stage, "Deployment")
    deployments.pop("proxy", None)
    maps = of_kind(stage, "ConfigMap")
    assert processes(stage).keys() == deployments.keys()
    for name, process in processes(stage).items():
        container = deployments[name]["spec"]["template"]["spec"]["containers"][0]
        assert list(process.command) == container["command"]
        probe = container["readinessProbe"]
        assert (process.ready_path, process.speaks_grpc) == (
            probe.get("httpGet", {}).get("path"),
            "grpc" in probe,
        )
        environ: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            environ |= maps[source["configMapRef"]["name"]]["data"]
        for variable in container["env"]:
            environ[variable["name"]] = variable.get("value", SECRETS.get(variable["name"], ""))
        assert process.environ == environ


@pytest.mark.parametrize("stage", STAGES)
def test_services_have_addresses_of_their_own(stage: str) -> None:
    services = as_read(stage).services
    addresses = [PLACE.service_address(name) for name in {one.name for one in services}]
    assert len(addresses) == len(set(addresses))
    assert not {*addresses} & {MOVED.service_address(one.name) for one in services}


# --- the wiring ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_every_address_in_the_wiring_is_a_service_of_the_stage(stage: str) -> None:
    services = as_read(stage).services
    found = {(one.name, one.port): one.process for one in services}
    speaks_grpc = {one.name: one.speaks_grpc for one in processes(stage).values()}
    for name, process in processes(stage).items():
        for setting in NEIGHBOURS:
            url = urlsplit(process.environ.get(setting, "local:"))
            if url.scheme == "local":
                continue
            answering = found[url.hostname or "", url.port or 0]
            assert answering is not None, f"{name} asks {setting} past the proxy"
            assert answering != name, f"{name} asks itself for {setting}"
            assert speaks_grpc[answering] == (url.scheme == "grpc"), f"{name}: {setting}"
            if url.scheme == "http":
                needed = "persons" if setting == "PERSONS_URL" else "internal"
                assert needed in served(processes(stage)[answering])


@pytest.mark.parametrize("stage", STAGES)
def test_who_speaks_grpc_is_marked_for_the_cluster(stage: str) -> None:
    speaks_grpc = {one.name: one.speaks_grpc for one in processes(stage).values()}
    for name, service in of_kind(stage, "Service").items():
        marked = {port.get("appProtocol") == H2C for port in service["spec"]["ports"]}
        assert marked == {speaks_grpc.get(service["spec"]["selector"][manifests.NAME_LABEL], False)}, name


@pytest.mark.parametrize("stage", STAGES)
def test_who_reaches_no_data_is_not_told_where_the_data_is(stage: str) -> None:
    for name, process in processes(stage).items():
        asks = [process.environ.get(setting, "local:") for setting in NEIGHBOURS]
        local = {
            "connections": [asks[0], asks[1]],
            "locations": [asks[1], asks[2]],
            "webapp": [],
        }
        if process.command[0] == "gunicorn" and served(process) <= local.keys():
            needs = any(url == "local:" for app in served(process) for url in local[app])
            assert bool(process.environ["DATABASE_URL"]) == needs, name


# --- the routes ----------------------------------------------------------------------------------


def served(process: Process) -> set[str]:
    return set(process.environ["SERVED_APPS"].split(","))


def answering(stage: str, path: str) -> Process:
    """Who answers this path at the address that clients know."""
    read = as_read(stage)
    name = next(one for one in read.services if one.node_port == 30001).process
    if name is None:
        routes = [line.split() for line in (read.routes or "").splitlines() if not line.startswith("#")]
        name = next(to for pattern, to in routes if re.search(pattern, path))
    return processes(stage)[name]


def paths() -> list[tuple[str, str]]:
    """Every app that the process of clients' calls may serve, with a path of each of its patterns."""
    found = []
    for app, patterns in MOUNTS.items():
        for pattern in patterns:
            path = "/" + re.sub(r"<\w+:\w+>", "5", str(pattern.pattern))
            found += [(app, path)] + ([(app, f"{path}login/")] if isinstance(pattern, URLResolver) else [])
    return [(app, path) for app, path in found if app not in ("internal", "webapp")]


@pytest.mark.parametrize("stage", STAGES)
def test_every_path_is_led_to_a_process_that_serves_it(stage: str) -> None:
    for app, path in paths():
        assert app in served(answering(stage, path)), path
    for path in EVERYWHERE:
        assert answering(stage, path).command[0] == "gunicorn", path


@pytest.mark.parametrize("stage", STAGES)
def test_no_route_leads_to_what_is_internal(stage: str) -> None:
    for path in ("/internal/locations/get", "//internal/locations/get", "/api/../internal/locations/get"):
        assert "internal" not in served(answering(stage, path)), path


@pytest.mark.parametrize("stage", STAGES)
def test_the_proxy_in_the_cluster_knows_everyone_whom_the_routes_name(stage: str) -> None:
    configuration = (CHECKOUT / "k8s" / "proxy" / "cluster.cfg").read_text()
    known = dict(
        re.findall(r"^backend (\S+) from upstream\n    server \S+ (\S+) ", configuration, re.MULTILINE)
    )
    routes = as_read(stage).routes or ""
    ports = {one.name: one.port for one in as_read(stage).services}
    for name in {line.split()[1] for line in routes.splitlines() if not line.startswith("#")}:
        assert known[name] == f"{name}.connect.svc.cluster.local:{ports[name]}"
