"""Systems of the tests' own: another folder, other ports, gone afterwards."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import generations, manifests, postgis, runner
from local.place import NODE_PORTS, Place
from local.supervision import Supervisor

RENDERING = """
kind: Deployment
metadata: {{name: web}}
spec:
  template:
    spec:
      containers:
        - name: web
          command: [gunicorn, --threads, "8", --no-control-socket, "local.tests.answering:application"]
          env:
            - {{name: ANSWER, value: "{answer}"}}
          ports:
            - {{name: http, containerPort: 8000}}
          readinessProbe:
            httpGet: {{path: /health/ready, port: http}}
---
kind: Service
metadata: {{name: web}}
spec:
  selector: {{app.kubernetes.io/name: web}}
  ports:
    - {{port: 8000, nodePort: 30001}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    base = next(base for base in iter(lambda: random.randrange(31000, 32700), None) if all_free(base))
    (tmp_path / "rendered").mkdir()
    place = Place(state=tmp_path / "state", port_base=base, rendered=tmp_path / "rendered")
    place.make()
    yield place
    runner.down(place)
    shutil.rmtree(postgis.home_of(place), ignore_errors=True)


def all_free(base: int) -> bool:
    return all(postgis.is_free(base + number) for number in range(NODE_PORTS))


class System:
    """One web process behind HAProxy, whose rendering a test changes."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.supervisor = Supervisor(place)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.place.node_port(30001)

    def move(self, answer: str) -> None:
        if self.supervisor.pid() is None:
            self.supervisor.start()
        stage = manifests.parse("0-alone", RENDERING.format(answer=answer), {})
        generations.move(self.place, self.supervisor, stage, {"haproxy"})

    def pids(self) -> dict[str, int]:
        return {name: info["pid"] for name, info in self.supervisor.programs().items()}


@pytest.fixture
def system(place: Place) -> System:
    return System(place)
