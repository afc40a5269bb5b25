"""Body limits over real HTTP: the client gets a proper error, and the next call works."""

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from django.contrib.auth import get_user_model

from access import services
from access.callers import Kind
from tests.gunicorn_server import Server, until

pytestmark = pytest.mark.django_db(transaction=True)

LIMIT = 5 * 1024 * 1024
JSON = {"Content-Type": "application/json"}
ADA = {"first_name": "Ada", "last_name": "Lovelace", "company_name": "Engines Ltd"}


def padded(length: int) -> bytes:
    """A valid person as JSON, padded to `length` bytes."""
    return json.dumps(ADA).encode().ljust(length)


def in_chunks(body: bytes) -> Iterator[bytes]:
    """A generator: requests sends it chunked, without Content-Length."""
    for start in range(0, len(body), 100_000):
        yield body[start : start + 100_000]


@pytest.mark.parametrize("send", [bytes, in_chunks], ids=["at once", "chunked"])
@pytest.mark.parametrize("length", [100, 3_000_000, LIMIT])
def test_a_body_of_up_to_5_mb_is_read(server: Server, send: Any, length: int) -> None:
    answer = server.post("/api/persons", data=send(padded(length)), headers=JSON)
    assert (answer.status_code, answer.json()) == (201, {"id": answer.json()["id"], **ADA})


@pytest.mark.parametrize("send", [bytes, in_chunks], ids=["at once", "chunked"])
@pytest.mark.parametrize("length", [LIMIT + 1, 50_000_000])
@pytest.mark.parametrize("path", ["/api/persons", "/api/locations", "/api/no/such/path"])
def test_a_larger_body_is_a_413_in_json(server: Server, send: Any, length: int, path: str) -> None:
    with requests.Session() as session:
        answer = session.post(server.url(path), data=send(padded(length)), headers=JSON, timeout=60)
        assert (answer.status_code, answer.headers["Content-Type"]) == (413, "application/json")
        assert list(answer.json()) == ["detail"]
        assert str(LIMIT) in answer.json()["detail"]
        assert session.get(server.url("/api/persons"), timeout=30).json() == []


@pytest.mark.parametrize("length", [0, 100, 60_000, 600_000])
def test_an_invalid_head_is_refused_before_the_end_of_its_body(server: Server, length: int) -> None:
    before = server.output()
    head = f"POST /api/persons HTTP/1.1\r\nHost: localhost\r\nX: \x17\r\nContent-Length: {length}\r\n\r\n"
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
            client.sendall(head.encode() + bytes(length))
            status, *lines = client.makefile("rb").read().split(b"\r\n")
        assert status == b"HTTP/1.1 400 Bad Request"
        assert json.loads(lines[-1]) == {"detail": "This is not a request that HTTP allows."}
    assert server.output() == before


def test_an_invalid_chunk_is_refused_at_once(server: Server) -> None:
    """The call is waiting for the rest of its body."""
    before = server.output()
    head = "POST /api/persons HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(head.encode() + b"2\r\n[]\r\nzz\r\n")
        answers = client.makefile("rb").read()
    assert answers.count(b"HTTP/1.1 ") == 1
    assert answers.startswith(b"HTTP/1.1 400 ")
    assert server.output() == before


@pytest.mark.parametrize("length", [LIMIT + 1, 50_000_000])
def test_a_client_with_connection_close_gets_the_413(server: Server, length: int) -> None:
    """The proxy does so: it uses a connection for one request."""
    close = {"Connection": "close"}
    answer = server.post("/api/persons", data=padded(length), headers=JSON | close)
    assert answer.status_code == 413


