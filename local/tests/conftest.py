"""Systems of the tests' own: another folder, other ports, gone afterwards."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from local import manifests, rollout
from local.instance import Instance
from local.supervision import Supervisor
from local.tests.terminal import an_instance

DEPLOYMENT = """
kind: Deployment
metadata: {{name: {name}}}
spec:
  template:
    spec:
      containers:
        - name: {name}
          command: [gunicorn, --threads, "8", --no-control-socket, "local.tests.answering:application"]
          env:
            - {{name: ANSWER, value: "{answer}"}}
          ports:
            - {{name: http, containerPort: 8000}}
          readinessProbe:
            httpGet: {{path: /health/ready, port: http}}
---
"""
SERVICE = """
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app.kubernetes.io/name: {process}}}
  ports:
    - {{port: 8000{node_port}}}
---
"""
PROXY = """
kind: Deployment
metadata: {name: proxy}
spec: {template: {spec: {containers: [{name: proxy, command: [haproxy]}]}}}
---
kind: ConfigMap
metadata: {name: routes-1}
data:
  routes.map: |
    # the specific before the general
    ^/back(/|$)  back
    ^/           web
---
"""
NODE_PORT = ", nodePort: 30001"


def alone(answer: str) -> str:
    """One process."""
    return DEPLOYMENT.format(name="web", answer=answer) + SERVICE.format(
        name="web", process="web", node_port=NODE_PORT
    )


def wired(answer: str) -> str:
    """One process that is wired to another."""
    with_back = (
        f'{{name: BACK, value: "http://back:8000"}}\n            - {{name: ANSWER, value: "{answer}"}}'
    )
    web = alone(answer).replace(f'{{name: ANSWER, value: "{answer}"}}', with_back)
    return (
        web
        + DEPLOYMENT.format(name="back", answer="from behind")
        + SERVICE.format(name="back", process="back", node_port="")
    )


def routed(answer: str) -> str:
    """The same two behind a proxy."""
    api = SERVICE.format(name="api", process="proxy", node_port=NODE_PORT)
    return wired(answer).replace(NODE_PORT, "") + PROXY + api


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    with an_instance(tmp_path) as instance:
        yield instance


def nobody_owes_anything(command: tuple[str, ...], environ: Mapping[str, str]) -> None:
    raise AssertionError(f"{command} was to be run")


class System:
    """A few web processes behind HAProxy, whose rendering a test changes."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.supervisor = Supervisor(instance)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.instance.node_port(30001)

    def move(self, answer: str, rendering: Callable[[str], str] = alone) -> None:
        if self.supervisor.pid() is None:
            self.supervisor.start()
        stage = manifests.parse(f"0-{rendering.__name__}", rendering(answer), {})
        rollout.move(self.instance, self.supervisor, stage, {"haproxy"}, finish=nobody_owes_anything)

    def pids(self) -> dict[str, int]:
        return {name: info["pid"] for name, info in self.supervisor.programs().items()}


@pytest.fixture
def system(instance: Instance) -> System:
    return System(instance)
