"""Requests that cannot be parsed get an error in JSON, at once and at every door."""

import json
import socket
import time

import pytest

from tests.system import API, APP, PERSONS, STAGES, System

ASKED = b"GET /api/persons HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
SENT = ASKED.replace(b"GET", b"POST")
UNREADABLE = {
    "space": (400, b"GET /api/per sons HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "control character": (400, b"GET /api/per\x01sons HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "letters": (400, "GET /api/persons?search=Müller HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()),
    "early version": (400, b"GET /api/persons HTTP/0.9\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"),
    "a body of an early GET": (
        400,
        b"GET /api/persons HTTP/1.0\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n[]",
    ),
    "connect": (404, b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
    "colon": (400, ASKED + b"Nothing\r\n\r\n"),
    "length": (400, SENT + b"Content-Length: abc\r\n\r\n"),
    "negative length": (400, SENT + b"Content-Length: -1\r\n\r\n"),
    "two lengths": (400, SENT + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n"),
    "coding": (422, SENT + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "unknown coding": (400, SENT + b"Transfer-Encoding: nothing\r\n\r\n"),
    "headers": (400, ASKED + b"".join(b"X-%d: 1\r\n" % number for number in range(2500)) + b"\r\n"),
    "a large header": (431, ASKED + b"X: " + b"a" * 32_500 + b"\r\n\r\n"),
    "a path that cannot be decoded": (404, ASKED.replace(b"persons", b"persons%zz") + b"\r\n"),
    "a long address": (414, ASKED.replace(b"persons", b"persons?" + b"x" * 10_000) + b"\r\n"),
    "a longer address": (414, ASKED.replace(b"persons", b"persons?" + b"x" * 20_000) + b"\r\n"),
    "a WebSocket handshake without a key": (
        400,
        b"GET /api/persons HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
    "bare line feeds": (400, b"GET /api/per sons HTTP/1.1\nHost: localhost\n\n"),
}


@pytest.fixture(scope="module", autouse=True)
def last_stage(system: System) -> None:
    system.go(STAGES[-1])


def raw(port: int, *pieces: bytes) -> tuple[bytes, bytes, float]:
    """Sends a packet for each piece; returns the answer's head and body, and the seconds it took."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            client.sendall(piece)
        begin = time.monotonic()
        head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    return head, body, time.monotonic() - begin


@pytest.mark.parametrize("door", [API, APP, PERSONS])
@pytest.mark.parametrize("what", UNREADABLE)
def test_it_is_refused_in_json_at_once(system: System, door: int, what: str) -> None:
    status, request = UNREADABLE[what]
    head, body, took_s = raw(system.port(door), request)
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\ncontent-type: application/json\r\n" in head.lower()
    assert list(json.loads(body)) == ["detail"]
    assert took_s < 3  # less than HAProxy waits for the rest of a head


@pytest.mark.parametrize("size", [b"zz", b"-1", b"f" * 17])
def test_a_chunk_of_no_size_is_refused_in_json(system: System, size: bytes) -> None:
    head, body, _ = raw(
        system.port(API), SENT + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n[]\r\n0\r\n\r\n"
    )
    assert head.startswith(b"HTTP/1.1 400 ")
    assert list(json.loads(body)) == ["detail"]


def test_half_a_head_is_refused_when_the_rest_does_not_come(system: System) -> None:
    head, body, _ = raw(system.port(API), ASKED)
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body) == {"detail": "The request did not arrive in time."}


def test_nobody_who_sends_nothing_is_told_anything(system: System) -> None:
    head, body, _ = raw(system.port(API), b"")
    assert head + body == b""


def test_a_head_may_come_in_pieces(system: System) -> None:
    head, body, _ = raw(system.port(API), *(bytes([byte]) for byte in ASKED + b"\r\n"))
    assert head.startswith(b"HTTP/1.1 200 "), body


def test_a_chunked_body_is_read(system: System) -> None:
    person = b'{"first_name":"A","last_name":"B","company_name":"C"}'
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(person), person)
    kind = b"Content-Type: application/json\r\nTransfer-Encoding: Chunked\r\n\r\n"
    head, answer, _ = raw(system.port(API), SENT + kind + body)
    assert head.startswith(b"HTTP/1.1 201 "), answer


def test_requests_may_follow_each_other(system: System) -> None:
    """On one connection, some of them before the answer to the one before."""
    kept = ASKED.replace(b"Connection: close\r\n", b"") + b"\r\n"
    _, rest, _ = raw(system.port(API), kept + kept, kept, ASKED + b"\r\n")
    assert rest.count(b"HTTP/1.1 200 ") == 3
