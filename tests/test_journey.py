"""What clients do with Connect, the same at every stage, on real processes, at the contract's addresses."""

import io
import json
import re
import socket
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import grpc
import pytest
import requests

from grpc_server import locations_pb2 as pb
from tests.gunicorn_server import until
from tests.system import API, APP, LOCATIONS, PERSONS, System

DAY = "start_date=2026-05-11&end_date=2026-05-11"
BOOTH = {"latitude": "52.5200000", "longitude": "13.4000000"}
BESIDE = {"latitude": "52.5200090", "longitude": "13.4000000"}  # a metre to the north


def has(stage: str, number: int) -> bool:
    return int(stage.partition("-")[0]) >= number


def make_person(system: System, first_name: str) -> int:
    names = {"first_name": first_name, "last_name": "Lee", "company_name": "Acme"}
    made = system.ask("POST", "/api/persons", json=names)
    assert made.status_code == 201, made.text
    assert made.json() == {"id": made.json()["id"], **names}
    assert made.headers["Location"] == f"/api/persons/{made.json()['id']}"
    return int(made.json()["id"])


def ping(person_id: int, time: str, place: dict[str, str]) -> dict[str, object]:
    return {"person_id": person_id, **place, "creation_time": f"2026-05-11T{time}Z"}


def microseconds(time: str) -> int:
    return int(datetime.fromisoformat(f"2026-05-11T{time}Z").timestamp()) * 1_000_000


def until_visible(system: System, location_id: str) -> None:
    until(lambda: system.get(f"/api/locations/{location_id}").status_code == 200)


def send(system: System, sent: dict[str, object]) -> None:
    answer = system.ask("POST", "/api/locations", json=sent)
    assert answer.status_code == 202, answer.text
    assert answer.json() == {"id": answer.json()["id"], **sent, "accuracy": None}
    until(lambda: system.get(answer.headers["Location"]).ok)
    assert system.get(answer.headers["Location"]).json() == answer.json()


def test_two_people_meet_and_one_leaves(fresh: System, stage: str) -> None:
    ann, bo = make_person(fresh, "Ann"), make_person(fresh, "Bo")
    assert [one["id"] for one in fresh.get("/api/persons").json()] == [ann, bo]

    send(fresh, ping(ann, "10:00:00", BOOTH))
    sent = [ping(bo, "10:00:20", BESIDE), ping(bo, "10:01:00", BESIDE), ping(ann, "10:01:05", BOOTH)]
    assert fresh.ask("POST", "/api/locations", json=sent).json() == {"accepted": 3}
    for one, time in ((bo, "10:01:00"), (ann, "10:01:05")):
        until_visible(fresh, f"{one}-{microseconds(time)}")
    some = fresh.ask("POST", "/api/locations", json=[sent[0], {**sent[1], "latitude": "91"}])
    assert (some.status_code, some.json()["accepted"]) == (207, 1)

    near = fresh.get(f"/api/persons/{ann}/connection?{DAY}&within=60").json()
    assert [(one["person"]["first_name"], one["location"]["creation_time"]) for one in near] == [
        ("Bo", "2026-05-11T10:00:20Z"),
        ("Bo", "2026-05-11T10:01:00Z"),
    ]
    met = fresh.get(f"/api/persons/{ann}/encounters?{DAY}").json()
    assert [(one["person"]["id"], one["start"], one["end"], one["pings"]) for one in met] == [
        (bo, "2026-05-11T10:00:20Z", "2026-05-11T10:01:00Z", 2)
    ]
    assert met[0]["min_distance_m"] == pytest.approx(1, abs=0.01)

    changed = fresh.ask("PATCH", f"/api/persons/{bo}", json={"first_name": "Bob"}).json()
    assert fresh.get(f"/api/persons/{bo}").json() == changed
    assert fresh.get(f"/api/persons/{ann}/encounters?{DAY}").json()[0]["person"] == changed
    full = {**changed, "company_name": "Brio"}
    assert fresh.ask("PUT", f"/api/persons/{bo}", json=full).json() == full

    gone = fresh.get(f"/api/locations?person_id={bo}").json()
    assert len(gone) == 2
    assert fresh.ask("DELETE", f"/api/persons/{bo}").status_code == 204
    assert fresh.get(f"/api/persons/{bo}").status_code == 404
    assert [fresh.get(f"/api/locations/{one['id']}").status_code for one in gone] == [404, 404]
    assert fresh.get(f"/api/locations?person_id={bo}").json() == []
    assert fresh.get(f"/api/persons/{ann}/connection?{DAY}").json() == []
    assert fresh.get(f"/api/persons/{bo}/encounters?{DAY}").status_code == 404
    assert make_person(fresh, "Cy") == bo + 1


