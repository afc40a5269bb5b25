"""compose.yaml and the manifests of the last stage start the same. (Whether it runs: `make compose-test`.)"""

import os
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from local import manifests
from local.instance import CHECKOUT
from tests.renderings import STAGES, of_kind, pods

STAGE = STAGES[-1]
# Compose has no clock: docs/run.md says how the machine's runs what a cluster runs at its times.
PODS = {name: pod for name, pod in pods(STAGE) if name not in of_kind(STAGE, "CronJob")}
NAMES = sorted(PODS)
MAPS = {name: one["data"] for name, one in of_kind(STAGE, "ConfigMap").items()}
EXAMPLE = (CHECKOUT / "k8s" / "secrets" / "secrets.env.example").read_text()
SECRETS = dict(re.findall(r"^(\w+)=(.*)$", EXAMPLE, re.MULTILINE))
OURS = "connect:local"


def text(**environ: str) -> str:
    """As compose reads the file: with what the environment gives, or else with the defaults."""
    written = (CHECKOUT / "compose.yaml").read_text()
    filled = re.sub(r"\$\{(\w+):[-?]([^}]*)\}", lambda found: environ.get(found[1], found[2]), written)
    return filled.replace("$$", "$")


SERVICES = yaml.safe_load(text(**SECRETS))["services"]


def container(name: str) -> dict[str, Any]:
    [one] = PODS[name]["containers"]
    return one


def mounts(name: str) -> dict[str, dict[str, Any]]:
    """Where in the container which volume of the pod is."""
    volumes = {one["name"]: one for one in PODS[name].get("volumes", ())}
    return {one["mountPath"]: volumes.get(one["name"], {}) for one in container(name).get("volumeMounts", ())}


def bound(name: str) -> dict[str, str]:
    """Where in the service which folder or volume is; read-only ones end in `:ro`."""
    return {there: here for here, there in (one.split(":", 1) for one in SERVICES[name].get("volumes", ()))}


def test_every_process_store_and_job_is_a_service_and_nothing_else_is() -> None:
    assert sorted(SERVICES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_the_same_command_in_the_same_image(name: str) -> None:
    service, one = SERVICES[name], container(name)
    assert service["image"] == one["image"]
    command = [*service.get("entrypoint", ()), *service.get("command", ())]
    assert command == [*one.get("command", ()), *one.get("args", ())]
    # Kubernetes' command takes the place of an image's entry point, compose's follows it. Ours has none.
    assert ("entrypoint" in service) == ("command" in one and one["image"] != OURS)
    assert "ENTRYPOINT" not in (CHECKOUT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_it_has_the_same_variables(name: str) -> None:
    assert SERVICES[name]["environment"] == dict(manifests.environ(name, container(name), MAPS, SECRETS))


@pytest.mark.parametrize("name", NAMES)
def test_it_has_the_same_files_and_places_to_write(name: str) -> None:
    files = {
        f"{path}/{key}:ro": content
        for path, volume in mounts(name).items()
        if "configMap" in volume
        for key, content in MAPS[volume["configMap"]["name"]].items()
    }
    kept = {path for path, volume in mounts(name).items() if not volume}
    assert bound(name).keys() == files.keys() | kept
    assert {there: (CHECKOUT / bound(name)[there]).read_text() for there in files} == files
    fleeting = {path for path, volume in mounts(name).items() if "emptyDir" in volume}
    assert {one.split(":")[0] for one in SERVICES[name].get("tmpfs", ())} == fleeting


@pytest.mark.parametrize("name", NAMES)
def test_it_has_no_more_rights(name: str) -> None:
    service, context = SERVICES[name], PODS[name]["securityContext"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges"]
    by_image = re.findall(r"^USER (.*)$", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE)
    user = by_image[-1] if service["image"] == OURS else service["user"]
    assert user == f"{context['runAsUser']}:{context['runAsGroup']}"


@pytest.mark.parametrize("name", NAMES)
def test_it_begins_when_what_its_pod_waits_for_is_there(name: str) -> None:
    waits = {one["name"]: one for one in PODS[name].get("initContainers", ())}
    needs = SERVICES[name].get("depends_on", {})
    assert ("migrated" in waits) == (needs.get("migrate") == {"condition": "service_completed_successfully"})
    there = {one for one in needs if needs[one] == {"condition": "service_healthy"}}
    urls = manifests.environ(name, waits["neighbours"], MAPS, SECRETS) if "neighbours" in waits else {}
    asked = {
        urlsplit(urls[setting]).hostname for setting in ("PERSONS_URL", "LOCATIONS_URL") if setting in urls
    }
    assert asked == there & {"persons", "locations"}


def test_the_addresses_that_clients_know_are_published_and_no_others() -> None:
    published: dict[str, list[str]] = {}
    for service in of_kind(STAGE, "Service").values():
        name = service["spec"]["selector"][manifests.NAME_LABEL]
        inside = {one["name"]: one["containerPort"] for one in container(name).get("ports", ())}
        for one in service["spec"]["ports"]:
            if "nodePort" in one:
                address = f"127.0.0.1:{one['nodePort']}:{inside[one['targetPort']]}"
                published.setdefault(name, []).append(address)
    assert {name: sorted(one["ports"]) for name, one in SERVICES.items() if "ports" in one} == {
        name: sorted(addresses) for name, addresses in published.items()
    }


def test_other_ports_are_other_ports_wherever_they_are_named() -> None:
    moved = yaml.safe_load(text(CONNECT_PORTS="3260"))
    assert moved == yaml.safe_load(re.sub(r"\b3000(?=[0-3]\b)", "3260", text()))


def test_the_proxy_finds_services_by_the_names_of_a_cluster() -> None:
    configuration = (CHECKOUT / "k8s" / "proxy" / "cluster.cfg").read_text()
    looked_for = set(re.findall(r"([a-z-]+)\.connect\.svc\.cluster\.local:(\d+)", configuration))
    answering = {
        name
        for name, port in looked_for
        if name in NAMES and int(port) in [one["containerPort"] for one in container(name)["ports"]]
    }
    named = {
        name: one["networks"]["default"]["aliases"] for name, one in SERVICES.items() if "networks" in one
    }
    assert named == {name: [f"{name}.connect.svc.cluster.local"] for name in answering}


def test_the_journey_on_compose_starts_without_settings(tmp_path: Path) -> None:
    """`make compose-test` on a fresh checkout: pytest loads the settings, which ask for a key."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CONNECT_STATE_DIR": str(tmp_path)}
    collect = ["make", "compose-test", "ARGS=--collect-only -q -p no:cacheprovider"]
    done = subprocess.run(collect, cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "composed.py::test_a_batch_that_is_worth_compressing_comes_through" in done.stdout
