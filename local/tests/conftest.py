"""Systems of the tests' own: another folder, other ports, gone afterwards."""

import contextlib
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local import generations, manifests, postgis, runner
from local.place import NODE_PORTS, Place
from local.supervision import Supervisor

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


@contextlib.contextmanager
def a_place(folder: Path) -> Iterator[Place]:
    base = next(base for base in iter(lambda: random.randrange(31000, 32700), None) if all_free(base))
    place = Place(state=folder / "state", port_base=base)
    place.make()
    try:
        yield place
    finally:
        runner.down(place)
        shutil.rmtree(postgis.home_of(place), ignore_errors=True)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with a_place(tmp_path) as place:
        yield place


def all_free(base: int) -> bool:
    return all(postgis.is_free(base + number) for number in range(NODE_PORTS))


class System:
    """A few web processes behind HAProxy, whose rendering a test changes."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.supervisor = Supervisor(place)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.place.node_port(30001)

    def move(self, answer: str, rendering: Callable[[str], str] = alone) -> None:
        if self.supervisor.pid() is None:
            self.supervisor.start()
        stage = manifests.parse(f"0-{rendering.__name__}", rendering(answer), {})
        generations.move(self.place, self.supervisor, stage, {"haproxy"})

    def pids(self) -> dict[str, int]:
        return {name: info["pid"] for name, info in self.supervisor.programs().items()}


@pytest.fixture
def system(place: Place) -> System:
    return System(place)
