"""What it costs a request that its caller shows a token: the same to open and to guarded processes.

`python -m bench.access [ROUNDS]`. Prints a table of medians and ratios; asserts nothing. Every request
is made of each process in turn, one at a time, on a kept connection.
"""

import io
import itertools
import os
import platform
import secrets
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import django
import requests

from local.postgis import throwaway_cluster

FINN = 1_000_001
HOUR = "start_date=2026-05-11T10:00:00Z&end_date=2026-05-11T11:00:00Z"
START = datetime.now(UTC) - timedelta(hours=1)  # devices send nothing old
PEOPLE = 200  # each may send 3,600 pings at once
BULK = 1000
WARM = 20  # requests that are not counted
ALL = "persons,internal,locations,connections"

_numbers = itertools.count()


def ping() -> dict[str, Any]:
    """A new one each time."""
    number = next(_numbers)
    time_of = START + timedelta(milliseconds=number)
    return {
        "person_id": FINN + number % PEOPLE,
        "latitude": 52.5,
        "longitude": 13.4,
        "creation_time": time_of.isoformat(),
    }


CALLS: dict[str, tuple[str, str, Callable[[], Any]]] = {
    "a person": ("staff", f"GET /api/persons/{FINN}", lambda: None),
    "an hour's encounters": ("staff", f"GET /api/persons/{FINN}/encounters?{HOUR}", lambda: None),
    "a ping": ("ingest", "POST /api/locations", ping),
    f"{BULK:,} pings": ("ingest", "POST /api/locations", lambda: [ping() for _ in range(BULK)]),
}


def manage(name: str, *arguments: str, **options: Any) -> str:
    from django.core.management import call_command  # noqa: PLC0415 - the settings come first

    said = io.StringIO()
    call_command(name, *arguments, stdout=said, **options)
    return said.getvalue().strip()


def tokens() -> dict[str, str]:
    os.environ["DJANGO_SUPERUSER_PASSWORD"] = secrets.token_hex(8)
    manage("createsuperuser", "--noinput", "--username", "bench", "--email", "bench@localhost")
    return {
        "staff": manage("tokens", "make", "staff", "--user", "bench"),
        "ingest": manage("tokens", "make", "ingest", "--people", f"{FINN}-{FINN + PEOPLE - 1}"),
    }


def timed(session: requests.Session, url: str, call: str, token: str | None) -> float:
    _kind, asked, body = CALLS[call]
    verb, path = asked.split()
    sent = body()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    begun = time.perf_counter()
    answer = session.request(verb, url + path, json=sent, headers=headers, timeout=60)
    took = time.perf_counter() - begun
    answer.raise_for_status()
    return took


def main(rounds: int) -> None:
    from tests.gunicorn_server import Server  # noqa: PLC0415 - the settings come first

    manage("migrate", verbosity=0)
    manage("simulate", verbosity=0, stderr=io.StringIO())
    shown = tokens()
    with ExitStack() as stack:
        one = {
            access: stack.enter_context(
                Server(ACCESS=access, SERVED_APPS=ALL, DATABASE_URL=os.environ["DATABASE_URL"])
            )
            for access in ("open", "tokens")
        }
        apart = {
            access: stack.enter_context(
                Server(
                    ACCESS=access,
                    SERVED_APPS="locations,connections",
                    PERSONS_URL=one[access].url(""),
                    DATABASE_URL=os.environ["DATABASE_URL"],
                )
            )
            for access in ("open", "tokens")
        }
        session = requests.Session()
        print(
            f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}. Medians of "
            f"{rounds} requests each, in turn.\n\n"
            "| request | tokens are | open | with a token | ratio |\n| --- | --- | --- | --- | --- |"
        )
        for (call, (kind, _, _)), (where, servers) in itertools.product(
            CALLS.items(), (("where persons are", one), ("asked of persons over HTTP", apart))
        ):
            if call == "a person" and servers is apart:
                continue
            took: dict[str, list[float]] = {"open": [], "tokens": []}
            for _ in range(WARM + rounds):
                for access, server in servers.items():
                    token = shown[kind] if access == "tokens" else None
                    took[access].append(timed(session, server.url(""), call, token))
            open_ms, tokens_ms = (statistics.median(each[WARM:]) * 1e3 for each in took.values())
            print(f"| {call} | {where} | {open_ms:.1f} ms | {tokens_ms:.1f} ms | {tokens_ms / open_ms:.2f} |")


if __name__ == "__main__":
    with throwaway_cluster() as _cluster:
        os.environ |= {
            "DATABASE_URL": _cluster.url,
            "SECRET_KEY": "for-the-bench-only",
            "SERVICE_TOKEN": f"{secrets.token_hex(4)}.{secrets.token_hex(32)}",
            "LOG_LEVEL": "WARNING",
            "DJANGO_SETTINGS_MODULE": "connect.settings",
        }
        django.setup()
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
