"""Every attack, by name. Each runs for so many seconds and is bounded in what it opens and sends.

`python -m tests.attacks.attacks NAME SECONDS < target.json` runs one in a process of its own, from 127.0.0.1,
the address that the legitimate clients have too. It has a low priority: a real attacker has a machine of
their own and takes no processor time from the system by computing.
"""

import itertools
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc

from grpc_server import locations_pb2 as pb
from grpc_server.locations_pb2_grpc import LocationServiceStub
from tests.attacks.connections import GRPC, TICK_S, Crowd, Http2, ticks
from tests.attacks.target import DAY, Target

NICE = 10
UNKNOWN_TOKEN = "0badbeef." + "0" * 64
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
LIMIT = 5_000_000  # of a body
CALL_S = 60  # how long an attacker waits for an answer


@dataclass(frozen=True)
class Attack:
    run: Callable[[Target, float], None]
    what: str
    anonymous: bool


ATTACKS: dict[str, Attack] = {}


def attack(what: str, *, anonymous: bool = True) -> Callable:
    def register(run: Callable[[Target, float], None]) -> Callable[[Target, float], None]:
        ATTACKS[run.__name__.replace("_", "-")] = Attack(run, what, anonymous)
        return run

    return register


# --- slow and idle, without a token --------------------------------------------------------------


def head(path: str, length: int, token: str | None = None, kind: str = "application/json") -> bytes:
    shown = f"Authorization: Bearer {token}\r\n" if token else ""
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n{shown}"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def trickle(crowds: list[Crowd], seconds: float, *, every_s: float = 2) -> None:
    """Keeps them open, and has each connection send a little every so often."""
    for number in ticks(seconds):
        for crowd in crowds:
            crowd.fill()
            if number % round(every_s / TICK_S) == 0:
                crowd.drip()


# A path of each process that the proxy leads to.
PATHS = ("/api/locations", "/api/persons", "/api/persons/1/encounters")


@attack("150 sockets send a body of 60 MB: 40 kB at once, then a byte every 2 s")
def trickling_bodies(target: Target, seconds: float) -> None:
    trickle(bodies(target, token=None, at_once=40_000), seconds)


@attack("150 sockets send a body of 60 MB, a byte every 2 s")
def trickling_bodies_from_the_first_byte(target: Target, seconds: float) -> None:
    trickle(bodies(target, token=None, at_once=0), seconds)


@attack("the same with a token that nobody has: 40 kB at once, then a byte every 2 s")
def trickling_bodies_with_an_unknown_token(target: Target, seconds: float) -> None:
    trickle(bodies(target, token=UNKNOWN_TOKEN, at_once=40_000), seconds)


def bodies(target: Target, *, token: str | None, at_once: int) -> list[Crowd]:
    content = b" " * at_once
    heads = [head(path, 60_000_000, token) for path in PATHS]
    return [Crowd(target.api, 50, first=one + content, more=lambda: b" ") for one in heads]


@attack("200 sockets to each HTTP port send a head, a byte every 2 s")
def trickling_heads(target: Target, seconds: float) -> None:
    ports = (target.app, target.api, target.persons)
    crowds = [Crowd(port, 200, first=b"GET / HTTP/1.1\r\nX-A: ", more=lambda: b"a") for port in ports]
    trickle(crowds, seconds)


@attack("32 sockets to each HTTP port send a head, a byte every 2 s")
def few_trickling_heads(target: Target, seconds: float) -> None:
    ports = (target.app, target.api, target.persons)
    crowds = [Crowd(port, 32, first=b"GET / HTTP/1.1\r\nX-A: ", more=lambda: b"a") for port in ports]
    trickle(crowds, seconds)


@attack("2,000 silent TCP connections to the gRPC port")
def silent_connections_to_grpc(target: Target, seconds: float) -> None:
    trickle([Crowd(target.locations, 2000)], seconds)


@attack("2,000 silent TCP connections to the API port")
def silent_connections_to_the_api(target: Target, seconds: float) -> None:
    trickle([Crowd(target.api, 2000)], seconds)


@attack("one HTTP/2 connection with 24 HEADERS frames without a message")
def few_bare_headers(target: Target, seconds: float) -> None:
    hold([Http2(target.locations, GRPC + "GetLocation", streams=24)], seconds)


@attack("one HTTP/2 connection with 1,000 HEADERS frames without a message")
def bare_headers(target: Target, seconds: float) -> None:
    hold([Http2(target.locations, GRPC + "GetLocation", streams=1000)], seconds)


@attack("100 idle reflection streams on two connections")
def idle_reflection(target: Target, seconds: float) -> None:
    hold([Http2(target.locations, REFLECTION, streams=50) for _ in range(2)], seconds)


@attack("200 idle RecordLocations streams without a token")
def idle_senders(target: Target, seconds: float) -> None:
    hold([Http2(target.locations, GRPC + "RecordLocations", streams=100) for _ in range(2)], seconds)


def hold(connections: list[Http2], seconds: float) -> None:
    for _ in ticks(seconds):
        for connection in connections:
            connection.fill()


