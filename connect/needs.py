"""What a process needs to do its work: the database, its neighbours, the broker, the writer.

A neighbour is asked whether it is alive (`/health/live`, any answer of the gRPC health service), not whether
it is ready: otherwise one fault would spread to all processes, and two processes that ask each other would
wait for each other. The state of the whole system is the readiness of all doors together; the status page of
the web app asks each of them.

Readiness reports; it does not steer traffic. HAProxy and the readiness probes in k8s/ ask `/health/live`,
because a process without one of its needs still answers other calls, and says itself what is out of reach.

A look is cheap and bounded. Each need is looked at by a thread of its own, at most once in EVERY_S and only
while somebody asks. A caller waits for it at most TIMEOUT_S, and not at all for a look that is late already.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache

from django.conf import settings
from django.db import Error, connection

from connect import neighbours

EVERY_S = 1.0
TIMEOUT_S = 1.0
# An older result is no answer; a newer one is given while the next look runs.
STALE_S = 5.0

OK, AWAY = "ok", "out of reach"

Probe = Callable[[], bool]


class Need:
    """One need, looked at in the background."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._ended.set()
        self._began = float("-inf")
        self._seen = float("-inf")
        self._found = False

    def is_met(self) -> bool:
        with self._lock:
            if self._ended.is_set() and time.monotonic() - self._began >= EVERY_S:
                self._began = time.monotonic()
                self._ended.clear()
                threading.Thread(target=self._look, name="need", daemon=True).start()
        if time.monotonic() - self._seen > STALE_S:
            self._ended.wait(max(0.0, self._began + TIMEOUT_S - time.monotonic()))
        return self._found and time.monotonic() - self._seen <= STALE_S

    def _look(self) -> None:
        found = False
        try:
            found = self._probe()
        finally:
            self._found, self._seen = found, time.monotonic()
            self._ended.set()


def check(apps: Iterable[str]) -> dict[str, str]:
    """Each need of the apps in this process, and whether it is met."""
    wiring = tuple((name, getattr(settings, name)) for name in ("PERSONS_URL", "LOCATIONS_URL", "PINGS_URL"))
    needs = _needs(os.getpid(), tuple(apps), wiring)
    return {name: OK if need.is_met() else AWAY for name, need in needs.items()}


@cache
def _needs(_pid: int, apps: tuple[str, ...], wiring: tuple[tuple[str, str], ...]) -> Mapping[str, Need]:
    """The process's own: a thread does not outlive a fork."""
    found: dict[str, Need] = {}
    for app in apps:
        for name, probe in probes(app, dict(wiring)).items():
            found.setdefault(name, Need(probe))
    return found


def probes(app: str, urls: Mapping[str, str]) -> dict[str, Probe]:
    """How to look at each need of an app that is wired so."""
    found: dict[str, Probe] = {}
    asked = neighbours.neighbour_settings(app)
    if asked is None or any(urls[setting] == "local:" for setting in asked):
        found["database"] = database_answers
    for setting in asked or ():
        if urls[setting] != "local:":
            found.setdefault(*neighbours.liveness_probe(setting, urls[setting]))
    if neighbours.reads_lag(app, urls):
        found.setdefault(*neighbours.liveness_probe("PINGS_URL", urls["PINGS_URL"]))
        found["writer"] = neighbours.writer_is_active
    return found


def database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return False
    finally:
        connection.close()  # the thread ends
    return True
