"""The objects that a cluster is given: as rendered, valid, safe, complete."""

import re
import shutil
from base64 import b64decode
from itertools import pairwise
from math import ceil
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from django.conf import settings

from local import manifests, rendering
from local.instance import CHECKOUT
from local.kafka import FIRST_USERS, LATER_USERS, secret_name
from local.proxy import COUNTED, SPOKEN_TO
from tests.renderings import PLACE, SECRETS, STAGES, as_read, containers, objects, of_kind, pods, processes
from webhooks.deliveries import THREADS

SECRET_VARIABLES = {*SECRETS, "POSTGRES_PASSWORD"}
OTHERS_IMAGES = {"postgis", "kafka", "proxy"}
DOORS = {"proxy", "web", "persons", "locations", "locations-rest", "connections", "encounters", "live"}
ALONE = {"encounter-finder", "webhooks"}  # one pod is enough: encounters may be late
UNSCALED = {"webhooks"}  # its receivers decide how fast it is
KEDA = {"6-kafka": ["../keda"], "7-live": ["../keda", "../keda/7-live"]}  # the components of a stage
LAG_SCALERS = {
    path.stem: yaml.safe_load(path.read_text()) for path in (CHECKOUT / "k8s" / "keda").rglob("*-*er.yaml")
}
RESERVED_CONNECTIONS = 10  # those that PostgreSQL keeps for its superuser, a job's, somebody's psql


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


@pytest.mark.parametrize("stage", ["5-grpc", "6-kafka", "7-live"])
def test_with_tls_every_door_has_the_certificate_and_those_who_ask_its_authority(
    tmp_path: Path, stage: str
) -> None:
    shutil.copytree(CHECKOUT / "k8s", tmp_path, dirs_exist_ok=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": [f"../{stage}"], "components": ["../tls"]})
    )
    found = list(yaml.safe_load_all(rendering.kustomize(tmp_path / "mine")))

    for one in found:
        kubernetes_validate.validate(one, "1.37", strict=True)
    services = {one["metadata"]["name"]: one["spec"] for one in found if one["kind"] == "Service"}
    doors = {
        spec["selector"][manifests.NAME_LABEL] for spec in services.values() if spec.get("type") == "NodePort"
    }
    told = {}
    for one in found:
        if one["kind"] == "Deployment":
            [container] = one["spec"]["template"]["spec"]["containers"]
            values = [variable.get("value", "") for variable in container["env"]]
            told[one["metadata"]["name"]] = " ".join(value for value in values if "connect-tls" in value)
    # What the gRPC server speaks goes through the proxy as it is.
    assert doors == {"proxy"}
    assert {name for name in told if "tls.crt" in told[name]} == {"proxy", "locations"}
    asking = {name for name in processes(stage) if "LOCATIONS_URL" in processes(stage)[name].environ}
    assert asking == {name for name in told if "ca.crt" in told[name]}


@pytest.mark.parametrize("stage", KEDA)
def test_with_keda_every_worker_is_scaled_by_the_lag_of_its_group(tmp_path: Path, stage: str) -> None:
    shutil.copytree(CHECKOUT / "k8s", tmp_path, dirs_exist_ok=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": [f"../{stage}"], "components": KEDA[stage]})
    )
    found = list(yaml.safe_load_all(rendering.kustomize(tmp_path / "mine")))

    scalers = {one["metadata"]["name"]: one["spec"] for one in found if one["kind"] == "ScaledObject"}
    users = {one["metadata"]["name"]: one["spec"] for one in found if one["kind"] == "TriggerAuthentication"}
    workers = {
        name: one
        for name, one in processes(stage).items()
        if one.ready_command is not None and name not in UNSCALED
    }
    assert scalers.keys() == users.keys() == workers.keys()
    groups = {"location-writer": settings.KAFKA_GROUP, "encounter-finder": settings.KAFKA_FINDER_GROUP}
    for name, scaler in scalers.items():
        assert scaler["scaleTargetRef"] == {"name": name}
        assert scaler["minReplicaCount"] == of_kind(stage, "Deployment")[name]["spec"]["replicas"]
        assert scaler["maxReplicaCount"] <= settings.KAFKA_PARTITIONS
        [trigger] = scaler["triggers"]
        assert trigger["authenticationRef"] == {"name": name}
        assert trigger["metadata"]["topic"] == settings.KAFKA_TOPIC
        assert trigger["metadata"]["consumerGroup"] == groups[name]
        given = {one["name"] for one in users[name]["env"]}
        assert given <= workers[name].environ.keys()


