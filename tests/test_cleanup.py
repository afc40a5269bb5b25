"""Nothing of the migration is left lying about: all that the last stage has is used by what runs there."""

import re
from typing import Any
from urllib.parse import urlsplit

from connect.neighbours import neighbour_settings
from local import manifests
from local.instance import CHECKOUT
from tests.renderings import NEIGHBOURS, STAGES, as_read, containers, objects, of_kind, pods, processes
from tests.test_drift import EVERYWHERE, LIVE, paths
from tests.test_network_policies import pods as peers
from tests.test_network_policies import selects

LAST = STAGES[-1]
# What other programs than ours read.
OTHERS = {
    "proxy": {"APP_URL", "PROXY_FILES", "PROXY_SECRET", "RATE_PER_ADDRESS", "RATE_PER_TOKEN", "ROUTES"},
    "postgis": {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD", "PGDATA"},
    "kafka": {"KAFKA_HEAP_OPTS", "LOG_DIR"},
}


def wired() -> set[str]:
    """Each URL of a neighbour that somebody asks."""
    found = set()
    for process in processes(LAST).values():
        urls = {setting: process.environ.get(setting, "local:") for setting in NEIGHBOURS}
        apps = process.environ.get("SERVED_APPS", "").split(",")
        whom = (
            {name for app in apps for name in neighbour_settings(app) or ()}
            if apps != [""]
            else {*NEIGHBOURS}
        )
        found |= {urls[name] for name in whom}
    return found


def routed() -> list[tuple[str, str]]:
    lines = (as_read(LAST).routes or "").splitlines()
    return [(pattern, name) for line in lines if not line.startswith("#") for pattern, name in [line.split()]]


def test_every_service_is_asked_by_somebody() -> None:
    secrets = (CHECKOUT / "k8s" / "secrets" / "secrets.env.example").read_text()
    asked_for = {urlsplit(url).hostname for url in wired()} | {name for _, name in routed()}
    asked_for.add(urlsplit(re.findall(r"^DATABASE_URL=(.*)$", secrets, re.MULTILINE)[0]).hostname)
    services = of_kind(LAST, "Service")
    asked_for |= {name.removesuffix(manifests.DOOR) for name in services if name.endswith(manifests.DOOR)}
    for name, service in services.items():
        is_door = any("nodePort" in port for port in service["spec"]["ports"])
        assert is_door or name in asked_for, name


def test_every_process_is_reached_or_reaches_for_its_work() -> None:
    leading = {service.process for service in as_read(LAST).services}
    workers = {name for name, process in processes(LAST).items() if process.ready_command is not None}
    assert processes(LAST).keys() == (leading - {None}) | workers


def test_every_route_leads_some_path() -> None:
    used = set()
    for path in [*(path for _, path in paths()), *EVERYWHERE, *LIVE]:
        used.add(next(pattern for pattern, _ in routed() if re.search(pattern, path)))
    assert used == {pattern for pattern, _ in routed()}


def test_every_line_of_the_wiring_is_followed_by_somebody() -> None:
    [wiring] = [one["data"] for name, one in of_kind(LAST, "ConfigMap").items() if name.startswith("wiring")]
    assert set(wiring.values()) <= wired()
    assert {*wiring} == {*NEIGHBOURS}


def test_every_configuration_is_mounted_or_read() -> None:
    used = set()
    for _, pod in pods(LAST):
        used |= {one["configMap"]["name"] for one in pod.get("volumes", ()) if "configMap" in one}
    for _, container in containers(LAST):
        used |= {source["configMapRef"]["name"] for source in container.get("envFrom", ())}
    assert used == of_kind(LAST, "ConfigMap").keys()


def test_every_volume_is_mounted() -> None:
    for name, pod in pods(LAST):
        mounted = {
            mount["name"]
            for container in (*pod["containers"], *pod.get("initContainers", ()))
            for mount in container.get("volumeMounts", ())
        }
        assert {one["name"] for one in pod.get("volumes", ())} <= mounted, name


def test_every_variable_is_read_by_whom_it_is_given_to() -> None:
    read = set(re.findall(r'env\.\w+\(\s*"(\w+)"', (CHECKOUT / "connect" / "settings.py").read_text()))
    for name, container in containers(LAST):
        given = {variable["name"] for variable in container.get("env", ())}
        parts = set(re.findall(r"\$\((\w+)\)", str(container.get("env"))))  # of another variable
        expanded = set(re.findall(r"\$(\w+)", str(container.get("command"))))  # by the shell that starts it
        assert given - parts - expanded <= OTHERS.get(name, read), name


def test_every_policy_is_about_somebody() -> None:
    for name, policy in of_kind(LAST, "NetworkPolicy").items():
        assert any(selects(policy["spec"]["podSelector"], dict(pod.labels)) for pod in peers(LAST)), name


def test_every_budget_and_every_scaler_is_of_a_process_that_is_there() -> None:
    deployments = of_kind(LAST, "Deployment")
    for kind, at in (("PodDisruptionBudget", budgeted), ("HorizontalPodAutoscaler", scaled)):
        for name, one in of_kind(LAST, kind).items():
            assert at(one) in deployments, name


def budgeted(budget: dict[str, Any]) -> str:
    return str(budget["spec"]["selector"]["matchLabels"][manifests.NAME_LABEL])


def scaled(scaler: dict[str, Any]) -> str:
    return str(scaler["spec"]["scaleTargetRef"]["name"])


def test_no_kind_of_object_is_left_out_here() -> None:
    looked_at = {"Service", "ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
    run = {"Deployment", "StatefulSet", "Job", "CronJob", "Namespace"}
    assert {one["kind"] for one in objects(LAST)} == looked_at | run
