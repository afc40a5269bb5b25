"""Fills a system for the attacks: an event, phones with tokens, and an attacker in a crowd."""

import csv
import json
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from local.instance import VENV
from local.tests.terminal import staff_token
from tests.attacks.target import FIRST_SIMULATED, SIMULATED, Holder, Target
from tests.system import API, APP, LOCATIONS, PERSONS, STAGES, System, at

GRPC_PHONES = 5
# The attacker stands still among a crowd for most of a day: the most expensive question a person can ask.
OWN_PINGS, CROWD, CROWD_PINGS = 20_000, 30, 2_000
MORNING = datetime(2026, 5, 11, 6, tzinfo=UTC)

MAKE_PEOPLE = """
INSERT INTO persons_person (first_name, last_name, company_name)
SELECT 'Phone', 'No. ' || n, 'Crowd' FROM generate_series(1, %s) AS n RETURNING id
"""
# One process makes all tokens: a command for each would take a second each.
MAKE_TOKENS = """
import json, sys
from datetime import timedelta
from django.utils import timezone
from access import services
from access.callers import Kind
expiry = timezone.now() + timedelta(days=2)
def make(kind, person_id):
    fields = {"first_person_id": person_id, "last_person_id": person_id, "expiry_date": expiry}
    return services.make(name=f"{kind} {person_id}", kind=Kind(kind), **fields)[1]
print(json.dumps([make(*one) for one in json.loads(sys.stdin.readline())]))
"""


def prepare(system: System, *, phones: int) -> Target:
    """Brings the system to the last stage and fills it."""
    system.go(STAGES[-1])
    system.run("manage.py", "simulate", "--people", str(SIMULATED))
    with at(system.database_url) as connection, connection.cursor() as cursor:
        cursor.execute(MAKE_PEOPLE, [phones + GRPC_PHONES + 1 + CROWD])
        ids = [row[0] for row in cursor.fetchall()]
    own, crowd = ids[phones + GRPC_PHONES], ids[phones + GRPC_PHONES + 1 :]
    import_crowd(system, own, crowd)
    owners = [*ids[: phones + GRPC_PHONES], FIRST_SIMULATED, own]
    tokens = make_tokens(system, [(kind, one) for one in owners for kind in ("ingest", "person")])
    pairs = zip(tokens[::2], tokens[1::2], strict=True)
    holders = [Holder(owner, *pair) for owner, pair in zip(owners, pairs, strict=True)]
    assert system.token is not None
    return Target(
        app=system.port(APP),
        api=system.port(API),
        persons=system.port(PERSONS),
        locations=system.port(LOCATIONS),
        staff=system.token,
        greedy_staff=staff_token(system.environ),
        phones=holders[:phones],
        grpc_phones=holders[phones : phones + GRPC_PHONES],
        asker=holders[-2],
        attacker=holders[-1],
    )


def make_tokens(system: System, wanted: list[tuple[str, int]]) -> list[str]:
    done = subprocess.run(
        [VENV / "bin" / "python", "manage.py", "shell", "-v0", "-c", MAKE_TOKENS],
        cwd=system.instance.checkout,
        env=system.environ,
        input=json.dumps(wanted) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


def import_crowd(system: System, own: int, crowd: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "crowd.csv")
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["person_id", "latitude", "longitude", "creation_time"])
            for person_id, count in [(own, OWN_PINGS), *((one, CROWD_PINGS) for one in crowd)]:
                step = timedelta(seconds=2 * OWN_PINGS / count)
                for number in range(count):
                    rows.writerow([person_id, 52.5, 13.3, (MORNING + number * step).isoformat()])
        system.run("manage.py", "import_locations", str(path))