@pytest.mark.parametrize("stage", STAGES)
def test_every_object_is_valid(stage: str) -> None:
    for one in objects(stage):
        kubernetes_validate.validate(one, "1.37", strict=True)


@pytest.mark.parametrize("stage", STAGES)
def test_every_object_lives_in_the_namespace(stage: str) -> None:
    outside = [one["kind"] for one in objects(stage) if one["metadata"].get("namespace") != "connect"]
    assert outside == ["Namespace"]


@pytest.mark.parametrize("stage", STAGES)
def test_every_object_can_be_told_from_what_is_not_connects(stage: str) -> None:
    for one in objects(stage):
        assert one["metadata"]["labels"]["app.kubernetes.io/part-of"] == "connect", one["metadata"]["name"]


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
def test_every_python_has_a_folder_for_what_is_temporary(stage: str) -> None:
    for name, container in containers(stage):
        if container.get("command", [""])[0] in ("python", "gunicorn"):
            assert "tmp" in {one["name"] for one in container.get("volumeMounts", ())}, name


@pytest.mark.parametrize("stage", STAGES)
def test_the_image_is_named_in_one_place(stage: str) -> None:
    component = yaml.safe_load((CHECKOUT / "k8s" / "image" / "kustomization.yaml").read_text())["images"][0]
    image = f"{component['newName']}:{component['newTag']}"
    ours = {container["image"] for name, container in containers(stage) if name not in OTHERS_IMAGES}
    assert ours == {image}


@pytest.mark.parametrize("stage", STAGES)
def test_an_image_that_is_there_is_not_asked_of_a_registry(stage: str) -> None:
    for name, container in containers(stage):
        assert not container["image"].endswith(":latest"), name
        assert ":" in container["image"], name
        assert "imagePullPolicy" not in container, name


@pytest.mark.parametrize("stage", STAGES)
def test_every_service_leads_to_pods_at_a_port_that_they_have(stage: str) -> None:
    deployments = of_kind(stage, "Deployment") | of_kind(stage, "StatefulSet")
    for name, service in of_kind(stage, "Service").items():
        pod = deployments[service["spec"]["selector"][manifests.NAME_LABEL]]["spec"]["template"]
        assert pod["metadata"]["labels"].items() >= service["spec"]["selector"].items(), name
        ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports, name


