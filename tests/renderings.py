"""The renderings of all stages, and what the runner reads from them, for the tests that compare."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from local import manifests
from local.instance import Instance
from local.kafka import USERS, secret_name
from local.manifests import Process, Stage

PLACE = Instance(state=Path("/nowhere"))
STAGES = manifests.stage_names(PLACE)
SECRETS = {
    "DATABASE_URL": "postgis://the-database",
    "SECRET_KEY": "the-key",
    "PROXY_SECRET": "the-proxy-secret",
    **{key: f"the-{key}" for key in manifests.token_keys(PLACE)},
    **{secret_name(user): f"the-password-of-{user}" for user in USERS},
}
NEIGHBOURS = ("PERSONS_URL", "LOCATIONS_URL", "PINGS_URL")


@cache
def objects(stage: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((PLACE.rendered / f"{stage}.yaml").read_text()))


def of_kind(stage: str, kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in objects(stage) if one["kind"] == kind}


def pods(stage: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for one, template in templates(stage):
        yield one["metadata"]["name"], template["spec"]


def templates(stage: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Everything that makes pods, with how it makes them."""
    for one in objects(stage):
        making = manifests.job_of(one) if one["kind"] == "CronJob" else one
        if "template" in making.get("spec", {}):
            yield one, making["spec"]["template"]


def containers(stage: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, pod in pods(stage):
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            yield name, container


@cache
def as_read(stage: str) -> Stage:
    return manifests.read_stage(PLACE, stage, SECRETS)


def processes(stage: str) -> dict[str, Process]:
    return {one.name: one for one in as_read(stage).processes}


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
