"""What a topic has taken is stored before those who store it go, however the system is stopped in between."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from local import rollout
from local.instance import VENV
from local.polling import poll
from local.supervision import Supervisor
from local.tests.terminal import Terminal, an_instance
from tests.load import Api
from tests.system import STAGES

SOMEBODY = {"first_name": "Ann", "last_name": "Lee", "company_name": "Acme"}
LAST, BEFORE = STAGES[-1], "5-grpc"  # and not 6-kafka, so the finder goes in the same step


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    with an_instance(tmp_path_factory.mktemp("leaving")) as place:
        yield Terminal(place, access="tokens")


@pytest.fixture
def unwritten(terminal: Terminal) -> list[str]:
    """The ids of pings that the topic has and nobody has stored, for whoever should write them is stopped."""
    done = terminal.make("up", f"STAGE={LAST}")
    assert done.returncode == 0, done.stdout
    supervisor = Supervisor(terminal.instance)
    [writer] = [name for name in supervisor.programs() if name.startswith("location-writer-")]
    supervisor.rpc.stopProcess(writer)
    api = asked(terminal)
    person = api.ask("POST", "/api/persons", SOMEBODY, status=201)["id"]
    pings = [{"person_id": person, "latitude": 1, "longitude": 2} for _ in range(20)]
    taken = [api.ask("POST", "/api/locations", ping, status=202)["id"] for ping in pings]
    api.ask("GET", f"/api/locations/{taken[0]}", status=404)
    return taken


def asked(terminal: Terminal) -> Api:
    return Api(terminal.instance.node_port(30001), token=terminal.staff_token())


def stored(terminal: Terminal, taken: list[str]) -> bool:
    api = asked(terminal)
    person = taken[0].partition("-")[0]
    return [one["id"] for one in api.ask("GET", f"/api/locations?person_id={person}")] == taken


def is_gone(terminal: Terminal) -> bool:
    names = Supervisor(terminal.instance).programs()
    return not any(name.startswith(("kafka", "location-writer", "encounter")) for name in names)


def test_a_step_back_stores_what_the_topic_has(terminal: Terminal, unwritten: list[str]) -> None:
    done = terminal.make("up", f"STAGE={BEFORE}")
    assert done.returncode == 0, done.stdout
    assert stored(terminal, unwritten)
    assert is_gone(terminal)
    assert not rollout.pending_tasks(terminal.instance)


def test_a_system_that_was_stopped_stores_it_when_it_starts_at_another_stage(
    terminal: Terminal, unwritten: list[str]
) -> None:
    assert terminal.make("down").returncode == 0
    done = terminal.make("up", "STAGE=0")
    assert done.returncode == 0, done.stdout
    assert stored(terminal, unwritten)
    assert is_gone(terminal)
    assert not rollout.pending_tasks(terminal.instance)


def test_a_step_back_that_was_killed_is_completed_by_the_next(
    terminal: Terminal, unwritten: list[str]
) -> None:
    command = [VENV / "bin" / "python", "-m", "local", "up", BEFORE]
    place = terminal.instance
    with (place.state / "killed.out").open("w") as said:
        step = subprocess.Popen(
            command,
            cwd=place.checkout,
            env=terminal.environ,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    state = rollout.running_file(place)
    # The doors have moved on, and what they left behind is still in the topic.
    assert poll(lambda: json.loads(state.read_text())["stage"] == BEFORE, 90)
    os.killpg(step.pid, signal.SIGKILL)
    step.wait()
    assert rollout.pending_tasks(place)
    done = terminal.make("up", f"STAGE={BEFORE}")
    assert done.returncode == 0, done.stdout
    assert stored(terminal, unwritten)
    assert is_gone(terminal)
