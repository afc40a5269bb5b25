"""The quick lane (connect.quick_lane): the same answers as Django, and Django for anything unusual."""

import asyncio
import base64
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from access import callers, services
from access.callers import IdentityCache, Kind
from access.models import Token
from connect.errors import NeighbourUnavailable
from connect.quick_lane import QuickLane
from consumers import producer
from consumers.tests.conftest import stored
from locations import quick as locations
from locations import quota
from locations.quota import BURST
from persons import quick as persons
from persons.models import Person
from phones import quick as phones
from tests.gunicorn_server import Server, database_url

pytestmark = pytest.mark.usefixtures("people")

NOW = datetime.now(UTC).replace(microsecond=0)
PING = {"person_id": 1, "latitude": "1.0", "longitude": "2.0", "creation_time": NOW.isoformat()}
OWNTRACKS = {"_type": "location", "lat": 1.0, "lon": 2.0, "tst": int(NOW.timestamp()), "acc": 5}
DOORS = locations.DOORS | phones.DOORS | persons.DOORS
BASIC = f"Basic {base64.b64encode(b'1:').decode()}"
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"9"), (b"x-from", b"Django")]


def request(path: str, body: Any = None, **changes: str) -> tuple[dict[str, Any], bytes]:
    """The environ and the body of a usual call, and what is unusual about it."""
    path, _, query = path.partition("?")
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    environ = {
        "REQUEST_METHOD": "GET" if body is None else "POST",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "HTTP_HOST": "127.0.0.1:30001",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(raw)),
        "wsgi.input": io.BytesIO(raw),
    }
    return environ | changes, raw


@pytest.fixture
def lane() -> Callable[..., tuple[int, dict[bytes, bytes], Any] | None]:
    """Asks a lane that has seen Django's answers. None if Django answers this call."""

    def ask(path: str, body: Any = None, **changes: str) -> tuple[int, dict[bytes, bytes], Any] | None:
        quick = QuickLane(DOORS)
        environ, raw = request(path, body, **changes)
        usual, _ = request(path, body)
        quick.learn(usual, DOORS[usual["PATH_INFO"]].status, HEADERS)
        answer = asyncio.run(quick.answer(environ, lambda _: raw))
        return answer and (answer[0], dict(answer[1]), json.loads(answer[2]))

    return ask


@pytest.fixture(autouse=True)
def no_open_connection() -> Iterator[None]:
    """Closes the connection of the thread that looks for people."""
    yield
    close_connection()


def close_connection() -> None:
    persons._people._thread.submit(lambda: connection.close()).result(10)  # noqa: PLW0108 - of that thread


@pytest.fixture
def known(kafka: str) -> None:
    """The producer knows that the people 1 to 9 exist."""
    producer.person_cache.existing(range(1, 10))