def test_who_does_not_want_to_be_found_is_not_and_takes_everything_along(fresh: System, stage: str) -> None:
    ann, bo = make_person(fresh, "Ann"), make_person(fresh, "Bo")
    for who, time, place in ((ann, "10:00:00", BOOTH), (bo, "10:00:20", BESIDE)):
        send(fresh, ping(who, time, place))
    hidden = fresh.ask("PUT", f"/api/persons/{bo}/consent", json={"findable": False})
    assert (hidden.status_code, hidden.json()) == (200, {"findable": False})

    assert fresh.get(f"/api/persons/{ann}/connection?{DAY}").json() == []
    assert fresh.get(f"/api/persons/{ann}/encounters?{DAY}").json() == []
    assert [one["id"] for one in fresh.get("/api/persons").json()] == [ann]
    assert [one["person_id"] for one in fresh.get("/api/locations?limit=10").json()] == [ann]
    met = fresh.get(f"/api/persons/{bo}/encounters?{DAY}").json()
    assert [one["person"]["id"] for one in met] == [ann]
    send(fresh, ping(bo, "10:00:40", BESIDE))

    exported = fresh.get(f"/api/persons/{bo}/export")
    with zipfile.ZipFile(io.BytesIO(exported.content)) as archive:
        assert json.loads(archive.read("person.json"))["findable"] is False
        assert len(archive.read("locations.csv").splitlines()) == 1 + 2


def test_pings_come_in_by_grpc_where_it_is(fresh: System, stage: str) -> None:
    ann = make_person(fresh, "Ann")
    sent = pb.Location(person_id=ann, latitude=52.52, longitude=13.4)
    sent.creation_time.FromDatetime(datetime(2026, 5, 11, 10, tzinfo=UTC))
    with fresh.grpc() as locations:
        if not has(stage, 5):
            with pytest.raises(grpc.RpcError):
                locations.RecordLocation(sent, timeout=10)
            return
        recorded = locations.RecordLocation(sent, timeout=10)
        batch = pb.RecordLocationsRequest(locations=[sent, pb.Location(person_id=ann + 1)])
        answers = list(locations.RecordLocations(iter([batch, batch]), timeout=10))
        until_visible(fresh, recorded.id)
        assert locations.GetLocation(pb.GetLocationRequest(id=recorded.id), timeout=10) == recorded
    assert [(one.accepted, [fault.index for fault in one.refused]) for one in answers] == [(1, [1])] * 2
    assert fresh.get(f"/api/locations?person_id={ann}").json() == [
        {"id": recorded.id, **ping(ann, "10:00:00", BOOTH), "accuracy": None}
    ]


def test_encounters_of_everybody_are_found_from_stage_7_on(fresh: System, stage: str) -> None:
    ann, bo = make_person(fresh, "Ann"), make_person(fresh, "Bo")
    sent = [
        ping(who, time, place)
        for time in ("10:00:00", "10:00:30")
        for who, place in ((ann, BOOTH), (bo, BESIDE))
    ]
    assert fresh.ask("POST", "/api/locations", json=sent).json() == {"accepted": 4}
    stored = "SELECT person_a_id, person_b_id, pings_a, pings_b FROM encounters_encounter"
    if has(stage, 7):
        until(lambda: fresh.rows(stored) == [(ann, bo, 2, 2)], at_most_s=60)
        [met] = fresh.get(f"/api/encounters?{DAY}").json()
        assert [one["id"] for one in met["persons"]] == [ann, bo]
        assert fresh.get("/api/webhooks").json() == []
    else:
        fresh.settle()
        assert fresh.rows(stored) == []
        for path in ("encounters", "webhooks"):
            assert fresh.get(f"/api/{path}?{DAY}").status_code == 404


