"""Each attack for some seconds, and what an attacker with tokens of one attendee leaves behind and learns.

`make attack` takes longer, and measures more exactly what the clients of the system notice.
"""

import asyncio
import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from random import Random

import pytest

from tests.attacks.attacks import ATTACKS
from tests.attacks.clients import now
from tests.attacks.filling import MAKE_PEOPLE, make_tokens, prepare
from tests.attacks.target import Holder
from tests.attacks.trial import MEMORY_MB, TEMPORARY_MB, Trial
from tests.gunicorn_server import until
from tests.load import Http
from tests.system import System, a_system, at

PHONES = 50
BEGINNERS = 250
SECONDS = 5
LEAST = 0.99  # of some 330 calls: one that fails is no finding yet, three are
VICTIMS, HALL_M, FORGED_EVERY_M = 20, 60, 7
PER_METRE_NORTH, PER_METRE_EAST = 1 / 111_265, 1 / 67_910  # degrees at 52.5 north


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One of its own: an attack that succeeds breaks no other test."""
    with a_system(tmp_path_factory.mktemp("attacked"), access="tokens") as system:
        yield system


@pytest.fixture(scope="module")
def trial(system: System) -> Trial:
    return Trial(system, prepare(system, phones=PHONES), seconds=SECONDS)


@pytest.mark.parametrize("name", ATTACKS)
def test_clients_go_on_while_it_is_attacked(trial: Trial, name: str) -> None:
    result = trial.under(name)
    assert result.during.success >= LEAST, result.during.faults
    assert result.after.success >= LEAST, result.after.faults
    assert result.end.pids == result.before.pids
    assert result.peak.memory_mb <= result.before.memory_mb + MEMORY_MB
    assert result.peak.temporary_mb <= result.before.temporary_mb + TEMPORARY_MB


def test_phones_that_begin_together_all_become_known(trial: Trial, system: System) -> None:
    """Behind one address, whose calls are bounded until the tokens are known."""
    with at(system.database_url) as connection, connection.cursor() as cursor:
        cursor.execute(MAKE_PEOPLE, [BEGINNERS])
        ids = [row[0] for row in cursor.fetchall()]
    tokens = make_tokens(system, [("ingest", person_id) for person_id in ids])
    phones = [Http(trial.target.api, token, keep=False) for token in tokens]

    def sent() -> int:
        """Sends a ping from each phone at the same time; returns how many were accepted."""
        return asyncio.run(all_at_once())

    async def all_at_once() -> int:
        pings = [
            {"person_id": person_id, "latitude": 52.52, "longitude": 13.4, "creation_time": now()}
            for person_id in ids
        ]
        calls = (
            phone.ask("POST", "/api/locations", json.dumps(ping).encode())
            for phone, ping in zip(phones, pings, strict=True)
        )
        answers = await asyncio.gather(*calls, return_exceptions=True)
        return sum(isinstance(answer, float) for answer in answers)

    until(lambda: sent() == BEGINNERS, at_most_s=60)


def test_the_future_makes_no_partitions(trial: Trial, system: System) -> None:
    """The attack `pings-of-the-future` has sent one ping of each month up to 2099."""
    trial.under("pings-of-the-future")
    system.settle()
    with at(system.database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM locations_location WHERE creation_time > now() + interval '1 day'"
        )
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT count(*) FROM pg_inherits WHERE inhparent = 'locations_location'::regclass")
        assert cursor.fetchone()[0] < 60


def test_forged_pings_tell_nothing_about_others(trial: Trial, system: System, tmp_path: Path) -> None:
    """An attendee claims to have been on every spot of a hall in every minute of the last hour."""
    start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=1)
    victims, attacker = a_hall(system, start, tmp_path / "hall.csv")
    spots = list(product(range(0, HALL_M, FORGED_EVERY_M), repeat=2))
    forged = [
        {
            "person_id": attacker.person_id,
            "latitude": 52.6 + north * PER_METRE_NORTH,
            "longitude": 13.6 + east * PER_METRE_EAST,
            "creation_time": (start + timedelta(minutes=minute, seconds=60 * place / len(spots))).isoformat(),
        }
        for minute in range(60)
        for place, (north, east) in enumerate(spots)
    ]
    ingest = {"Authorization": f"Bearer {attacker.ingest}"}
    for first in range(0, len(forged), 2000):
        answer = system.ask("POST", "/api/locations", headers=ingest, json=forged[first : first + 2000])
        assert answer.status_code in (202, 207, 429), answer.text
    system.settle()

    person = {"Authorization": f"Bearer {attacker.person}"}
    path = f"/api/persons/{attacker.person_id}"
    span = f"start_date={start:%Y-%m-%dT%H:%M:%SZ}&end_date={start + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    assert system.get(f"{path}/connection?{span}", headers=person).status_code == 403
    for more in ("", "&distance=10", "&distance=10&within=60&max_gap=120"):
        met = system.get(f"{path}/encounters?{span}{more}", headers=person)
        assert met.status_code == 200, met.text
        assert met.json() == []
    assert system.get(f"{path}/encounters?{span}&distance=25", headers=person).status_code == 400
    listed = system.get("/api/persons", headers=person).json()
    assert [one["id"] for one in listed] == [attacker.person_id]
    for victim in victims:
        assert system.get(f"/api/persons/{victim}", headers=person).status_code == 404
        assert system.get(f"/api/locations?person_id={victim}", headers=person).status_code == 404


def a_hall(system: System, start: datetime, path: Path) -> tuple[list[int], Holder]:
    """Findable people who walk through a hall for an hour, and an attendee who was elsewhere."""
    chance = Random(1)
    with at(system.database_url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO persons_person (first_name, last_name, company_name, findable) "
            "SELECT 'Vic', 'Tim', 'Hall', true FROM generate_series(0, %s) RETURNING id",
            [VICTIMS],
        )
        *victims, own = (row[0] for row in cursor.fetchall())
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["person_id", "latitude", "longitude", "creation_time"])
        for victim in victims:
            north, east = (chance.uniform(0, HALL_M) for _ in range(2))
            for second in range(0, 3600, 15):
                north, east = (min(HALL_M, max(0, one + chance.uniform(-8, 8))) for one in (north, east))
                moment = (start + timedelta(seconds=second)).isoformat()
                rows.writerow([victim, 52.6 + north * PER_METRE_NORTH, 13.6 + east * PER_METRE_EAST, moment])
    system.run("manage.py", "import_locations", str(path))
    return victims, Holder(own, *make_tokens(system, [("ingest", own), ("person", own)]))
