"""A constant mixed load as many small clients make it, none of which asks twice: what fails has failed."""

import http.client
import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import grpc

from connect.wire import to_microseconds
from grpc_server import locations_pb2 as pb
from grpc_server.locations_pb2_grpc import LocationServiceStub
from grpc_server.messages import to_timestamp

TIMEOUT_S = 30
BULK = 100
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = "start_date=2026-05-11T10:00:00Z&end_date=2026-05-11T11:00:00Z"


@dataclass(frozen=True)
class Call:
    """One answered or failed request: when it began, in seconds of time.monotonic, and how long it took."""

    kind: str
    began: float
    took_s: float
    fault: str | None


@dataclass
class Noted:
    """What the clients of a load have seen. Appending to a list is safe between threads."""

    calls: list[Call] = field(default_factory=list)
    pings: list[tuple[float, str]] = field(default_factory=list)  # acknowledged: when, and its id

    def call(self, kind: str, ask: Callable[[], None]) -> None:
        began, fault = time.monotonic(), None
        try:
            ask()
        except Exception as error:  # noqa: BLE001 - whatever it is, the request has failed
            fault = f"{kind}: {error!r}"
        self.calls.append(Call(kind, began, time.monotonic() - began, fault))

    def acknowledged(self, *pings: str) -> None:
        self.pings += [(time.monotonic(), ping) for ping in pings]


