"""What a client of the proxy sees beside the routes: errors, origins, compression, closed paths.

A real HAProxy with the cluster's configuration, and a real web process behind all its routes.
"""

import gzip
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from django.db import connection
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from locations import partitions
from persons.models import Person
from tests.gunicorn_server import Server, until
from tests.renderings import STAGES
from tests.test_proxy_in_the_cluster import UPSTREAMS, free_ports, proxy

pytestmark = pytest.mark.django_db(transaction=True)

APP, ALSO_APP = "http://127.0.0.1:30000", "http://localhost:30000"
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def door(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The proxy's port."""
    [traffic] = free_ports(1)
    upstreams = dict.fromkeys(UPSTREAMS, server.port)
    with proxy(STAGES[-1], tmp_path_factory.mktemp("proxy"), {8000: traffic}, upstreams):
        until(lambda: answers(traffic))
        yield traffic


def answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/api/persons", timeout=5).ok
    except requests.ConnectionError:
        return False


def ask(port: int, path: str, verb: str = "GET", **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.request(
        verb, f"http://127.0.0.1:{port}{path}", headers=JSON | named, timeout=30, allow_redirects=False
    )


def raw(port: int, head: bytes) -> tuple[bytes, bytes]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(head)
        client.shutdown(socket.SHUT_WR)
        head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    return head, body


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/persons", "/nothing", "/api", "/api/nothing", "/api/persons/"])
def test_an_unknown_path_is_a_404_in_json(door: int, path: str) -> None:
    answer = ask(door, path)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})


@pytest.mark.parametrize(
    "path",
    [
        "/internal",
        "/internal/persons?id=1",
        "//internal/persons",
        "/%69nternal/persons",
        "/internal/%zz",
        "/internal%2F",
    ],
)
def test_no_client_comes_to_what_processes_ask_each_other(door: int, path: str) -> None:
    head, body = raw(door, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert head.startswith(b"HTTP/1.1 404 ")
    assert b"cache-control: no-store" in head.lower()
    assert json.loads(body) == {"detail": "Not found."}


@pytest.mark.parametrize(
    "line", [b"OPTIONS * HTTP/1.1", b"GET api/persons HTTP/1.1", b"CONNECT localhost:80 HTTP/1.1"]
)
def test_what_names_no_path_is_a_404_in_json(door: int, line: bytes) -> None:
    head, body = raw(door, line + b"\r\nHost: localhost\r\nAccept: application/json\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 "))
    assert list(json.loads(body)) == ["detail"]


def test_more_headers_than_a_process_takes_are_refused_in_json(door: int) -> None:
    many = b"".join(b"X-%d: 1\r\n" % number for number in range(300))
    head, body = raw(door, b"GET /api/persons HTTP/1.1\r\nHost: localhost\r\n" + many + b"\r\n")
    assert head.startswith(b"HTTP/1.1 4")
    assert list(json.loads(body)) == ["detail"]


def test_where_to_begin(door: int) -> None:
    assert ask(door, "/api/").json()["persons"] == "/api/persons"
    assert ask(door, "/").json() == ask(door, "/api/").json()
    assert ask(door, "/", Accept="text/html,*/*;q=0.8").headers["Location"] == "/api/docs"


# A word that HAProxy can read: what it cannot, 2.6 refuses with a page of its own.
WORD = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)