@pytest.fixture
def token(settings: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """An ingest token of person 1 that is identified already."""
    settings.ACCESS = "tokens"
    monkeypatch.setattr(callers, "_identities", IdentityCache())
    quota._quota.cache_clear()
    key = services.make(name="phone", kind=Kind.INGEST, first_person_id=1, last_person_id=1)[1]
    assert callers.identify_authorization(f"Bearer {key}")
    return key


Lane = Callable[..., Any]


# --- usual calls ---------------------------------------------------------------------------------


def test_a_ping_is_acknowledged_and_then_stored(known: None, lane: Lane, write_all: Callable) -> None:
    status, headers, body = lane("/api/locations", PING)
    assert status == 202
    assert body["latitude"] == "1.0000000"
    assert headers[b"location"] == f"/api/locations/{body['id']}".encode()
    assert headers[b"x-from"] == b"Django"
    assert int(headers[b"content-length"]) > 100
    write_all()
    assert [each.id for each in stored()] == [body["id"]]


def test_a_position_of_each_app(known: None, lane: Lane, write_all: Callable) -> None:
    t = int(NOW.timestamp())
    feature = {
        "geometry": {"type": "Point", "coordinates": [2, 1]},
        "properties": {"timestamp": NOW.isoformat(), "device_id": "3"},
    }
    assert lane("/api/phones/owntracks", OWNTRACKS, HTTP_AUTHORIZATION=BASIC)[2] == []
    assert lane("/api/phones/overland", {"locations": [feature]})[2] == {"result": "ok"}
    assert lane(f"/api/phones/osmand?id=4&lat=1&lon=2&timestamp={t}")[2] == {"result": "ok"}
    assert lane("/api/phones/osmand", f"id=5&lat=1&lon=2&timestamp={t}".encode(), CONTENT_TYPE="")
    assert lane("/api/phones/gpslogger", OWNTRACKS, HTTP_AUTHORIZATION=BASIC)[2] == {"result": "ok"}
    write_all()
    assert [each.person_id for each in stored()] == [1, 3, 4, 5]


def test_a_token_sends_its_own_pings(known: None, token: str, lane: Lane) -> None:
    status, headers, _ = lane("/api/locations", PING, HTTP_AUTHORIZATION=f"Bearer {token}")
    assert status == 202
    assert int(headers[b"x-connect-known"]) > 0
    basic = f"Basic {base64.b64encode(f'ann:{token}'.encode()).decode()}"
    assert lane("/api/phones/owntracks", OWNTRACKS, HTTP_AUTHORIZATION=basic)[0] == 200


def test_people_by_id(lane: Lane) -> None:
    Person.objects.filter(id=3).update(findable=False)
    Person.objects.filter(id__in=[1, 2]).update(findable=True)
    status, _, body = lane("/api/persons?id=2&id=1&id=3&id=77&id=1")
    assert status == 200
    assert [each["id"] for each in body] == [1, 2]
    assert body == APIClient().get("/api/persons?id=2&id=1&id=3&id=77&id=1").json()


# --- Django answers ------------------------------------------------------------------------------

UNUSUAL: dict[str, dict[str, Any]] = {
    "an array": {"body": [PING]},
    "no JSON": {"body": b"{"},
    "a bad latitude": {"body": PING | {"latitude": "91"}},
    "an unknown field": {"body": PING | {"speed": 1}},
    "an unknown person": {"body": PING | {"person_id": 10}},
    "an impossible person": {"body": PING | {"person_id": 2**63}},
    "a query": {"path": "/api/locations?sync=1"},
    "another origin": {"HTTP_ORIGIN": "http://127.0.0.1:30000"},
    "from a page": {"HTTP_SEC_FETCH_SITE": "cross-site"},
    "a cookie": {"HTTP_COOKIE": "sessionid=abc"},
    "another host": {"HTTP_HOST": "example.org"},
    "no host": {"HTTP_HOST": ""},
    "another format": {"HTTP_ACCEPT": "text/html"},
    "another type": {"CONTENT_TYPE": "text/plain"},
    "no type": {"CONTENT_TYPE": ""},
    "another method": {"REQUEST_METHOD": "PUT"},
    "from a neighbour": {"HTTP_X_CONNECT_NOTED": "1"},
    "other headers than Django's last answer": {"HTTP_X_FORWARDED_PROTO": "https"},
    "two positions": {"path": "/api/phones/overland", "body": {"locations": [{}, {}]}},
    "a refused position": {"path": "/api/phones/owntracks", "body": OWNTRACKS | {"lat": 91}},
    "no position": {"path": "/api/phones/owntracks", "body": OWNTRACKS | {"_type": "waypoint"}},
    "nobody's position": {"path": "/api/phones/owntracks", "body": OWNTRACKS, "HTTP_AUTHORIZATION": ""},
    "a search": {"path": "/api/persons?id=1&search=a", "body": None},
    "too many ids": {"path": "/api/persons?" + "&".join(["id=1"] * 21), "body": None},
    "an id that is none": {"path": "/api/persons?id=1.5", "body": None},
    "a page": {"path": "/api/persons?id=1&limit=1", "body": None},
}


def test_django_answers_what_is_unusual(known: None, lane: Lane, write_all: Callable) -> None:
    usual = {"path": "/api/locations", "body": PING, "HTTP_AUTHORIZATION": BASIC}
    assert [how for how, changes in UNUSUAL.items() if lane(**usual | changes) is not None] == []
    assert write_all().stored == 0  # and nothing was sent before


def test_django_answers_before_the_lane_has_seen_an_answer(known: None) -> None:
    environ, body = request("/api/locations", PING)
    lane = QuickLane(DOORS)
    assert asyncio.run(lane.answer(environ, lambda _: body)) is None
    lane.learn(environ, 400, HEADERS)
    assert asyncio.run(lane.answer(environ, lambda _: body)) is None
    lane.learn(environ, 202, HEADERS)
    assert asyncio.run(lane.answer(environ, lambda _: body)) is not None


def test_without_the_topic_a_ping_takes_a_thread(lane: Lane) -> None:
    assert lane("/api/locations", PING) is None


@pytest.mark.parametrize(
    "why", ["of another", "too old", "ahead", "revoked", "expired", "read only", "unknown"]
)
def test_django_answers_what_a_token_may_not_send(
    known: None, token: str, lane: Lane, write_all: Callable, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = PING | {
        "of another": {"person_id": 2},
        "too old": {"creation_time": (NOW - timedelta(days=9)).isoformat()},
        "ahead": {"creation_time": (NOW + timedelta(hours=9)).isoformat()},
    }.get(why, {})
    if why == "revoked":
        Token.objects.update(revoked=True)
        monkeypatch.setattr(IdentityCache, "FRESH_S", 0.0)
    elif why == "expired":
        Token.objects.update(expiry_date=NOW - timedelta(days=1))
        monkeypatch.setattr(callers, "_identities", IdentityCache())
        assert not callers.identify_authorization(f"Bearer {token}")
    elif why == "read only":
        token = services.make(name="-", kind=Kind.PERSON, first_person_id=1)[1]
        assert callers.identify_authorization(f"Bearer {token}")
    elif why == "unknown":
        token = token[:-1] + ("a" if token[-1] != "a" else "b")
    assert lane("/api/locations", body, HTTP_AUTHORIZATION=f"Bearer {token}") is None
    assert write_all().stored == 0


def test_the_quota_holds(known: None, token: str, lane: Lane) -> None:
    for n in range(3):
        quota.charge([1] * (BURST // 3 - (1 if n else 0)))
    authorization = f"Bearer {token}"
    answers = [lane("/api/locations", PING, HTTP_AUTHORIZATION=authorization) for _ in range(30)]
    assert answers[0] is not None
    assert answers[-1] is None


# --- faults --------------------------------------------------------------------------------------


def test_a_broker_that_is_away_gives_the_quota_back(
    settings: Any, token: str, lane: Lane, free_port: int
) -> None:
    settings.PINGS_URL, settings.KAFKA_TIMEOUT_S = f"kafka://127.0.0.1:{free_port}", 0.3
    producer.person_cache.existing([1])
    for _ in range(3):
        assert callers.identify_authorization(f"Bearer {token}")
        with pytest.raises(NeighbourUnavailable):
            lane("/api/locations", PING, HTTP_AUTHORIZATION=f"Bearer {token}")
    quota.charge([1] * BURST)


def test_django_answers_while_the_database_is_away(lane: Lane, toggle_database: Callable) -> None:
    asyncio.run(persons._people({1}))
    toggle_database()
    close_connection()
    assert lane("/api/persons?id=1") is None
    toggle_database()
    assert lane("/api/persons?id=1") is not None


# --- the same answers ----------------------------------------------------------------------------


@pytest.fixture
def web(kafka: str, settings: Any) -> Iterator[Server]:
    wiring = {"PINGS_URL": kafka, "KAFKA_TOPIC": settings.KAFKA_TOPIC, "WEB_WORKERS": "1"}
    with Server(SERVED_APPS="persons,locations", DATABASE_URL=database_url(), **wiring) as running:
        yield running


CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/api/locations", {"json": PING}),
    ("POST", "/api/phones/owntracks", {"json": OWNTRACKS, "headers": {"Authorization": BASIC}}),
    ("GET", f"/api/phones/osmand?id=1&lat=1&lon=2&timestamp={int(NOW.timestamp())}", {}),
    ("GET", "/api/persons?id=1&id=2", {}),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call[1].partition("?")[0])
def test_answers_are_equal_to_those_of_django(web: Server, call: tuple[str, str, dict[str, Any]]) -> None:
    verb, path, how = call
    headers = how.get("headers", {})
    by_django = headers | {"Accept": "application/json; q=1"}

    def answer(headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        found = web.ask(verb, path, **how | {"headers": headers})
        kept = {name: value for name, value in found.headers.items() if name != "date"}
        return found.status_code, kept, found.content

    expected = answer(by_django)
    assert expected[0] in (200, 202)
    for _ in range(5):
        assert answer(headers) == expected