class Api:
    """A connection to the one address that clients know, kept alive unless told otherwise."""

    def __init__(self, port: int, *, keep_alive: bool = True) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        self.keep_alive = keep_alive

    def ask(self, verb: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            self.connection.request(verb, path, None if body is None else json.dumps(body), headers)
            answer = self.connection.getresponse()
            content = answer.read()
        except BaseException:
            self.connection.close()
            raise
        if not self.keep_alive:
            self.connection.close()
        if answer.status != status:
            raise AssertionError(f"{verb} {path} answered {answer.status}: {content[:200]!r}")
        return json.loads(content) if content else None


class Client(threading.Thread):
    """Does its turn again and again, at most so many times a second, until it is told to stop."""

    def __init__(self, turn: Callable[[], None], per_s: float) -> None:
        super().__init__(daemon=True)
        self.turn, self.every_s = turn, 1 / per_s
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            next_turn = time.monotonic() + self.every_s
            self.turn()
            self.stopping.wait(max(0, next_turn - time.monotonic()))

    def stop(self) -> None:
        self.stopping.set()
        self.join(2 * TIMEOUT_S)


class Load:
    """Everything that clients of Connect do, at the ports of one system. A context: it runs inside."""

    def __init__(self, api_port: int, grpc_port: int, people: list[int]) -> None:
        self.api_port, self.grpc_port, self.people = api_port, grpc_port, people
        self.noted = Noted()
        self.movers = [self.new_person(Api(api_port)) for _ in range(5)]
        self.clients: list[Client] = []
        self.callers: list[Client] = []
        self.channel: grpc.Channel | None = None

    def __enter__(self) -> Self:
        turns = [
            (self.people_turn, 5),
            (self.people_turn, 5),
            (self.single_turn, 20),
            (self.bulk_turn, 2),
            (self.question_turn, 2),
            (self.question_turn, 2),
            (self.newcomer_turn, 10),
        ]
        self.clients = [Client(turn(number), per_s) for number, (turn, per_s) in enumerate(turns)]
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_calls()
        for client in self.clients:
            client.stop()

    def start_calls(self) -> None:
        """The clients that speak gRPC, for as long as somebody answers them."""
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}")
        self.callers = [Client(self.call_turn(100), 10), Client(self.batch_turn(101), 2)]
        for caller in self.callers:
            caller.start()

    def stop_calls(self) -> None:
        for caller in self.callers:
            caller.stop()
        self.callers = []
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    def new_person(self, api: Api) -> int:
        person = {"first_name": "Walter", "last_name": "Walker", "company_name": "On Foot"}
        return int(api.ask("POST", "/api/persons", person, status=201)["id"])

    # --- what one client does in a turn ----------------------------------------------------------

    def people_turn(self, _: int) -> Callable[[], None]:
        api = Api(self.api_port)

        def turn() -> None:
            def read() -> None:
                assert len(api.ask("GET", "/api/persons?limit=20")) == 20

            def write() -> None:
                path = f"/api/persons/{self.new_person(api)}"
                api.ask("PATCH", path, {"company_name": "Afoot"})
                assert api.ask("GET", path)["company_name"] == "Afoot"
                api.ask("DELETE", path, status=204)
                api.ask("GET", path, status=404)

            self.noted.call("people read", read)
            self.noted.call("people written", write)

        return turn

    def single_turn(self, client: int) -> Callable[[], None]:
        api, pings = Api(self.api_port), self.pings(client)

        def turn() -> None:
            ping = next(pings)

            def send() -> None:
                self.noted.acknowledged(api.ask("POST", "/api/locations", wire(ping), status=202)["id"])

            self.noted.call("ping", send)

        return turn

    def bulk_turn(self, client: int) -> Callable[[], None]:
        api, pings = Api(self.api_port), self.pings(client)

        def turn() -> None:
            batch = [*itertools.islice(pings, BULK)]

            def send() -> None:
                answer = api.ask("POST", "/api/locations", [*map(wire, batch)], status=202)
                assert answer == {"accepted": BULK}
                self.noted.acknowledged(*map(identity, batch))

            self.noted.call("pings in bulk", send)

        return turn

    def question_turn(self, client: int) -> Callable[[], None]:
        api, chance = Api(self.api_port), random.Random(client)

        def turn() -> None:
            person = chance.choice(self.people)

            def connection() -> None:
                api.ask("GET", f"/api/persons/{person}/connection?{HOUR}&within=60&limit=50")

            def encounters() -> None:
                api.ask("GET", f"/api/persons/{person}/encounters?{HOUR}")

            self.noted.call("connection", connection)
            self.noted.call("encounters", encounters)

        return turn

    def newcomer_turn(self, _: int) -> Callable[[], None]:
        """Every call on a connection of its own."""
        api = Api(self.api_port, keep_alive=False)
        paths = itertools.cycle(["/api/locations?limit=5", f"/api/persons/{self.people[0]}", "/health/ready"])
        return lambda: self.noted.call("newcomer", lambda: api.ask("GET", next(paths)))

    def call_turn(self, client: int) -> Callable[[], None]:
        stub, pings = LocationServiceStub(self.channel), self.pings(client)

        def turn() -> None:
            ping = next(pings)
            self.noted.call(
                "gRPC ping",
                lambda: self.noted.acknowledged(stub.RecordLocation(message(ping), timeout=TIMEOUT_S).id),
            )

        return turn

    def batch_turn(self, client: int) -> Callable[[], None]:
        stub, pings = LocationServiceStub(self.channel), self.pings(client)

        def turn() -> None:
            batch = [*itertools.islice(pings, BULK)]
            request = pb.RecordLocationsRequest(locations=[*map(message, batch)])

            def send() -> None:
                answers = [*stub.RecordLocations(iter([request]), timeout=TIMEOUT_S)]
                assert [answer.accepted for answer in answers] == [BULK]
                self.noted.acknowledged(*map(identity, batch))

            self.noted.call("gRPC pings in a stream", send)

        return turn

    def pings(self, client: int) -> Iterator[tuple[int, datetime]]:
        """Person and time, never the same twice: each client has days of its own."""
        start = EPOCH + timedelta(days=client, microseconds=time.monotonic_ns() // 1000 % 10**10)
        for number in itertools.count():
            yield self.movers[number % len(self.movers)], start + timedelta(milliseconds=number)


def identity(ping: tuple[int, datetime]) -> str:
    return f"{ping[0]}-{to_microseconds(ping[1])}"


def wire(ping: tuple[int, datetime]) -> dict[str, Any]:
    return {
        "person_id": ping[0],
        "creation_time": ping[1].isoformat(),
        "latitude": 52.52,
        "longitude": "13.4",
    }


def message(ping: tuple[int, datetime]) -> pb.Location:
    return pb.Location(person_id=ping[0], creation_time=to_timestamp(ping[1]), latitude=52.52, longitude=13.4)
