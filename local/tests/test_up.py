"""`make up` and its neighbours, as somebody at a terminal uses them, with a cluster of their own."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from urllib.error import HTTPError

import pytest

from local import manifests, postgis, rollout
from local.instance import Instance, read_json
from local.polling import poll
from local.supervision import Supervisor, leftovers
from local.tests.terminal import Terminal


@pytest.fixture
def terminal(instance: Instance) -> Iterator[Terminal]:
    terminal = Terminal(instance)
    yield terminal
    terminal.make("down")


def newest(terminal: Terminal) -> datetime:
    """The time of the newest location."""
    [location] = json.loads(terminal.get(30001, "/api/locations?limit=1&order=newest"))
    return datetime.fromisoformat(location["creation_time"])


def stop_database(terminal: Terminal, supervisor: Supervisor) -> None:
    """HAProxy keeps the processes, which say what is out of reach."""
    supervisor.rpc.stopProcess("postgis")
    noticed = time.monotonic() + 6  # twice as long as it takes HAProxy to give a process up
    while time.monotonic() < noticed:
        assert json.loads(terminal.get(30001, "/health")) == "healthy"
    with pytest.raises(HTTPError) as away:
        terminal.get(30001, "/health/ready")
    assert away.value.code == 503
    assert json.loads(away.value.read())["needs"] == {"database": "out of reach"}
    supervisor.rpc.startProcess("postgis")
    assert poll(lambda: terminal.make("status").returncode == 0, 60, every_s=0.5)


def test_a_system_comes_up_stays_up_and_goes(terminal: Terminal) -> None:
    instance = terminal.instance
    terminal.environ["SIMULATE_LIVE"] = "true"
    begun = datetime.now(UTC)
    with ThreadPoolExecutor() as two:  # two terminals at once: one does the work, the other finds it done
        both = [*two.map(terminal.make, ["up", "up"])]
    assert [one.returncode for one in both] == [0, 0], both
    password = (instance.state / "admin-password").read_text().strip()
    assert sum(one.stdout.count(password) for one in both) == 1
    assert json.loads(terminal.get(30001, "/health/ready"))["status"] == "ready"
    assert len(json.loads(terminal.get(30001, "/api/persons?limit=3"))) == 3
    assert "<html" in terminal.get(30000, "/")
    last = manifests.stage_names(instance)[-1]
    assert terminal.make("stage").stdout.startswith(f"{last}\n")

    supervisor = Supervisor(instance)
    programs = {name: info["pid"] for name, info in supervisor.programs().items()}
    state = read_json(rollout.running_file(instance))
    own = {"postgis", "kafka", "haproxy", "simulation"}
    assert set(programs) == own | {one["program"] for one in state["processes"].values()}
    assert poll(lambda: newest(terminal) > begun, 60, every_s=0.5)
    second = terminal.make("up", f"STAGE={last}")
    assert second.returncode == 0, second.stdout
    assert password not in second.stdout
    assert {name: info["pid"] for name, info in supervisor.programs().items()} == programs
    assert read_json(rollout.running_file(instance)) == state

    for name in ("webapp-", "postgis", "kafka", "location-writer-", "encounter-finder-", "webhooks-"):
        os.kill(next(pid for program, pid in programs.items() if program.startswith(name)), signal.SIGKILL)
    assert poll(lambda: terminal.make("status").returncode == 0, 60, every_s=0.5)

    back = terminal.make("up", "STAGE=0-monolith")
    assert back.returncode == 0, back.stdout
    returned = datetime.now(UTC)
    assert poll(lambda: newest(terminal) > returned, 60, every_s=0.5)
    assert terminal.make("stage").stdout.startswith("0-monolith\n")
    assert {name.rpartition("-")[0] or name for name in supervisor.programs()} == {
        "postgis",
        "haproxy",
        "simulation",
        "web",
        "webapp",
    }
    assert len(json.loads(terminal.get(30001, "/api/persons?limit=3"))) == 3
    assert all(postgis.is_free(instance.node_port(port)) for port in (30002, 30003))

    terminal.environ["SIMULATE_LIVE"] = "false"
    assert terminal.make("up", "STAGE=0-monolith").returncode == 0
    assert "simulation" not in supervisor.programs()

    stop_database(terminal, supervisor)

    unknown = terminal.make("up", "STAGE=99")
    assert unknown.returncode != 0
    assert "There are: 0-monolith" in unknown.stdout

    assert terminal.make("down").returncode == 0
    assert not leftovers(instance)
    assert terminal.make("down").stdout.startswith("Nothing was running.")
    assert terminal.make("stage").returncode != 0
    assert all(postgis.is_free(port) for port in state["node_ports"])


def test_a_port_that_is_taken_is_named(terminal: Terminal) -> None:
    port = terminal.instance.node_port(30001)
    with socket.create_server(("127.0.0.1", port)):
        refused = terminal.make("up")
    assert refused.returncode != 0
    assert f"Port {port} is taken" in refused.stdout
    assert Supervisor(terminal.instance).pid() is None
