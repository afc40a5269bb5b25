"""`GET /api/live` of a real process with real brokers: what staff and people see."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from access import services
from access.callers import Kind
from connect.wire_format import format_time
from consumers import topic
from consumers.tests.conftest import new_sender
from consumers.tests.process import WriterProcess
from encounters.tests.live import Client, Event, live_server, row, teller
from encounters.tests.test_stream import FinderProcess
from locations import storage
from locations.pings import Ping
from locations.tests.test_proximity import PLACES, at
from persons.models import Person
from tests.gunicorn_server import Server, until

HIDDEN = 7
HERE = at(PLACES["Berlin"], 0, 0)
TWO_METRES_AWAY = at(PLACES["Berlin"], 2, 0)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def send(kafka: str, transactional_db: None) -> Callable[..., None]:
    """People and both topics; returns a function that sends pings."""
    topic.ensure_encounters(3)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO persons_person (id, first_name, last_name, company_name, findable) "
            "SELECT id, 'A', 'B', 'C', id <> %s FROM generate_series(1, 20) AS id",
            [HIDDEN],
        )
    return new_sender()


def now() -> datetime:
    return datetime.now(UTC)


def person(person_id: int) -> dict[str, Any]:
    return {"id": person_id, "first_name": "A", "last_name": "B", "company_name": "C"}


def token(kind: Kind, **fields: Any) -> dict[str, str]:
    """The headers of a caller with a new token."""
    key = services.make(name="of a test", kind=kind, **fields)[1]
    return {"Authorization": f"Bearer {key}"}


def staff_token() -> dict[str, str]:
    return token(Kind.STAFF, user=get_user_model().objects.create_superuser("sam"))


def person_token(person_id: int) -> dict[str, str]:
    return token(Kind.PERSON, first_person_id=person_id, last_person_id=person_id)


# --- staff ---------------------------------------------------------------------------------------


def test_staff_see_positions_and_an_encounter_that_the_finder_finds(send):
    with live_server() as server, WriterProcess(), FinderProcess() as finder, Client(server) as client:
        assert client.answer.headers["Content-Type"] == "text/event-stream"
        assert client.answer.headers["Cache-Control"] == "no-store"
        assert client.answer.headers["X-Accel-Buffering"] == "no"
        finder.until_output("Finding.", at_most_s=60)
        moment = now()
        pings = [Ping(1, moment, *HERE), Ping(2, moment, *TWO_METRES_AWAY), Ping(HIDDEN, moment, *HERE)]
        send(*pings)
        [started] = client.until_encounters(1)
        client.until_people(1, 2)
        assert started["change"] == "started"
        encounter = started["encounter"]
        assert encounter["persons"] == [person(1), person(2)]
        assert {encounter["start"], encounter["end"]} == {format_time(moment)}
        assert encounter["state"] == "ongoing"
        assert [*encounter] == [
            *("persons", "start", "end", "duration_s", "pings", "min_distance_m"),
            *("latitude", "longitude", "state"),
        ]
        assert [each for each in client.positions if each["person_id"] == 1] == [pings[0].to_wire()]
        until(lambda: client.of("heartbeat"))
        assert HIDDEN not in {each["person_id"] for each in client.positions}


def test_people_who_are_not_findable_are_left_out_within_seconds(send):
    tell = teller()
    with live_server() as server, Client(server) as client:
        start = now()
        tell(row(1, HIDDEN, start, 60))
        tell(row(1, 2, start, 61))
        [first] = client.until_encounters(1)
        assert first["encounter"]["persons"] == [person(1), person(2)]
        assert first["change"] == "ended"
        Person.objects.filter(id=2).update(findable=False)
        moment = now()
        tell(row(3, 4, moment, 62))
        send(Ping(2, moment, *HERE), Ping(3, moment, *HERE))

        def seen() -> set[int]:
            """Of the last minutes: what was sent before is decided again for a reader who resumes."""
            with Client(server, headers={"Last-Event-ID": "1"}) as late:
                late.until_people(3)
                until(lambda: late.of("heartbeat"))
                met = {each["id"] for one in late.encounters for each in one["encounter"]["persons"]}
                return met | {each["person_id"] for each in late.positions}

        until(lambda: seen() == {3, 4})


def test_filters(send):
    tell = teller()
    box = "?bbox=13.4,52.5,13.5,52.6"
    with (
        live_server() as server,
        Client(server, box) as in_box,
        Client(server, "?person_id=2") as about_two,
    ):
        start = now()
        tell(row(1, 2, start, 60, latitude=50.0))
        tell(row(3, 4, start, 60))
        tell(row(2, 3, start, 60))
        send(Ping(1, start, 52.55, 13.45), Ping(2, start, 50.0, 13.45), Ping(3, start, 52.55, 13.6))
        in_box.until_encounters(2)
        about_two.until_encounters(2)
        in_box.until_people(1)
        about_two.until_people(2)

        def pairs(client: Client) -> list[tuple[int, ...]]:
            return sorted(
                tuple(each["id"] for each in one["encounter"]["persons"]) for one in client.encounters
            )

        assert pairs(in_box) == [(2, 3), (3, 4)]
        assert pairs(about_two) == [(1, 2), (2, 3)]
        assert {each["person_id"] for each in in_box.positions} == {1}
        assert {each["person_id"] for each in about_two.positions} == {2}


def test_a_reader_resumes_at_this_process_and_at_another(send):
    tell = teller()

    def encounters(client: Client) -> list[Event]:
        return client.of("encounter")

    start = now() - timedelta(minutes=2)
    with live_server() as server:
        with Client(server) as client:
            tell(row(1, 2, start, 60))
            client.until_encounters(1)
            last_id = client.last_id
        for number in range(3, 6):
            tell(row(1, number, start, 60))
        with Client(server, headers={"Last-Event-ID": last_id}) as client:
            client.until_encounters(3)
            missed = encounters(client)
            assert sorted(each.data["encounter"]["persons"][1]["id"] for each in missed) == [3, 4, 5]
        with Client(server) as fresh:
            tell(row(2, 3, start, 60))
            [only] = fresh.until_encounters(1)
            assert [each["id"] for each in only["encounter"]["persons"]] == [2, 3]
    # Another process knows the ids. It may send some events again.
    with live_server() as other, Client(other, headers={"Last-Event-ID": missed[1].id}) as client:
        until(lambda: missed[2] in encounters(client))
        assert encounters(client).count(missed[2]) == 1


# --- people --------------------------------------------------------------------------------------


def side_by_side(start: datetime, minutes: int, *person_ids: int) -> list[Ping]:
    return [
        Ping(person_id, start + timedelta(seconds=second), *at(PLACES["Berlin"], index, 0))
        for second in range(0, minutes * 60, 15)
        for index, person_id in enumerate(person_ids)
    ]


def test_a_person_sees_own_events_as_the_question_answers_them(send):
    tell = teller()
    start = now() - timedelta(minutes=4)
    storage.record(side_by_side(start, 3, 1, 2, 3))
    with live_server(ACCESS="tokens") as server:
        own = person_token(1)
        with Client(server, headers=own) as client, Client(server, headers=staff_token()) as staff:
            moment = now()
            send(Ping(1, moment, *HERE), Ping(2, moment, *HERE))
            tell(row(2, 3, start, 165))
            tell(row(1, 2, start, 165))
            tell(row(1, 3, start, 165, ongoing=True))
            client.until_encounters(2)
            client.until_people(1)
            staff.until_encounters(3)
            staff.until_people(1, 2)
            day = f"?start_date={format_time(start)}&end_date={format_time(now())}"
            answer = server.get(f"/api/persons/1/encounters{day}", headers=own).json()
            assert len(answer) == 2
            told = sorted(client.encounters, key=lambda each: each["encounter"]["person"]["id"])
            assert [each["encounter"] for each in told] == answer
            assert [each["change"] for each in told] == ["ended", "started"]
            assert {each["person_id"] for each in client.positions} == {1}
            assert {each.id for each in client.of("encounter")} <= {each.id for each in staff.of("encounter")}


def test_a_forged_ping_tells_a_person_nothing(send):
    """Person 1 claims to be beside 2, far from everything that they sent before and after."""
    tell = teller()
    start = now() - timedelta(minutes=4)
    far = at(PLACES["Berlin"], 5000, 0)
    forged = [
        Ping(1, each.creation_time, *(HERE if index in (5, 9) else far))
        for index, each in enumerate(side_by_side(start, 3, 1))
    ]
    storage.record([*forged, *side_by_side(start, 3, 2), *side_by_side(start, 3, 3, 4)])
    with (
        live_server(ACCESS="tokens") as server,
        Client(server, headers=person_token(1)) as client,
        Client(server, headers=person_token(3)) as honest,
        Client(server, headers=staff_token()) as staff,
    ):
        tell(row(1, 2, start + timedelta(seconds=75), 120, ongoing=True))
        tell(row(1, 2, start + timedelta(seconds=75), 120))
        staff.until_encounters(2)  # staff see what is stored
        tell(row(3, 4, start, 165))
        honest.until_encounters(1)
        # By then the questions of person 1 were asked, too: the next one follows after ASK_EVERY_S.
        beats = len(client.of("heartbeat"))
        until(lambda: len(client.of("heartbeat")) >= beats + 8)
        assert client.encounters == []


# --- refusals ------------------------------------------------------------------------------------


def refusal(server: Server, query: str = "", **headers: str) -> tuple[int, Any]:
    answer = server.get(f"/api/live{query}", headers=headers)
    return answer.status_code, answer.json()


def test_refusals(send):
    with live_server(ACCESS="tokens") as server:
        staff = staff_token()
        assert refusal(server)[0] == 401
        assert refusal(server, Authorization="Bearer abcdefgh." + "x" * 32)[0] == 401
        ingest = token(Kind.INGEST, first_person_id=1, last_person_id=1)
        assert refusal(server, **ingest)[0] == 403
        assert refusal(server, "?bbox=1,2", **staff)[1]["bbox"]
        assert refusal(server, "?colour=red", **staff) == (400, {"colour": ["Unknown parameter."]})
        assert refusal(server, **staff, **{"Last-Event-ID": "x"})[1]["Last-Event-ID"]
        assert refusal(server, "?person_id=999", **staff)[0] == 404
        assert refusal(server, "?person_id=2", **person_token(1))[0] == 404
        assert refusal(server, Accept="image/png", **staff)[0] == 406
        assert server.ask("HEAD", "/api/live", headers=staff).status_code == 200
        assert server.ask("POST", "/api/live", headers=staff).status_code == 405
        assert server.ask("OPTIONS", "/api/live", headers=staff | {"Accept": "text/event-stream"}).ok
        own = person_token(1)
        with Client(server, headers=own) as client:
            clients = [Client(server, headers=own) for _ in range(4)]
            for each in clients:
                each.__enter__()
            answer = server.get("/api/live", headers=own)
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "2"
            clients.pop().__exit__(None, None, None)
            until(lambda: _can_follow(server, own))
            for each in clients:
                each.__exit__(None, None, None)
            assert not client.has_ended


def _can_follow(server: Server, headers: dict[str, str]) -> bool:
    try:
        with Client(server, headers=headers):
            return True
    except AssertionError:
        return False


def test_a_revoked_token_ends_the_stream(send):
    with live_server(ACCESS="tokens") as server, Client(server, headers=person_token(1)) as client:
        until(lambda: client.of("heartbeat"))
        from access.models import Token  # noqa: PLC0415

        Token.objects.update(revoked=True)
        until(lambda: client.has_ended)
