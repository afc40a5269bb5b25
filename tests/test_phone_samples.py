"""Real messages of phone apps, in shared/data/messages, at the last stage without tokens."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from tests.gunicorn_server import until
from tests.system import STAGES, System

MESSAGES = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "messages"
pytestmark = pytest.mark.skipif(not MESSAGES.is_dir(), reason=f"There is no {MESSAGES}.")
FINN = 1000001


@pytest.fixture
def event(system: System) -> Iterator[System]:
    system.go(STAGES[-1])
    system.empty()
    for person_id in (FINN, 902064, 353861053849681, 123456, 123456789012345):
        system.sql(
            "INSERT INTO persons_person (id, first_name, last_name, company_name) "
            f"VALUES ({person_id}, 'Finn', 'Brandt', 'Amber')"
        )
    yield system
    system.empty()  # the simulated event of other tests has people with these ids


def test_owntracks(event: System) -> None:
    user = base64.b64encode(f"{FINN}:".encode()).decode()
    lines = (MESSAGES / "owntracks.jsonl").read_text().splitlines()
    for line in lines:
        answer = requests.post(
            event.url("/api/phones/owntracks"), line, headers={"Authorization": f"Basic {user}"}, timeout=30
        )
        assert (answer.status_code, answer.json()) == (200, [])
    points = {each["tst"]: each for each in reversed([json.loads(line) for line in lines])}

    def stored() -> dict[int, tuple[str, str, float | None]]:
        return {
            int(datetime.fromisoformat(each["creation_time"]).timestamp()): (
                each["latitude"],
                each["longitude"],
                each["accuracy"],
            )
            for each in event.get(f"/api/locations?person_id={FINN}").json()
        }

    until(lambda: len(stored()) == len(points))
    assert stored() == {
        time: (f"{each['lat']:.7f}", f"{each['lon']:.7f}", each.get("acc")) for time, each in points.items()
    }


def test_osmand(event: System) -> None:
    began = datetime.now(UTC)
    for line in (MESSAGES / "traccar_osmand_queries.txt").read_text().splitlines():
        answer = requests.get(event.url(f"/api/phones/osmand{line[1:]}"), timeout=30)
        assert answer.status_code == (200 if "id=" in line else 400), line

    def stored() -> list[tuple[int, str, str]]:
        found = event.get("/api/locations?limit=100").json()
        return [(each["person_id"], each["creation_time"], each["latitude"]) for each in found]

    until(lambda: len(stored()) == 6)
    assert stored()[:5] == [
        (123456, "2013-08-22T13:14:27Z", "60.0000000"),
        (353861053849681, "2014-06-04T09:10:11Z", "49.6068800"),
        (902064, "2015-09-12T14:38:06.579000Z", "42.0628800"),
        (902064, "2016-01-27T18:55:47Z", "42.0628800"),
        (123456789012345, "2017-09-07T05:56:50Z", "40.7232949"),
    ]
    assert datetime.fromisoformat(stored()[5][1]) >= began.replace(microsecond=0)