@attack("four uploads of 60 MB to the login page at once, kept open before their last byte")
def uploads_to_the_login(target: Target, seconds: float) -> None:
    kind = "multipart/form-data; boundary=x"
    part = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    first = head("/admin/login/", 60_000_000, kind=kind) + part + b"x" * 59_000_000
    trickle(
        [Crowd(port, 4, first=first, more=lambda: b"x") for port in (target.api, target.persons)], seconds
    )


# --- greedy, without a token ---------------------------------------------------------------------


def in_threads(count: int, seconds: float, turn: Callable[[], None], *, per_s: float = 1000) -> None:
    """So many threads take turns until the time is over; what fails is tried again."""
    ends = time.monotonic() + seconds

    def loop() -> None:
        while time.monotonic() < ends:
            due = time.monotonic() + count / per_s
            with suppress(OSError, grpc.RpcError):
                turn()
            time.sleep(max(0.005, due - time.monotonic()))

    threads = [threading.Thread(target=loop, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, ends - time.monotonic()))


def exchange(port: int, request: bytes, *, within_s: float = CALL_S) -> bytes:
    """Sends a request whole and reads until the system closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=within_s) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def request(verb: str, path: str, token: str | None = None, body: bytes = b"") -> bytes:
    shown = f"Authorization: Bearer {token}\r\n" if token else ""
    kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return (
        f"{verb} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{shown}{kind}\r\n".encode() + body
    )


@attack("300 requests a second that get a 401 or a 404")
def unknown_callers(target: Target, seconds: float) -> None:
    requests = itertools.cycle(  # threads may share it: `next` is atomic
        [
            request("GET", "/api/persons"),
            request("GET", "/api/persons", UNKNOWN_TOKEN),
            request("GET", "/api/nothing"),
            request("POST", "/api/locations", body=b"[" * 20_000),
        ]
    )
    in_threads(16, seconds, lambda: void(exchange(target.api, next(requests))), per_s=300)


@attack("1,500 requests a second that get a 401 or a 404, from the address of all others")
def flood_of_unknown_callers(target: Target, seconds: float) -> None:
    paths = [("/api/persons", None), ("/api/persons", UNKNOWN_TOKEN), ("/nothing", None)]
    requests = itertools.cycle([request("GET", *one) for one in paths])
    in_threads(32, seconds, lambda: void(exchange(target.api, next(requests))), per_s=1500)


def void(_: Any) -> None:
    """For a turn whose answer nobody needs."""


@attack("300 GetLocation at once with a deadline of 50 ms, again and again")
def short_deadlines(target: Target, seconds: float) -> None:
    call_at_once(
        target, seconds, lambda stub, how: stub.GetLocation.future(a_location(target), timeout=0.05, **how)
    )


@attack("300 GetLocation at once, each cancelled at once, again and again")
def cancelled_calls(target: Target, seconds: float) -> None:
    def cancel(stub: Any, how: dict[str, Any]) -> Any:
        call = stub.GetLocation.future(a_location(target), timeout=CALL_S, **how)
        call.cancel()
        return call

    call_at_once(target, seconds, cancel)


def a_location(target: Target) -> pb.GetLocationRequest:
    return pb.GetLocationRequest(id=f"{target.attacker.person_id}-1778493600000000")


def call_at_once(target: Target, seconds: float, begin: Callable[[Any, dict[str, Any]], Any]) -> None:
    for _ in ticks(seconds, every_s=0.5):
        with a_channel(target) as channel:
            stub = LocationServiceStub(channel)
            for metadata in ([], bearer(target.attacker.person)):
                calls = [begin(stub, {"metadata": metadata}) for _ in range(300)]
                for call in calls:
                    with suppress(grpc.RpcError, grpc.FutureCancelledError, grpc.FutureTimeoutError):
                        call.exception(timeout=5)


def a_channel(target: Target) -> grpc.Channel:
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.insecure_channel(f"127.0.0.1:{target.locations}", options)


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


# --- with the tokens of one attendee -------------------------------------------------------------


@attack("8 times at once, an attendee asks whom they met in 11 hours among 20,000 own pings", anonymous=False)
def expensive_questions(target: Target, seconds: float) -> None:
    attacker = target.attacker
    asked = request("GET", f"/api/persons/{attacker.person_id}/encounters?{DAY}", attacker.person)
    in_threads(8, seconds, lambda: void(exchange(target.api, asked)))


@attack(
    "32 questions at once by gRPC without a deadline, of an attendee with 20,000 own pings", anonymous=False
)
def questions_without_a_deadline(target: Target, seconds: float) -> None:
    attacker = target.attacker
    start = datetime(2026, 5, 11, tzinfo=UTC)
    asked = {"person_id": attacker.person_id, "start": start, "end": start + timedelta(days=1)}
    with a_channel(target) as channel:
        stub = LocationServiceStub(channel)
        asks = itertools.cycle([stub.FindEncounters, stub.FindConnections])
        messages = {
            stub.FindEncounters: pb.FindEncountersRequest(**asked),
            stub.FindConnections: pb.FindConnectionsRequest(**asked, within_s=60),
        }

        def turn() -> None:
            ask: Any = next(asks)
            for _ in ask(messages[ask], metadata=bearer(attacker.person)):
                pass

        in_threads(32, seconds, turn)


@attack(
    "24 readers each of a long stream, with a token of staff and of an attendee, take 2 kB a second",
    anonymous=False,
)
def slow_readers(target: Target, seconds: float) -> None:
    attacker = target.attacker
    lists = [
        (f"/api/locations?person_id={attacker.person_id}", attacker.person),
        ("/api/locations?start=2026-05-11&end=2026-05-12", target.greedy_staff),
    ]
    asked = [request("GET", *one) for one in lists]
    read_slowly([(target.api, one) for one in asked] * 24, seconds)


def read_slowly(questions: list[tuple[int, bytes]], seconds: float) -> None:
    """Reads 2 kB of each answer a second; who is cut off asks again."""
    readers: list[socket.socket | None] = [None] * len(questions)
    for _ in ticks(seconds, every_s=1):
        for place, reader in enumerate(readers):
            try:
                if reader is None:
                    readers[place] = slow_reader(*questions[place])
                elif not reader.recv(2048):
                    raise ConnectionResetError
            except BlockingIOError:
                continue
            except OSError:
                if reader is not None:
                    reader.close()
                readers[place] = None


def slow_reader(port: int, asked: bytes) -> socket.socket:
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(2)
    reader.connect(("127.0.0.1", port))
    reader.sendall(asked)
    reader.setblocking(False)
    return reader


@attack("60 readers of a static file take 2 kB a second")
def slow_readers_of_files(target: Target, seconds: float) -> None:
    asked = request("GET", "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js")
    read_slowly([(port, asked) for port in (target.app, target.api, target.persons)] * 20, seconds)


@attack("one phone sends 500 single pings a second", anonymous=False)
def single_pings(target: Target, seconds: float) -> None:
    def turn() -> None:
        body = json.dumps(a_ping(target, datetime.now(UTC))).encode()
        exchange(target.api, request("POST", "/api/locations", target.attacker.ingest, body))

    in_threads(16, seconds, turn, per_s=500)


@attack("one phone sends batches of 10,000 pings, four at once", anonymous=False)
def batches(target: Target, seconds: float) -> None:
    def turn() -> None:
        start = datetime.now(UTC) - timedelta(hours=3)
        pings = [a_ping(target, start + timedelta(seconds=number)) for number in range(10_000)]
        exchange(
            target.api, request("POST", "/api/locations", target.attacker.ingest, json.dumps(pings).encode())
        )

    in_threads(4, seconds, turn, per_s=20)


@attack(
    "one phone sends batches of 10,000 pings of the year 2027, and one ping of each month to 2099",
    anonymous=False,
)
def pings_of_the_future(target: Target, seconds: float) -> None:
    months = [datetime(year, month, 1, tzinfo=UTC) for year in range(2027, 2100) for month in range(1, 13)]
    start = datetime(2027, 1, 1, tzinfo=UTC)
    turns = itertools.count()

    def turn() -> None:
        number = next(turns)
        times = [
            start + timedelta(seconds=10_000 * number + one) for one in range(10_000 - len(months))
        ] + months
        body = json.dumps([a_ping(target, one) for one in times]).encode()
        exchange(target.api, request("POST", "/api/locations", target.attacker.ingest, body))

    in_threads(2, seconds, turn, per_s=10)


def a_ping(target: Target, at: datetime) -> dict[str, Any]:
    place = {"latitude": 52.5, "longitude": 13.4}
    return {"person_id": target.attacker.person_id, **place, "creation_time": at.isoformat()}


@attack(
    "100 bodies of 5 MB arrive slowly, with the token of one phone: 40 kB at once, then a byte every 2 s",
    anonymous=False,
)
def slow_uploads(target: Target, seconds: float) -> None:
    first = head("/api/locations", LIMIT, target.attacker.ingest) + b"[" + b" " * 40_000
    trickle([Crowd(target.api, 100, first=first, more=lambda: b" ")], seconds)


@attack("60 bodies of 5 MB, all but the last byte at once, with the token of one phone", anonymous=False)
def uploads_that_never_end(target: Target, seconds: float) -> None:
    first = head("/api/locations", LIMIT, target.attacker.ingest) + b"[" + b" " * (LIMIT - 200)
    trickle([Crowd(target.api, 60, first=first, more=lambda: b" ")], seconds)


@attack("200 idle RecordLocations streams with the token of one phone", anonymous=False)
def idle_senders_with_a_token(target: Target, seconds: float) -> None:
    token = target.attacker.ingest
    connections = [
        Http2(target.locations, GRPC + "RecordLocations", streams=100, token=token) for _ in range(2)
    ]
    hold(connections, seconds)


def main() -> None:
    os.nice(NICE)
    target = Target.from_json(sys.stdin.readline())
    ATTACKS[sys.argv[1]].run(target, float(sys.argv[2]))


if __name__ == "__main__":
    main()