@settings(
    max_examples=100, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
@given(
    verb=st.sampled_from(["GET", "POST", "OPTIONS", "PROPFIND", "TRACE", "HEAD", "get"]),
    path=WORD | WORD.map(lambda word: f"/{word}") | WORD.map(lambda word: f"/api/{word}"),
    kind=WORD.map(lambda word: f"application/json; charset={word}"),
)
@example(verb="OPTIONS", path="*", kind="text/plain; charset=undefined")
@example(verb="GET", path="/api/persons?search=%C3%BC", kind="text/plain; charset=punycode")
def test_no_request_makes_a_5xx_or_a_page(door: int, verb: str, path: str, kind: str) -> None:
    lines = [
        f"{verb} {path} HTTP/1.1",
        "Host: localhost",
        "Accept: application/json",
        f"Content-Type: {kind}",
    ]
    head, body = raw(door, "\r\n".join([*lines, "Content-Length: 0", "Connection: close", "", ""]).encode())
    assert head.startswith((b"HTTP/1.1 2", b"HTTP/1.1 3", b"HTTP/1.1 4")), head
    assert b"<html" not in body.lower()


# --- origins -------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [APP, ALSO_APP])
@pytest.mark.parametrize("path", ["/internal/persons", "/api/persons", "/api/nothing"])
def test_the_web_app_can_read_an_answer_under_both_names(door: int, path: str, origin: str) -> None:
    assert ask(door, path, Origin=origin).headers["Access-Control-Allow-Origin"] == origin


@pytest.mark.parametrize("origin", ["http://elsewhere.example", f"{APP}0", "http://localhost", "null"])
def test_no_other_page_can(door: int, origin: str) -> None:
    assert "Access-Control-Allow-Origin" not in ask(door, "/internal/persons", Origin=origin).headers


# --- compression ---------------------------------------------------------------------------------

DAY = "start_date=2026-05-11&end_date=2026-05-11"


@pytest.fixture
def met() -> tuple[int, int]:
    """Ann, who was beside 300 people for a while, 9,000 pings in all."""
    partitions.ensure([(2026, 5)])
    ann = Person.objects.create(first_name="Ann", last_name="Lee", company_name="Acme")
    others = Person.objects.bulk_create(
        Person(first_name="B", last_name="C", company_name="D") for _ in range(300)
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO locations_location (person_id, creation_time, latitude, longitude) "
            "SELECT who, '2026-05-11T09:00:00Z'::timestamptz + s * interval '1 second', 1, 2 "
            "FROM unnest(%s) AS who, generate_series(1, 30) AS s",
            [[ann.pk, *(other.pk for other in others)]],
        )
    return ann.pk, len(others)


@pytest.mark.parametrize("kind", ["application/json", "text/csv", "application/geo+json"])
def test_an_answer_is_compressed_for_who_accepts_it(door: int, met: tuple[int, int], kind: str) -> None:
    path = f"/api/persons/{met[0]}/encounters?{DAY}"
    plain = ask(door, path, Accept=kind, Accept_Encoding="identity")
    packed = ask(door, path, Accept=kind, Accept_Encoding="gzip")
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert packed.headers["Cache-Control"] == "no-store"
    assert packed.content == plain.content
    assert packed.headers["Content-Type"] == plain.headers["Content-Type"]


@pytest.mark.parametrize("kind", ["application/graphml+xml", "application/gexf+xml"])
def test_a_graph_is_compressed(door: int, kind: str) -> None:
    path = f"/api/encounters/graph?{DAY}"
    packed = ask(door, path, Accept=kind, Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Content-Type"] == f"{kind}; charset=utf-8"
    assert packed.content == ask(door, path, Accept=kind, Accept_Encoding="identity").content


def test_a_stream_is_compressed_on_its_way(door: int, met: tuple[int, int]) -> None:
    path = "/api/locations?start=2026-05-11&end=2026-05-12"
    with requests.get(
        f"http://127.0.0.1:{door}{path}", headers={"Accept-Encoding": "gzip"}, stream=True, timeout=30
    ) as answer:
        assert (answer.headers["Content-Encoding"], "Content-Length" in answer.headers) == ("gzip", False)
        packed = answer.raw.read(decode_content=False)
    whole = gzip.decompress(packed)
    assert len(json.loads(whole)) == 301 * 30
    assert len(packed) * 4 < len(whole)
    assert ask(door, path, Accept_Encoding="identity").content == whole


def test_an_unchanged_schema_is_a_304_compressed_or_not(door: int, tmp_path: Path) -> None:
    for encoding in ("gzip", "identity"):
        first = ask(door, "/api/schema", Accept_Encoding=encoding)
        again = ask(door, "/api/schema", Accept_Encoding=encoding, If_None_Match=first.headers["ETag"])
        assert (first.status_code, again.status_code) == (200, 304)