@pytest.mark.parametrize("stage", STAGES)
def test_of_every_process_one_pod_may_go_at_a_time_and_another_stays(stage: str) -> None:
    deployments = of_kind(stage, "Deployment")
    selected = []
    for budget in of_kind(stage, "PodDisruptionBudget").values():
        wanted = budget["spec"]["selector"]["matchLabels"].items()
        labels = {name: one["spec"]["template"]["metadata"]["labels"] for name, one in deployments.items()}
        selected += [name for name, has in labels.items() if has.items() >= wanted]
        assert budget["spec"]["maxUnavailable"] == 1
    assert sorted(selected) == sorted(deployments.keys() - ALONE)
    for name, one in deployments.items():
        assert least(stage, name) == 1 if name in ALONE else least(stage, name) >= 2, name
        assert one["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0, name


def least(stage: str, name: str) -> int:
    """How many pods of a process there are when nobody asks it anything."""
    scaler = of_kind(stage, "HorizontalPodAutoscaler").get(name)
    return scaler["spec"]["minReplicas"] if scaler else of_kind(stage, "Deployment")[name]["spec"]["replicas"]


@pytest.mark.parametrize("stage", STAGES)
def test_every_door_becomes_wider_under_load_and_an_apply_does_not_narrow_it(stage: str) -> None:
    deployments = of_kind(stage, "Deployment")
    scalers = of_kind(stage, "HorizontalPodAutoscaler")
    assert scalers.keys() == deployments.keys() & DOORS
    for name, scaler in scalers.items():
        assert scaler["spec"]["scaleTargetRef"] == {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": name,
        }
        assert scaler["spec"]["maxReplicas"] > scaler["spec"]["minReplicas"]
        assert "replicas" not in deployments[name]["spec"], name


@pytest.mark.parametrize("stage", STAGES)
def test_the_database_has_a_connection_for_every_thread(stage: str) -> None:
    [database] = of_kind(stage, "StatefulSet")["postgis"]["spec"]["template"]["spec"]["containers"]
    has = next(int(one.partition("=")[2]) for one in database["args"] if one.startswith("max_connections"))
    needed = RESERVED_CONNECTIONS
    for name, process in processes(stage).items():
        if process.environ.get("DATABASE_URL"):
            web = process.command[0] == "gunicorn"
            threads = settings.WEB_WORKERS * settings.WEB_THREADS if web else settings.GRPC_THREADS
            if process.ready_command is not None:
                threads = 1
            if name in UNSCALED:  # one pod, and for a while a new one beside it
                needed += 2 * (threads + THREADS)
                continue
            scaler = of_kind(stage, "HorizontalPodAutoscaler").get(name) or LAG_SCALERS[name]
            most = scaler["spec"].get("maxReplicas") or scaler["spec"]["maxReplicaCount"]
            needed += threads * (most + ceil(most / 4))  # a quarter more while new ones take over
    assert needed <= has


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_too_old_is_dropped_once_a_day(stage: str) -> None:
    [job] = as_read(stage).scheduled
    assert job.command == ("python", "manage.py", "drop_old_locations")
    assert int(job.environ["RETENTION_DAYS"]) == settings.RETENTION_DAYS
    assert job.environ["DATABASE_URL"] == SECRETS["DATABASE_URL"]
    spec = of_kind(stage, "CronJob")[job.name]["spec"]
    assert re.fullmatch(r"\d+ \d+ \* \* \*", spec["schedule"])
    assert spec["concurrencyPolicy"] == "Forbid"


@pytest.mark.parametrize("stage", STAGES)
def test_every_configuration_that_is_referred_to_is_there(stage: str) -> None:
    maps = of_kind(stage, "ConfigMap").keys()
    referred = set()
    for _, pod in pods(stage):
        referred |= {one["configMap"]["name"] for one in pod.get("volumes", ()) if "configMap" in one}
        for container in pod["containers"]:
            referred |= {one["configMapRef"]["name"] for one in container.get("envFrom", ())}
    assert referred <= maps


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What `kubectl apply -k k8s/secrets` sends, made from the example."""
    folder = tmp_path_factory.mktemp("k8s")
    for name in ("secrets", "namespace"):
        shutil.copytree(CHECKOUT / "k8s" / name, folder / name)
    shutil.copy(folder / "secrets" / "secrets.env.example", folder / "secrets" / "secrets.env")
    return {one["kind"]: one for one in yaml.safe_load_all(rendering.kustomize(folder / "secrets"))}


def test_the_first_command_makes_the_namespace_as_the_stages_do_and_the_secret(
    secrets: dict[str, dict[str, Any]],
) -> None:
    assert secrets.keys() == {"Namespace", "Secret"}
    assert secrets["Namespace"] == of_kind(STAGES[0], "Namespace")["connect"]
    for one in secrets.values():
        kubernetes_validate.validate(one, "1.37", strict=True)


@pytest.mark.parametrize("stage", STAGES)
def test_the_secret_has_what_is_referred_to_and_no_more(
    stage: str, secrets: dict[str, dict[str, Any]]
) -> None:
    referred = [
        variable["valueFrom"]["secretKeyRef"]
        for _, container in containers(stage)
        for variable in container.get("env", ())
        if "secretKeyRef" in variable.get("valueFrom", {})
    ]
    assert {one["name"] for one in referred} == {secrets["Secret"]["metadata"]["name"]}
    there = as_read(stage)
    missing = set() if "kafka" in there.stateful else {*FIRST_USERS}
    missing |= set() if "encounter-finder" in processes(stage) else {*LATER_USERS}
    of_the_broker = {secret_name(user) for user in missing}
    assert {one["key"] for one in referred} == secrets["Secret"]["data"].keys() - of_the_broker


def test_the_example_leads_to_the_database_of_the_manifests(secrets: dict[str, dict[str, Any]]) -> None:
    given = {key: b64decode(value).decode() for key, value in secrets["Secret"]["data"].items()}
    url = urlsplit(given["DATABASE_URL"])
    service = of_kind(STAGES[0], "Service")["postgis"]
    database = of_kind(STAGES[0], "StatefulSet")["postgis"]["spec"]["template"]["spec"]["containers"][0]
    environ = {one["name"]: one.get("value") for one in database["env"]}
    assert (url.hostname, url.port) == ("postgis", service["spec"]["ports"][0]["port"])
    assert (url.username, url.path) == (environ["POSTGRES_USER"], f"/{environ['POSTGRES_DB']}")
    assert url.password == given["POSTGRES_PASSWORD"]


def test_the_real_secrets_are_never_committed() -> None:
    assert "/k8s/secrets/secrets.env" in (CHECKOUT / ".gitignore").read_text().splitlines()


def test_the_kind_cluster_has_the_addresses_that_clients_know() -> None:
    node = yaml.safe_load((CHECKOUT / "k8s" / "kind.yaml").read_text())["nodes"][0]
    mapped = sorted(node["extraPortMappings"], key=itemgetter("hostPort"))
    ports = sorted(one.node_port for one in as_read(STAGES[-1]).services if one.node_port)
    assert mapped == [{"containerPort": one, "hostPort": one, "listenAddress": "127.0.0.1"} for one in ports]


@pytest.mark.parametrize("stage", STAGES)
def test_every_address_outside_leads_to_the_proxy(stage: str) -> None:
    doors = {
        name: service["spec"]
        for name, service in of_kind(stage, "Service").items()
        if service["spec"].get("type", "ClusterIP") != "ClusterIP"
    }
    assert {spec["selector"][manifests.NAME_LABEL] for spec in doors.values()} == {"proxy"}
    configuration = (CHECKOUT / "k8s" / "proxy" / "cluster.cfg").read_text()
    [container] = of_kind(stage, "Deployment")["proxy"]["spec"]["template"]["spec"]["containers"]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    for name, spec in doors.items():
        [port] = spec["ports"]
        frontend = re.search(
            rf"^frontend (\S+) from (\S+)\n    bind :{ports[port['targetPort']]} name public",
            configuration,
            re.MULTILINE,
        )
        speaks_grpc = port["name"] == "grpc"
        assert frontend, name
        assert frontend[1] == f"{name.removesuffix(manifests.DOOR)}{'-grpc' if speaks_grpc else ''}"
        assert frontend[2] == ("tunnel" if speaks_grpc else "door")
    assert configuration.count("\n    ".join(COUNTED)) == configuration.count(" name public")
    assert "\n    ".join(SPOKEN_TO) in configuration


def test_a_port_answers_from_its_stage_on() -> None:
    for number, stage in enumerate(STAGES):
        services = as_read(stage).services
        ports = {one.node_port for one in services} - {None}
        assert ports == {30000, 30001} | ({30002} if number >= 1 else set()) | (
            {30003} if number >= 3 else set()
        )
