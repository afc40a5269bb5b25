"""The manifests: rendered as committed, valid, safe, and understood by the runner as they are meant."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from local import manifests, rendering
from local.place import CHECKOUT, Place, Refused

PLACE = Place(state=Path("/nowhere"))
MOVED = Place(state=Path("/nowhere"), port_base=31000)
STAGES = manifests.stage_names(PLACE)
SECRETS = {"DATABASE_URL": "postgis://the-database", "SECRET_KEY": "the-key"}
SECRET_VARIABLES = {*SECRETS, "POSTGRES_PASSWORD"}


def objects(stage: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((PLACE.rendered / f"{stage}.yaml").read_text()))


def pods(stage: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for one in objects(stage):
        if "template" in one.get("spec", {}):
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]


def containers(stage: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, pod in pods(stage):
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            yield name, container


def test_each_stage_is_rendered_as_committed() -> None:
    directories = rendering.directories(PLACE)
    assert [one.name for one in directories] == STAGES
    for directory in directories:
        committed = (PLACE.rendered / f"{directory.name}.yaml").read_text()
        assert rendering.kustomize(directory) == committed, f"make render changes {directory.name}"


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
    assert not [one for one in objects(stage) if one["kind"] == "Secret"]
    for name, container in containers(stage):
        for variable in container.get("env", ()):
            if variable["name"] in SECRET_VARIABLES:
                assert set(variable) == {"name", "valueFrom"}, name


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
    assert {container["image"] for name, container in containers(stage) if name != "postgis"} == {image}


@pytest.mark.parametrize("stage", STAGES)
def test_the_runner_starts_what_the_manifests_say(stage: str) -> None:
    read = manifests.read_stage(PLACE, stage, SECRETS)
    deployments = {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]["containers"][0]
        for one in objects(stage)
        if one["kind"] == "Deployment"
    }
    wiring = next(one["data"] for one in objects(stage) if one["kind"] == "ConfigMap")
    assert {process.name for process in read.processes} == set(deployments)
    for process in read.processes:
        container = deployments[process.name]
        assert list(process.command) == container["command"]
        assert process.ready_path == container["readinessProbe"]["httpGet"]["path"]
        literal = {one["name"]: one["value"] for one in container["env"] if "value" in one}
        assert process.environ == wiring | literal | SECRETS


def test_stage_0_is_the_monolith_and_the_page() -> None:
    read = manifests.read_stage(PLACE, "0-monolith", SECRETS)
    served = {process.name: process.environ["SERVED_APPS"] for process in read.processes}
    assert served == {"web": "persons,locations,connections,admin", "webapp": "webapp"}
    assert {one.name: one.node_port for one in read.services} == {"web": 30001, "webapp": 30000}
    assert [job.command for job in read.jobs] == [("python", "manage.py", "migrate", "--noinput")]


@pytest.mark.parametrize("stage", STAGES)
def test_services_have_addresses_of_their_own(stage: str) -> None:
    services = manifests.read_stage(PLACE, stage, SECRETS).services
    addresses = [PLACE.service_address(name) for name in {one.name for one in services}]
    assert len(addresses) == len(set(addresses))
    assert not {*addresses} & {MOVED.service_address(one.name) for one in services}


def test_names_in_addresses_become_loopback_addresses() -> None:
    services = manifests.read_stage(PLACE, "0-monolith", SECRETS).services
    web = PLACE.service_address("web")
    assert manifests.natively("PERSONS_URL", "http://web:8000", PLACE, services) == f"http://{web}:8000"
    assert manifests.natively("PERSONS_URL", "http://webby:8000", PLACE, services) == "http://webby:8000"
    assert manifests.natively("SERVED_APPS", "web,webapp", PLACE, services) == "web,webapp"
    assert manifests.natively("ALLOWED_HOSTS", "localhost,web", PLACE, services) == f"localhost,web,{web}"


def test_another_port_base_moves_the_addresses_that_browsers_use() -> None:
    assert manifests.natively("API_URL", "http://127.0.0.1:30001", PLACE, ()) == "http://127.0.0.1:30001"
    assert manifests.natively("API_URL", "http://127.0.0.1:30001", MOVED, ()) == "http://127.0.0.1:31001"
    assert manifests.natively("API_URL", "http://127.0.0.1:30004", MOVED, ()) == "http://127.0.0.1:30004"


def test_a_stage_is_found_by_name_or_number_and_is_the_last_if_not_said() -> None:
    assert manifests.find_stage(PLACE, "0") == manifests.find_stage(PLACE, "0-monolith") == "0-monolith"
    assert manifests.find_stage(PLACE, None) == manifests.find_stage(PLACE, "") == STAGES[-1]
    with pytest.raises(Refused, match=r"no stage '99'. There are: 0-monolith"):
        manifests.find_stage(PLACE, "99")


def test_what_the_runner_does_not_understand_is_refused() -> None:
    text = (PLACE.rendered / "0-monolith.yaml").read_text()
    with pytest.raises(Refused, match="cannot read the variable"):
        manifests.parse("0-monolith", text.replace("secretKeyRef", "fieldRef"), SECRETS)
