"""The web server of this checkout against that of another, in turn, on the database of the system that runs.

`.venv/bin/python -m bench.compare_servers DIR`, where DIR is a checkout with its own .venv. Each request
has a connection of its own, as from the proxy. Nothing here asserts a time.
"""

import argparse
import http.client
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from bench.report import in_turn, table
from local.instance import Instance
from tests.gunicorn_server import ROOT, Server

ROUNDS = 7
PING = {
    "person_id": 1000001,
    "latitude": "52.5",
    "longitude": "13.4",
    "creation_time": "2026-06-01T00:00:00Z",
}
PINGS = [PING | {"creation_time": f"2026-06-01T00:{each // 60:02}:{each % 60:02}Z"} for each in range(1000)]
# What is asked: how often in a round, by how many clients at the same time, the path, the body of a POST.
CALLS = {
    "list of people, one client": (300, 1, "/api/persons?limit=5", None),
    "list of people, four clients": (400, 4, "/api/persons?limit=5", None),
    "ping, one client": (300, 1, "/api/locations", PING),
    "ping, four clients": (400, 4, "/api/locations", PING),
    "1,000 pings in a call, four clients": (40, 4, "/api/locations", PINGS),
    "a day of pings, streamed": (4, 1, "/api/locations?start=2026-05-11&end=2026-05-11", None),
}
Call = tuple[int, int, str, object]


class Web:
    def __init__(self, server: Server):
        self._server = server
        self._cpu_s: list[float] = []

    def rate(self, call: Call) -> float:
        """Calls a second."""
        times, clients, path, body = call
        cpu_s, begun = self._total_cpu_s(), time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            for _ in pool.map(lambda _: self._ask(path, body), range(times)):
                pass
        took = time.perf_counter() - begun
        self._cpu_s.append(self._total_cpu_s() - cpu_s)
        return times / took

    def measured_cpu_s(self) -> float:
        """Processor time of the last ROUNDS."""
        return sum(self._cpu_s[-ROUNDS:])

    def _ask(self, path: str, body: object) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=60)
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status not in (200, 202):
            sys.exit(f"{path}: {answer.status} {text[:500]!r}")

    def _total_cpu_s(self) -> float:
        process = psutil.Process(self._server.process.pid)
        return sum(sum(each.cpu_times()[:2]) for each in [process, *process.children(recursive=True)])


def compared(name: str, ours: Web, theirs: Web) -> list[str]:
    call = CALLS[name]
    ours.rate(call), theirs.rate(call)  # warm
    found = in_turn({"ours": lambda: ours.rate(call), "theirs": lambda: theirs.rate(call)}, ROUNDS)
    ratios = sorted(a / b for a, b in zip(found["ours"].values, found["theirs"].values, strict=True))
    spread = f"{ratios[ROUNDS // 2]:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    return [name, spread, f"{ours.measured_cpu_s() / theirs.measured_cpu_s():.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.compare_servers", description=__doc__)
    parser.add_argument("other", type=Path, help="a checkout with its own .venv")
    other = parser.parse_args().other.resolve()
    lines = (Instance.from_environment().state / "env").read_text().splitlines()
    environ = dict(line.split("=", 1) for line in lines if "=" in line) | {
        "ACCESS": "open",
        "WEB_WORKERS": "2",
        "WEB_THREADS": "8",
        "SERVED_APPS": "persons,locations,connections",
    }
    application = "connect.asgi" if (other / "connect/asgi.py").exists() else "connect.wsgi"
    with (
        Server(checkout=ROOT, **environ) as ours,
        Server(checkout=other, application=application, **environ) as theirs,
    ):
        rows = [compared(name, Web(ours), Web(theirs)) for name in CALLS]
    print("\n".join(table(["what is asked", "rate, ours / theirs", "processor time, ours / theirs"], rows)))


if __name__ == "__main__":
    main()
