"""REST, gRPC and file import with the topic behind them: pings are accepted first and stored by a writer."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from connect.errors import NeighbourUnavailable
from consumers import producer
from consumers.tests.conftest import at
from grpc_server import client as grpc_client
from grpc_server.probe import is_serving
from grpc_server.tests.process import LocationProcess
from locations import storage
from tests.gunicorn_server import Server, database_url

pytestmark = pytest.mark.usefixtures("people")

PING = {"person_id": 1, "latitude": "1.0", "longitude": "2.0", "creation_time": "2026-05-11T12:00:00Z"}
ID = "1-1778500800000000"


def test_rest_accepts_a_ping_that_is_visible_once_written(kafka: str, api: APIClient, write_all: Callable):
    answer = api.post("/api/locations", PING)

    assert answer.status_code == 202
    assert (answer.json()["id"], answer["Location"]) == (ID, f"/api/locations/{ID}")
    assert api.get(f"/api/locations/{ID}").status_code == 404

    write_all()
    assert api.get(f"/api/locations/{ID}").json() == answer.json()


def test_rest_reports_bad_pings_and_unknown_persons_per_item(kafka: str, api: APIClient, write_all: Callable):
    bad, unknown = PING | {"latitude": "91"}, PING | {"person_id": 10}

    assert api.post("/api/locations", unknown).status_code == 404
    answer = api.post("/api/locations", [PING, bad, unknown, PING])

    assert answer.status_code == 207
    assert answer.json()["accepted"] == 2
    assert [each["status"] for each in answer.json()["results"]] == [202, 400, 404, 202]
    write_all()
    assert list(storage.list_between(limit=9)) == [at(1, 0)]


def test_rest_answers_503_while_the_broker_is_unavailable(settings: Any, api: APIClient, free_port: int):
    settings.PINGS_URL, settings.KAFKA_TIMEOUT_S = f"kafka://127.0.0.1:{free_port}", 0.5

    answer = api.post("/api/locations", PING)

    assert answer.status_code == 503
    assert answer["Retry-After"]


def test_a_web_process_accepts_pings_while_its_database_is_unavailable(
    kafka: str, settings: Any, server: Server
):
    """It caches the known ids, so it also works without the persons process, except for new ids."""
    wiring = {"PINGS_URL": kafka, "KAFKA_TOPIC": settings.KAFKA_TOPIC, "WEB_WORKERS": "1"}
    with Server(SERVED_APPS="persons,internal", WEB_WORKERS="1") as persons:
        nowhere = {"DATABASE_URL": "", "LOCATIONS_URL": persons.url(""), "PERSONS_URL": persons.url("")}
        door = Server(SERVED_APPS="locations", **wiring, **nowhere)
        with door:
            assert door.post("/api/locations", json=PING).status_code == 202
            persons.process.terminate()
            persons.process.wait(20)
            later = PING | {"creation_time": "2026-05-11T12:00:01Z"}
            assert door.post("/api/locations", json=later).status_code == 202
            answer = door.post("/api/locations", json=PING | {"person_id": 2})
            assert answer.status_code == 503
            assert answer.headers["Retry-After"]


def test_grpc_accepts_batches_without_a_stored_count(kafka: str, settings: Any, write_all: Callable):
    with LocationProcess(PINGS_URL=kafka, KAFKA_TOPIC=settings.KAFKA_TOPIC) as process:
        settings.PINGS_URL = process.url
        receipt = grpc_client.submit([at(1, 0), at(10, 0), at(2, 0)])
        settings.PINGS_URL = kafka
        assert receipt.stored is None
        assert [each.index for each in receipt.refused] == [1]
        assert process.stop() == 0
    write_all()
    assert list(storage.list_between(limit=9)) == [at(1, 0), at(2, 0)]


def test_a_location_server_accepts_pings_without_its_database(kafka: str, settings: Any, free_port: int):
    """The server is healthy, because its pings need only the broker."""
    away = urlsplit(database_url())._replace(netloc=f"connect:x@127.0.0.1:{free_port}").geturl()
    with Server(SERVED_APPS="persons,internal", WEB_WORKERS="1") as persons:
        wiring = {"PINGS_URL": kafka, "KAFKA_TOPIC": settings.KAFKA_TOPIC, "PERSONS_URL": persons.url("")}
        with LocationProcess(DATABASE_URL=away, **wiring) as process:
            assert is_serving(int(process.address.rpartition(":")[2]))
            settings.PINGS_URL = settings.LOCATIONS_URL = process.url
            assert grpc_client.submit([at(1, 0)]).stored is None
            with pytest.raises(NeighbourUnavailable):
                grpc_client.get(1, at(1, 0).creation_time)


def test_import_locations_sends_a_file_to_the_topic(kafka: str, tmp_path: Path, write_all: Callable):
    file = tmp_path / "pings.csv"
    lines = [f"{1 + n % 9},1,2,2026-05-11T12:{n // 60:02}:{n % 60:02}Z" for n in range(1000)]
    file.write_text("\n".join(["person_id,latitude,longitude,creation_time", *lines]))
    output = StringIO()

    call_command("import_locations", file, to="kafka", stdout=output)

    assert output.getvalue() == f"{file}: 1,000 read, 1,000 accepted, 0 refused\n"
    write_all()
    assert len(list(storage.list_between(limit=2000))) == 1000


def test_import_locations_fails_while_the_broker_is_unavailable(
    settings: Any, free_port: int, tmp_path: Path
):
    settings.PINGS_URL, settings.KAFKA_TIMEOUT_S = f"kafka://127.0.0.1:{free_port}", 0.5
    file = tmp_path / "pings.csv"
    file.write_text("person_id,latitude,longitude,creation_time\n1,1,2,2026-05-11T12:00:00Z\n")
    producer.person_cache.existing([1])

    with pytest.raises(CommandError, match="unavailable") as raised:
        call_command("import_locations", file, to="kafka")
    assert raised.value.returncode == 2
