"""Pings in any number, and the clients that hand them in at the doors as fast as told or as it goes."""

import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Self

import grpc

from grpc_server import locations_pb2 as pb
from grpc_server.converter import add_locations
from grpc_server.locations_pb2_grpc import LocationServiceStub
from locations.pings import Ping

EVERY_S = 5.0  # from a person's ping to the next
STEP = 2e-5  # degrees of latitude or longitude that a person walks meanwhile, about


def walk(person_ids: Sequence[int], start: datetime) -> Iterator[Ping]:
    """Without end, in the order in which they would come in: everybody every five seconds, a few steps on."""
    chance = random.Random(0)  # noqa: S311 - the same walk in each run
    places = [(52.5 + chance.random() / 400, 13.4 + chance.random() / 250) for _ in person_ids]
    steps = [chance.gauss(0, STEP) for _ in range(10_007)]  # a prime: everybody has others each time
    moment, apart = start, timedelta(seconds=EVERY_S / len(person_ids))
    taken = 0
    while True:
        for nth, person_id in enumerate(person_ids):
            latitude, longitude = places[nth]
            places[nth] = (
                latitude + steps[taken % 10_007],
                longitude + steps[(taken + 5000) % 10_007],
            )
            yield Ping(person_id, moment, round(latitude, 7), round(longitude, 7))
            moment += apart
            taken += 1


def batches(pings: Iterator[Ping], size: int) -> Iterator[list[Ping]]:
    while batch := list(islice(pings, size)):
        yield batch


def request(pings: Sequence[Ping]) -> pb.RecordLocationsRequest:
    made = pb.RecordLocationsRequest()
    add_locations(made.locations, pings, with_ids=False)
    return made


# --- gRPC ----------------------------------------------------------------------------------------


def send(address: str, requests: Sequence[pb.RecordLocationsRequest]) -> float:
    """Locations per second, acknowledged: two streams, so that the door never waits for its client."""

    def stream(nth: int) -> int:
        with grpc.insecure_channel(address) as channel:
            answers = LocationServiceStub(channel).RecordLocations(iter(requests[nth::2]))
            return sum(answer.accepted for answer in answers)

    begun = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        taken = sum(pool.map(stream, range(2)))
    took = time.perf_counter() - begun
    expected = sum(len(each.locations) for each in requests)
    if taken != expected:
        raise RuntimeError(f"Of {expected:,} pings {taken:,} were taken.")
    return taken / took


@dataclass
class Stream:
    """Hands batches in at a constant rate while it is entered. `taken` grows with each acknowledgement."""

    address: str
    pings: Iterator[Ping]
    per_s: float
    size: int
    acknowledged: Callable[[Ping], None] = lambda _: None  # called with the last ping of each batch
    taken: int = 0
    late_s: float = 0.0  # how far the sending is behind its rate, at most
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1)
        self._done = self._thread.submit(self._run)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._done.result()
        self._thread.shutdown()

    def _run(self) -> None:
        last: list[Ping] = []

        def requests() -> Iterator[pb.RecordLocationsRequest]:
            begun = time.monotonic()
            for nth, batch in enumerate(batches(self.pings, self.size)):
                early = begun + nth * self.size / self.per_s - time.monotonic()
                self.late_s = max(self.late_s, -early)
                if self._over.wait(max(0.0, early)):
                    return
                last.append(batch[-1])
                yield request(batch)

        with grpc.insecure_channel(self.address) as channel:
            answers = LocationServiceStub(channel).RecordLocations(requests())
            for nth, answer in enumerate(answers):
                self.taken += answer.accepted
                self.acknowledged(last[nth])


# --- REST ----------------------------------------------------------------------------------------


def wire(pings: Sequence[Ping]) -> bytes:
    """A POST of a ping, or of the array where there are more."""
    items = [{name: value for name, value in ping.to_wire().items() if name != "id"} for ping in pings]
    body = json.dumps(items if len(items) > 1 else items[0]).encode()
    head = "POST /api/locations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def post(port: int, requests: Sequence[bytes], *, connections: int = 8) -> float:
    """Requests per second of so many clients, each with a connection that it keeps.

    By plain sockets: an HTTP library would take more of the machine than the server that is measured.
    """

    def client(nth: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            for each in requests[nth::connections]:
                connection.sendall(each)
                answer = _answer(connection)
                if not answer.startswith(b"HTTP/1.1 202 "):
                    raise RuntimeError(answer[:500].decode(errors="replace"))

    begun = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(client, range(connections)))
    return len(requests) / (time.perf_counter() - begun)


def _answer(connection: socket.socket) -> bytes:
    found = b""
    while (end := found.find(b"\r\n\r\n")) < 0:
        if not (more := connection.recv(65536)):
            raise RuntimeError("The connection was closed.")
        found += more
    length = int(found[:end].lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    while len(found) < end + 4 + length:
        found += connection.recv(65536)
    return found
