"""A walk along the stages under load: no client notices, and what runs is what the manifests say."""

from itertools import pairwise
from pathlib import Path

import pytest

from local import kafka, manifests, rollout
from local.instance import Instance, read_json
from local.supervision import Supervisor, tail
from local.tests.terminal import Terminal, an_instance
from tests.system import STAGES
from tests.walk import Walk

NEW = {"encounter-finder", "encounters", "live", "webhooks"}  # at the last stage
LEAST = {"ping": 500, "pings in bulk": 50, "encounters": 50, "people written": 50, "gRPC ping": 50}


@pytest.fixture
def terminal(tmp_path: Path) -> object:
    with an_instance(tmp_path) as instance:
        yield Terminal(instance, access="tokens")


def test_nobody_notices_the_walk(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    first = terminal.make("up", "STAGE=0")
    assert first.returncode == 0, first.stdout
    walk = Walk(terminal, calls_between=250)
    door = Supervisor(terminal.instance).programs()["haproxy"]["pid"]
    programs: list[tuple[str, dict[str, str]]] = []

    def arrived(instance: Instance, name: str) -> None:
        it_runs_what_the_manifests_say(instance, name)
        running = read_json(rollout.running_file(instance))["processes"]
        programs.append((name, {process: one["program"] for process, one in running.items()}))

    walk.go([1, 2, 3, 4, 5, 6, 7, 6, 3, 7, 0], arrived=arrived)
    for (here, before), (there, after) in pairwise(programs):
        if {here, there} == {*STAGES[-2:]}:  # this step starts and stops the new processes and no other
            assert before.items() ^ after.items() == {
                (name, program) for name, program in (before | after).items() if name in NEW
            }
    with capsys.disabled():
        print(f"\n{walk.table()}\n\n{walk.summary()}")
    assert walk.faults == [], tail(terminal.instance.logs / "haproxy.log")
    stored = walk.stored()
    acknowledged = [ping for _, ping in walk.noted.pings]
    assert len(acknowledged) == len({*acknowledged})
    assert stored == dict.fromkeys(acknowledged, 1)
    assert Supervisor(terminal.instance).programs()["haproxy"]["pid"] == door
    for kind, least in LEAST.items():
        assert sum(one.kind == kind for one in walk.noted.calls) >= least, kind


def it_runs_what_the_manifests_say(instance: Instance, name: str) -> None:
    secrets = kept_secrets(instance)
    stage = manifests.read_stage(instance, name, secrets | kafka.NO_PASSWORDS)
    if kafka.NAME in stage.stateful:
        broker = kafka.private_broker(instance, running=True)
        stage = manifests.read_stage(instance, name, secrets | broker.secrets(), brokers_url=broker.url)
    programs = Supervisor(instance).programs()
    running = read_json(rollout.running_file(instance))["processes"]
    own = {"haproxy", *stage.stateful}
    assert {*programs} == own | {one["program"] for one in running.values()}
    assert {*running} == {process.name for process in stage.processes}
    for process in stage.processes:
        described = Path(f"/proc/{programs[running[process.name]['program']]['pid']}")
        command = described.joinpath("cmdline").read_text().split("\0")[:-1]
        assert tuple(command[-len(process.command) + 1 :]) == process.command[1:], process.name
        environ = {*described.joinpath("environ").read_text().split("\0")}
        wanted = rollout.native_environ(instance, stage, process) | {"ACCESS": "tokens"}
        assert {f"{key}={value}" for key, value in wanted.items()} <= environ, process.name


def kept_secrets(instance: Instance) -> dict[str, str]:
    """The values of the cluster's Secret on this machine, from the files that `make up` wrote."""
    lines = (instance.state / "env").read_text().splitlines()
    tokens = {file.name: file.read_text().strip() for file in (instance.state / "service-tokens").iterdir()}
    of_proxy = {"PROXY_SECRET": (instance.state / "proxy-secret").read_text().strip()}
    return dict(line.split("=", 1) for line in lines) | tokens | of_proxy
