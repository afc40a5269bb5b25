"""The Postman collection is made from the schema, misses nothing of it, and holds on real systems."""

import json
import subprocess
from collections import Counter
from typing import Any

import pytest

from local import newman, postman
from tests.gunicorn_server import Server
from tests.system import STAGES, System
from tests.test_journey import has

COLLECTION = postman.FOLDER / "connect.postman_collection.json"
ENDS = {STAGES[0], STAGES[-1]}
# Beside the API, which answers at every stage: the folders that can be asked at another address.
ELSEWHERE = {
    "3-locations": {"locations": ["health", "locations"]},
    "4-connections": {"locations": ["health", "locations"]},
    STAGES[-1]: {"persons-api": ["health", "persons"], "connect-app": ["health"]},
}
# Sign-in codes are made in the admin site and by manage.py, not by REST.
NEED_THE_ADMIN = {("exchangeCode", "201")}


def requests() -> list[dict[str, Any]]:
    folders = json.loads(COLLECTION.read_text())["item"]
    return [request for folder in folders for request in folder["item"]]


def run(environment: str, addresses: dict[str, str], *folders: str) -> None:
    """All folders, in order, if none is named."""
    file = postman.FOLDER / f"{environment}.postman_environment.json"
    command = newman.command("run", COLLECTION, "--environment", file, "--color=off")
    command += [f"--folder={folder}" for folder in folders]
    command += [f"--env-var={name}={address}" for name, address in addresses.items()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def run_at(system: System, environment: str, *folders: str) -> None:
    addresses = postman.SCENARIO["environments"][environment]["variables"]
    ports = {name: int(address.rpartition(":")[2]) for name, address in addresses.items()}
    run(environment, {name: system.url("", port) for name, port in ports.items()}, *folders)


def test_the_committed_files_agree_with_the_schema() -> None:
    for name, text in postman.render().items():
        assert (postman.FOLDER / name).read_text() == text, "run `make openapi`"


def test_every_operation_is_asked_and_every_answer_seen_that_can_be_provoked() -> None:
    seen = {(call.operation_id, call.status) for folder in postman.calls().values() for call in folder}
    for operation_id, operation in postman.operations().items():
        if operation_id == "followLive":
            continue  # a request of Postman waits for the end of its answer, and this one has none
        for status in operation.spec["responses"]:
            if (operation_id, status) in NEED_THE_ADMIN:
                continue
            # The doors of phones ignore what is an error elsewhere.
            is_phone = operation.spec["tags"] == ["phones"]
            if status[0] == "2" or (operation.can_be_provoked(status) and not is_phone):
                assert (operation_id, status) in seen


def test_every_request_holds_its_answer_against_status_kind_and_shape() -> None:
    for request in requests():
        script = "\n".join(request["event"][-1]["script"]["exec"])
        assert "pm.response.to.have.status" in script
        assert "Content-Type" in script or "It is empty" in script
        assert "jsonSchema" in script or "It is empty" in script or "text/csv" in script or "zip" in script


def test_folders_leave_nobody_behind() -> None:
    for folder in postman.calls().values():
        made = Counter(call.operation_id for call in folder if call.status[0] == "2")
        assert made["createPerson"] == made["deletePerson"] + made["erasePerson"]


def test_newman_is_pinned_for_any_registry() -> None:
    packages = json.loads((newman.PINNED / "package-lock.json").read_text())["packages"]
    del packages[""]
    assert all("integrity" in package and "resolved" not in package for package in packages.values())


def test_a_wrong_answer_fails_the_run(server: Server) -> None:
    with pytest.raises(AssertionError, match="It answers 201"):
        run("connect-api", {"api": server.url("/nowhere")}, "persons")


def test_every_answer_is_as_the_collection_says(fresh: System, stage: str) -> None:
    served = [
        folder["name"] for folder in postman.SCENARIO["folders"] if has(stage, folder.get("from_stage", 0))
    ]
    run_at(fresh, "connect-api", *(served if stage in ENDS else ["two people meet"]))
    for environment, folders in ELSEWHERE.get(stage, {}).items():
        run_at(fresh, environment, *folders)