def test_events_come_as_they_happen_at_stage_7(fresh: System, stage: str) -> None:
    ann = make_person(fresh, "Ann")
    with requests.get(fresh.url("/api/live"), stream=True, timeout=60) as answer:
        if not has(stage, 7):
            assert answer.status_code == 404
            return
        lines = answer.iter_lines(chunk_size=1)
        assert next(lines) == b"retry: 2000"
        now = datetime.now(UTC).isoformat()
        fresh.ask("POST", "/api/locations", json={"person_id": ann, **BOOTH, "creation_time": now})
        data = next(json.loads(line[6:]) for line in lines if line.startswith(b"data: ["))
        assert [each["person_id"] for each in data] == [ann]
        # The events go on for longer than HAProxy waits for a client that is silent.
        beats = (line for line in lines if line == b"event: heartbeat")
        assert [next(beats) for _ in range(3)]


def test_people_are_at_an_address_of_their_own_from_stage_1_on(fresh: System, stage: str) -> None:
    ann = make_person(fresh, "Ann")
    if has(stage, 1):
        there = fresh.get(f"/api/persons/{ann}", port=PERSONS)
        assert there.json() == fresh.get(f"/api/persons/{ann}").json()
        assert fresh.ask("DELETE", f"/api/persons/{ann}", port=PERSONS).status_code == 204
        assert fresh.get(f"/api/persons/{ann}").status_code == 404
    else:
        with pytest.raises(requests.ConnectionError):
            fresh.get("/health", port=PERSONS)


def test_locations_speak_rest_at_their_address_at_stages_3_and_4(fresh: System, stage: str) -> None:
    ann = make_person(fresh, "Ann")
    if has(stage, 3) and not has(stage, 5):
        sent = ping(ann, "10:00:00", BOOTH)
        assert fresh.ask("POST", "/api/locations", port=LOCATIONS, json=sent).status_code == 202
        there = fresh.get(f"/api/locations?person_id={ann}", port=LOCATIONS).json()
        assert there == fresh.get(f"/api/locations?person_id={ann}").json() != []
    else:
        with pytest.raises(requests.RequestException):
            fresh.get("/api/locations?limit=1", port=LOCATIONS)


def test_a_connection_that_says_nothing_is_closed(system: System, stage: str) -> None:
    system.go(stage)
    doors = [APP, API, *([PERSONS] if has(stage, 1) else ()), *([LOCATIONS] if has(stage, 3) else ())]

    def is_closed(door: int) -> bool:
        with socket.create_connection(("127.0.0.1", system.port(door)), timeout=20) as silent:
            silent.recv(1000)  # an answer or none
            return silent.recv(1) == b""

    with ThreadPoolExecutor(len(doors)) as threads:
        assert all(threads.map(is_closed, doors))


def test_there_are_pages_to_look_at(system: System, stage: str) -> None:
    login = system.get("/admin/", allow_redirects=True)
    assert "/admin/login/" in login.url
    assert 'name="password"' in login.text
    pages = {30001: [login.text], APP: [system.get("/", port=APP).text]}
    assert "<html" in pages[APP][0]
    for path in ("/api/docs", "/api/redoc"):
        page = system.get(path)
        assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        pages[30001].append(page.text)
    for port, texts in pages.items():
        for text in texts:
            files = re.findall(r'(?:href|src)="(/static/[^"]+)"', text)
            assert files
            assert [system.get(file, port=port).status_code for file in files] == [200] * len(files)
    schema = (system.instance.checkout / "docs" / "openapi.yaml").read_text()
    assert {system.get("/api/schema", port=port).text for port in pages} == {schema}
    assert system.get("/health").json() == "healthy"
    assert system.get("/health/ready").json()["status"] == "ready"


@pytest.mark.parametrize(
    "path", ["/api/persons", "/api/persons/1", "/api/locations", "/api/persons/1/connection"]
)
def test_a_path_with_a_trailing_slash_is_unknown(system: System, stage: str, path: str) -> None:
    answer = system.get(f"{path}/?limit=1&{DAY}")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})


@pytest.mark.parametrize(
    "path",
    [f"locations/{verb}?question={{}}" for verb in ("get", "list_between", "connections", "encounters", "")]
    + ["persons?id=1", "%70ersons?id=1"],
)
def test_what_processes_ask_each_other_is_reachable_by_no_route(
    system: System, stage: str, path: str
) -> None:
    answer = system.get(f"/internal/{path}")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})
