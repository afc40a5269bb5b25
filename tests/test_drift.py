"""The manifests of all stages at one with what runs: the runner, the wiring, the routes."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.urls import URLResolver

from connect.neighbours import neighbour_settings
from connect.urls import MOUNTS
from local import manifests
from local.instance import CHECKOUT, Instance
from tests.renderings import (
    NEIGHBOURS,
    PLACE,
    SECRETS,
    STAGES,
    answering,
    as_read,
    containers,
    of_kind,
    pods,
    processes,
    served,
)

MOVED = Instance(state=Path("/nowhere"), port_base=31000)
SECRETS_OF_PROCESSES = ("SECRET_KEY", "SERVICE_TOKEN", "SERVICE_TOKENS", "PROXY_SECRET")
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


# --- what each process knows ---------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_a_process_knows_the_secrets_that_it_needs_and_no_others(stage: str) -> None:
    """The key where the admin site or its sessions are, a token of its own where it asks neighbours, and the
    proxy's secret where it answers HTTP.
    """
    shown = []
    for name, process in processes(stage).items():
        environ = process.environ
        known = {key for key in SECRETS_OF_PROCESSES if key in environ}
        asks = {environ.get(setting, "local:").partition(":")[0] for setting in NEIGHBOURS} & {"http", "grpc"}
        is_local = environ.get("PERSONS_URL", "local:") == "local:"
        signs = "admin" in served(process) or (is_local and not served(process) <= {"webapp", ""})
        # The monolith has its token before it has neighbours.
        shows = bool(asks) or name == "web"
        answers = process.command[0] == "gunicorn"
        needs = {"SECRET_KEY": signs, "SERVICE_TOKEN": shows, "PROXY_SECRET": answers}
        assert known == {key for key, needed in needs.items() if needed}, name
        shown += [environ["SERVICE_TOKEN"]] if "SERVICE_TOKEN" in environ else []
    assert len(set(shown)) == len(shown)
    webapp = processes(stage)["webapp"].environ
    assert not webapp["DATABASE_URL"]
    [migrate] = [job for job in as_read(stage).jobs if job.name == "migrate"]
    admitted = dict(each.split("=") for each in migrate.environ["SERVICE_TOKENS"].split(","))
    assert set(shown) <= set(admitted.values()) == {SECRETS[key] for key in manifests.token_keys(PLACE)}
    for _, container in containers(stage):
        if container["name"] != "process":
            assert "SECRET_KEY" not in str(container)


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_written_for_a_while_has_a_limit(stage: str) -> None:
    for name, pod in pods(stage):
        for volume in pod.get("volumes", ()):
            assert volume.get("emptyDir", {"sizeLimit": ""}).keys() == {"sizeLimit"}, name


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
        assert (process.ready_path, process.speaks_grpc, process.ready_command) == (
            probe.get("httpGet", {}).get("path"),
            "grpc" in probe,
            tuple(probe["exec"]["command"]) if "exec" in probe else None,
        )
        environ: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            environ |= maps[source["configMapRef"]["name"]]["data"]
        for variable in container["env"]:
            match variable.get("valueFrom", {}):
                case {"configMapKeyRef": source}:
                    environ[variable["name"]] = maps[source["name"]]["data"][source["key"]]
                case {"secretKeyRef": source}:
                    environ[variable["name"]] = SECRETS[source["key"]]
                case _:
                    environ[variable["name"]] = variable["value"]
        assert process.environ == environ


def test_the_last_stage_leaves_the_processes_before_it_as_they_are() -> None:
    before, last = map(processes, STAGES[-2:])
    assert {name: last[name] for name in before} == before
    assert last.keys() - before.keys() == {"encounter-finder", "encounters", "live", "webhooks"}


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
            if url.scheme == "kafka":
                broker = of_kind(stage, "Service")[url.hostname or ""]["spec"]
                assert url.hostname in as_read(stage).stateful
                assert [port["port"] for port in broker["ports"]] == [url.port]
                continue
            answering = found[url.hostname or "", url.port or 0]
            assert answering is not None, f"{name} asks {setting} past the proxy"
            assert answering != name, f"{name} asks itself for {setting}"
            assert speaks_grpc[answering] == (url.scheme == "grpc"), f"{name}: {setting}"
            if url.scheme == "http":
                needed = {"internal", "persons" if setting == "PERSONS_URL" else "locations"}
                assert needed <= served(processes(stage)[answering])


@pytest.mark.parametrize("stage", STAGES)
def test_who_speaks_grpc_is_marked_for_the_cluster(stage: str) -> None:
    speaks_grpc = {one.name: one.speaks_grpc for one in processes(stage).values()}
    for name, service in of_kind(stage, "Service").items():
        marked = {port.get("appProtocol") == H2C for port in service["spec"]["ports"]}
        behind = name.removesuffix(manifests.DOOR)
        assert marked == {speaks_grpc.get(behind, False)}, name


@pytest.mark.parametrize("stage", STAGES)
def test_who_reaches_no_data_is_not_told_where_the_data_is(stage: str) -> None:
    for name, process in processes(stage).items():
        if process.command[0] == "gunicorn":
            urls = {one: process.environ.get(one, "local:") for one in NEIGHBOURS}
            whom = [neighbour_settings(app) for app in served(process)]
            needs = any(names is None or "local:" in map(urls.get, names) for names in whom)
            assert bool(process.environ["DATABASE_URL"]) == needs, name


# --- the routes ----------------------------------------------------------------------------------


def paths() -> list[tuple[str, str]]:
    """Every app that the process of clients' calls may serve, with a path of each of its patterns."""
    found = []
    for app, patterns in MOUNTS.items():
        for pattern in patterns:
            path = "/" + re.sub(r"<\w+:\w+>", "5", str(pattern.pattern))
            found += [(app, path)] + ([(app, f"{path}login/")] if isinstance(pattern, URLResolver) else [])
    return [(app, path) for app, path in found if app not in ("internal", "webapp")]


# What the migration was for: no process serves these before the last stage.
LIVE = {
    "/api/encounters": "encounters",
    "/api/encounters/summary": "encounters",
    "/api/webhooks": "encounters",
    "/api/webhooks/5": "encounters",
    "/api/live": "live",
    "/health/ready/encounters": "encounters",
    "/health/ready/live": "live",
}


@pytest.mark.parametrize("stage", STAGES)
def test_every_path_is_led_to_a_process_that_serves_it(stage: str) -> None:
    for app, path in paths():
        assert app in served(answering(stage, path)) or path.startswith(tuple(LIVE)), path
    for path, app in LIVE.items():
        assert (app in served(answering(stage, path))) == (stage == STAGES[-1]), path
    for path in EVERYWHERE:
        assert answering(stage, path).command[0] == "gunicorn", path


@pytest.mark.parametrize("stage", STAGES)
def test_clients_reach_nothing_that_is_internal(stage: str) -> None:
    rules = (CHECKOUT / "k8s" / "proxy" / "defaults.cfg").read_text()
    assert "http-request deny deny_status 404 if public internal\n" in rules
    [denied] = re.findall(r"acl internal path,url_dec -m reg (\S+)", rules)
    for path in ("/internal/persons", "/internal/locations/get", "//internal/locations/get"):
        stopped = as_read(stage).routes and re.search(denied, path)
        assert stopped or "internal" not in served(answering(stage, path)), path


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
