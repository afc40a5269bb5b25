"""Who comes under another's name is refused, by every process and at every door."""

import pytest
import requests

from tests.renderings import as_read
from tests.system import System


@pytest.mark.parametrize("path", ["/health/live", "/api/persons", "/admin/", "/"])
def test_every_process_refuses_a_foreign_host(stage: str, system: System, path: str) -> None:
    system.go(stage)
    web = {name: one for name, one in system.processes().items() if one.ready_path}
    assert web
    for name, one in web.items():
        url = f"http://127.0.0.1:{one.port}{path}"
        answer = requests.get(url, headers={"Host": "evil.example"}, timeout=30)
        assert answer.status_code == 400, name
        if path.startswith(("/api", "/health")):
            assert answer.json() == {"detail": "Bad request."}, name


def test_every_door_refuses_a_foreign_host(stage: str, system: System) -> None:
    system.go(stage)
    doors = {
        one.node_port for one in as_read(stage).services if one.node_port is not None and one.port == 8000
    }
    for door in doors:
        answer = system.get("/health/live", port=door, headers={"Host": "evil.example"})
        assert (answer.status_code, answer.json()) == (400, {"detail": "Bad request."}), door
