"""The reader of renderings: it understands them as meant, and refuses what it does not understand."""

from pathlib import Path

import pytest

from local import manifests
from local.instance import Instance, Refused

PLACE = Instance(state=Path("/nowhere"))
MOVED = Instance(state=Path("/nowhere"), port_base=31000)
STAGES = manifests.stage_names(PLACE)
SECRETS = {
    "DATABASE_URL": "postgis://the-database",
    "SECRET_KEY": "the-key",
    "PROXY_SECRET": "the-proxy-secret",
    **{key: f"the-{key}" for key in manifests.token_keys(PLACE)},
}


def test_stage_0_is_the_monolith_and_the_page() -> None:
    read = manifests.read_stage(PLACE, "0-monolith", SECRETS)
    served = {process.name: process.environ["SERVED_APPS"] for process in read.processes}
    assert served == {"web": "persons,locations,connections,venue,admin", "webapp": "webapp"}
    services = {one.name: (one.process, one.node_port) for one in read.services}
    assert services == {"api": (None, 30001), "web": ("web", None), "webapp": ("webapp", 30000)}
    assert [job.command for job in read.jobs] == [("python", "manage.py", "migrate", "--noinput")]


@pytest.mark.parametrize("stage", ["0-monolith", "2-proxy"])
def test_the_routes_say_who_answers(stage: str) -> None:
    read = manifests.read_stage(PLACE, stage, SECRETS)
    assert [one.process for one in read.services if one.name == "api"] == [None]
    assert "proxy" not in {process.name for process in read.processes}
    assert read.routes == (PLACE.checkout / "k8s" / stage / "routes.map").read_text()


def test_a_door_gives_its_node_port_to_the_service_behind_it() -> None:
    ports = {one.name: one.node_port for one in manifests.read_stage(PLACE, "5-grpc", SECRETS).services}
    assert ports["api"] == 30001
    assert (ports["webapp"], ports["persons"], ports["locations"]) == (30000, 30002, 30003)
    assert ports["connections"] is ports["locations-rest"] is None


def test_a_door_to_nobody_is_refused() -> None:
    text = (PLACE.rendered / "0-monolith.yaml").read_text()
    with pytest.raises(Refused, match="no Service for nobody, which has a door"):
        manifests.parse("0-monolith", text.replace("webapp-door", "nobody-door"), SECRETS)


def test_from_stage_5_on_locations_speak_grpc() -> None:
    read = {one.name: one for one in manifests.read_stage(PLACE, "5-grpc", SECRETS).processes}
    assert (read["locations"].speaks_grpc, read["locations"].ready_path) == (True, None)
    assert read["locations"].command == ("python", "manage.py", "run_location_server")
    assert (read["locations-rest"].speaks_grpc, read["locations-rest"].ready_path) == (False, "/health/live")


def test_names_in_addresses_become_loopback_addresses() -> None:
    services = manifests.read_stage(PLACE, "0-monolith", SECRETS).services
    web = PLACE.service_address("web")
    assert manifests.localized("PERSONS_URL", "http://web:8000", PLACE, services) == f"http://{web}:8000"
    assert manifests.localized("PERSONS_URL", "http://webby:8000", PLACE, services) == "http://webby:8000"
    assert manifests.localized("SERVED_APPS", "web,webapp", PLACE, services) == "web,webapp"
    assert manifests.localized("ALLOWED_HOSTS", "localhost,web", PLACE, services) == f"localhost,web,{web}"


def test_another_port_base_moves_the_addresses_that_browsers_use() -> None:
    assert manifests.localized("API_URL", "http://127.0.0.1:30001", PLACE, ()) == "http://127.0.0.1:30001"
    assert manifests.localized("API_URL", "http://127.0.0.1:30001", MOVED, ()) == "http://127.0.0.1:31001"
    assert manifests.localized("API_URL", "http://127.0.0.1:30004", MOVED, ()) == "http://127.0.0.1:30004"


def test_a_stage_is_found_by_name_or_number_and_is_the_last_if_not_said() -> None:
    assert manifests.find_stage(PLACE, "0") == manifests.find_stage(PLACE, "0-monolith") == "0-monolith"
    assert manifests.find_stage(PLACE, None) == manifests.find_stage(PLACE, "") == STAGES[-1]
    with pytest.raises(Refused, match=r"no stage '99'. There are: 0-monolith"):
        manifests.find_stage(PLACE, "99")


def test_what_the_runner_does_not_understand_is_refused() -> None:
    text = (PLACE.rendered / "0-monolith.yaml").read_text()
    with pytest.raises(Refused, match="cannot read the variable"):
        manifests.parse("0-monolith", text.replace("secretKeyRef", "fieldRef"), SECRETS)
