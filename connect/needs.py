"""Dependency checks behind `/health/ready`: the database, the neighbours, the broker, its consumer groups.

Neighbours are checked for liveness (`/health/live`, any response of the gRPC health service), not for
readiness. Otherwise one failure would spread to all processes, and two processes that check each other would
both wait for the other. The status page of the web app combines the readiness of all processes that serve
clients.

Readiness only reports; it does not steer traffic. HAProxy and the readiness probes in k8s/ use
`/health/live`, because a process that misses one dependency still serves other calls and returns 503 for the
rest.

Each dependency is checked in a thread of its own, at most once per EVERY_S and only on request. A caller
waits at most TIMEOUT_S for a check, and not at all for one that has already timed out. The first check of a
process may take FIRST_TIMEOUT_S, because it also opens the connections.
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
TIMEOUT_S = 3.0  # a check opens a connection, which takes more than a second on a busy machine
FIRST_TIMEOUT_S = 5.0
# A result is returned up to this age while the next check runs; an older one counts as out of reach.
STALE_S = 5.0

OK, AWAY = "ok", "out of reach"

Probe = Callable[[], bool]


class Need:
    """One dependency, checked in the background."""

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
                threading.Thread(target=self._run, name="need", daemon=True).start()
        if time.monotonic() - self._seen > STALE_S:
            patience_s = TIMEOUT_S if self._seen > 0 else FIRST_TIMEOUT_S
            self._ended.wait(max(0.0, self._began + patience_s - time.monotonic()))
        return self._found and time.monotonic() - self._seen <= STALE_S

    def _run(self) -> None:
        found = False
        try:
            found = self._probe()
        finally:
            self._found, self._seen = found, time.monotonic()
            self._ended.set()


def check(apps: Iterable[str]) -> dict[str, str]:
    """The state of each dependency of the apps in this process."""
    urls = tuple((name, getattr(settings, name)) for name in ("PERSONS_URL", "LOCATIONS_URL", "PINGS_URL"))
    needs = needs_of_process(os.getpid(), tuple(apps), urls)
    return {name: OK if need.is_met() else AWAY for name, need in needs.items()}


@cache
def needs_of_process(
    _pid: int, apps: tuple[str, ...], urls: tuple[tuple[str, str], ...]
) -> Mapping[str, Need]:
    """Cached per process id, because threads do not survive a fork."""
    found: dict[str, Need] = {}
    for app in apps:
        for name, probe in probes(app, dict(urls)).items():
            found.setdefault(name, Need(probe))
    return found


def probes(app: str, urls: Mapping[str, str]) -> dict[str, Probe]:
    """The check of each dependency of an app with these neighbour URLs."""
    found: dict[str, Probe] = {}
    settings_used = neighbours.neighbour_settings(app)
    if settings_used is None or any(urls[setting] == "local:" for setting in settings_used):
        found["database"] = database_answers
    for setting in settings_used or ():
        if urls[setting] != "local:":
            found.setdefault(*neighbours.liveness_probe(setting, urls[setting]))
    if watched := neighbours.watched_groups(app, urls):
        found.setdefault(*neighbours.liveness_probe("PINGS_URL", urls["PINGS_URL"]))
        found |= watched
    return found


def database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return False
    finally:
        connection.close()  # of this thread, which ends now
    return True