@pytest.mark.parametrize("ends", [b"HTTP/1.0\r\n", b"HTTP/1.1\r\nConnection: close\r\n"])
def test_the_connection_closes_after_http_1_0_or_connection_close(server: Server, ends: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(b"GET /health/live " + ends + b"Host: localhost\r\n\r\n")
        assert client.makefile("rb").read().endswith(b'"healthy"')


def test_the_web_app_can_read_a_413(server: Server) -> None:
    origin = {"Origin": "http://127.0.0.1:30000"}
    answer = server.post("/api/persons", data=padded(LIMIT + 1), headers=JSON | origin)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (413, origin["Origin"])


def test_expect_100_continue_is_followed_by_the_413(server: Server) -> None:
    """curl does so with a body over one megabyte."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("POST", "/api/persons")
    for name, value in [*JSON.items(), ("Content-Length", str(LIMIT + 1)), ("Expect", "100-continue")]:
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(padded(LIMIT + 1))
    answer = connection.getresponse()
    assert answer.status == 413
    assert "detail" in json.loads(answer.read())
    connection.close()


def test_a_long_url_is_a_414_in_json(server: Server) -> None:
    answer = server.get("/api/persons", params={"search": "x" * 10_000})
    assert (answer.status_code, answer.headers["Content-Type"]) == (414, "application/json")
    assert "8190" in answer.json()["detail"]


@pytest.mark.parametrize("more", [b"X: 1\r\n" * 101 + b"\r\n", b"X: " + b"a" * 300_000], ids=["many", "long"])
def test_a_large_head_is_a_431_in_json(server: Server, more: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(b"GET /api/persons HTTP/1.1\r\nHost: localhost\r\n")
        with contextlib.suppress(ConnectionError):
            client.sendall(more)
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert (answer.status, answer.getheader("Content-Type")) == (431, "application/json")
        assert list(json.loads(answer.read())) == ["detail"]


def test_a_body_in_the_same_segment_does_not_count_as_head(server: Server) -> None:
    """Requests whose head and body arrive in one segment do not exceed the head limit."""
    body = padded(200_000)
    head = b"POST /api/persons HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    piece = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        for _ in range(5):
            client.sendall(piece)
            answer = http.client.HTTPResponse(client)
            answer.begin()
            assert answer.status == 201
            answer.read()


@pytest.mark.parametrize(
    "request_line", [b"GET /api/persons HTTP/9.9", b"G\xc3\xa9T /api/persons HTTP/1.1", b"nonsense"]
)
def test_an_invalid_request_line_is_a_400_in_json(server: Server, request_line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(request_line + b"\r\nHost: localhost\r\n\r\n")
        head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"Content-Type: application/json" in head
    assert list(json.loads(body)) == ["detail"]


def test_300_long_ids_fit_into_one_request(server: Server) -> None:
    """The batch size of connections for persons."""
    answer = server.get("/api/persons", params={"id": [2**63 - 1 - i for i in range(300)]})
    assert (answer.status_code, answer.json()) == (200, [])


def test_a_slow_body_is_a_408_and_blocks_no_thread() -> None:
    with Server(config="python:tests.gunicorn_short_timeouts", WEB_WORKERS="1", WEB_THREADS="2") as server:
        senders = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(2)]
        head = b"POST /api/locations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        senders[0].sendall(head + b"Content-Length: 100\r\n\r\n[")
        senders[1].sendall(head + b"Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n")
        for sender in senders:
            answer = http.client.HTTPResponse(sender)
            answer.begin()
            assert (answer.status, answer.getheader("Content-Type")) == (408, "application/json")
            assert list(json.loads(answer.read())) == ["detail"]
        assert server.post("/api/locations", json=[]).json() == {"accepted": 0}


# --- bodies and authentication --------------------------------------------------------------------


@pytest.fixture
def token_server() -> Iterator[Server]:
    """One worker of two threads, with ACCESS=tokens."""
    with Server(ACCESS="tokens", SECRET_KEY="k" * 50, WEB_WORKERS="1", WEB_THREADS="2") as running:
        yield running


@pytest.fixture
def staff_token() -> str:
    user = get_user_model().objects.create_superuser("sam")
    return services.make(name="of a test", kind=Kind.STAFF, user=user)[1]


def stalled_request(server: Server, path: str, headers: str, length: int, first: bytes) -> socket.socket:
    """A client that sends a head and the start of a body, then stalls."""
    client = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    client.sendall(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n".encode()
        + first
    )
    return client


def status_of(client: socket.socket) -> int:
    answer = http.client.HTTPResponse(client)
    answer.begin()
    answer.read()
    return answer.status


@pytest.mark.parametrize(
    "authorization", ["", f"Authorization: Bearer {8 * 'a'}.{64 * 'b'}\r\n"], ids=["none", "bad"]
)
@pytest.mark.parametrize("length", [100, 60_000_000])
def test_a_client_without_a_valid_token_is_refused_before_its_body(
    token_server: Server, authorization: str, length: int
) -> None:
    headers = f"Content-Type: application/json\r\n{authorization}"
    clients = [stalled_request(token_server, "/api/locations", headers, length, b"[") for _ in range(30)]
    try:
        assert token_server.get("/health/live").status_code == 200
        assert [status_of(client) for client in clients] == [401] * 30
    finally:
        for client in clients:
            client.close()


def test_slow_bodies_of_an_authenticated_caller_block_no_thread_and_are_limited(
    token_server: Server, staff_token: str
) -> None:
    headers = f"Content-Type: application/json\r\nAuthorization: Bearer {staff_token}\r\n"
    slow = [stalled_request(token_server, "/api/locations", headers, 3_000_000, b"[") for _ in range(3)]
    try:
        authorization = {"Authorization": f"Bearer {staff_token}"}
        for _ in range(5):
            assert token_server.get("/api/persons?limit=1", headers=authorization).status_code == 200
        until(
            lambda: (
                status_of(stalled_request(token_server, "/api/locations", headers, 3_000_000, b"[")) == 429
            )
        )
    finally:
        for client in slow:
            client.close()
    answer = token_server.post("/api/persons", data=padded(3_000_000), headers=JSON | authorization)
    assert answer.status_code == 201


def test_an_upload_to_the_login_page_is_refused(token_server: Server) -> None:
    answer = requests.post(
        token_server.url("/admin/login/"),
        files={"file": b"x" * 20_000_000},
        timeout=60,
        allow_redirects=False,
    )
    assert answer.status_code in (400, 403, 413)
