"""The load generator of the tests and the bench. It counts every acknowledged ping.

- `Load` is a mixed load of many small clients at constant rates. They do not retry: a failed call
  has failed. With `again` they send pings again that were not accepted.
- `closed_loop` sends requests by REST over kept connections, each as soon as the one before is answered.
- `Stream` sends batches by gRPC, at a constant rate or as fast as they are acknowledged.
"""

import asyncio
import http.client
import itertools
import json
import math
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import grpc
import uvloop

from connect.wire_format import to_microseconds
from grpc_server import locations_pb2 as pb
from grpc_server.converter import add_locations, to_timestamp
from grpc_server.locations_pb2_grpc import LocationServiceStub
from locations.pings import Ping as ValidPing

TIMEOUT_S = 30
BULK = 100
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = "start_date=2026-05-11T10:00:00Z&end_date=2026-05-11T11:00:00Z"
OPTIONS = [("grpc.enable_http_proxy", 0), ("grpc.max_reconnect_backoff_ms", 1000)]
EVERY_S = 5.0  # between two pings of a person who walks
STEP = 2e-5  # degrees that a person walks meanwhile, about

Ping = tuple[int, datetime]  # person and time


@dataclass(frozen=True)
class Call:
    """One answered or failed request: when it began, in seconds of time.monotonic, and how long it took."""

    kind: str
    began: float
    took_s: float
    error: Exception | None

    @property
    def ended(self) -> float:
        return self.began + self.took_s

    @property
    def fault(self) -> str | None:
        return None if self.error is None else f"{self.kind}: {self.error!r}"


class Answered(AssertionError):
    """An answer with another status than the one that was to be expected."""

    def __init__(self, what: str, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(what)
        self.status, self.headers = status, headers


@dataclass
class Noted:
    """What the clients of a load have seen. Appending to a list is safe between threads."""

    calls: list[Call] = field(default_factory=list)
    pings: list[tuple[float, str]] = field(default_factory=list)  # acknowledged: when, and its id

    def call(self, kind: str, ask: Callable[[], None]) -> bool:
        """Whether it succeeded."""
        began, failed = time.monotonic(), None
        try:
            ask()
        except Exception as error:  # noqa: BLE001 - whatever it is, the request has failed
            failed = error
        self.calls.append(Call(kind, began, time.monotonic() - began, failed))
        return failed is None

    def acknowledged(self, *pings: str) -> None:
        self.pings += [(time.monotonic(), ping) for ping in pings]


class Api:
    """A connection to the one address that clients know, kept alive unless told otherwise."""

    def __init__(self, port: int, *, token: str | None = None, keep_alive: bool = True) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        self.token, self.keep_alive = token, keep_alive

    def ask(self, verb: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        try:
            answer = self.begin(verb, path, body)
            content = answer.read()
        except BaseException:
            self.connection.close()
            raise
        if not self.keep_alive:
            self.connection.close()
        if answer.status != status:
            said = f"{verb} {path} answered {answer.status}: {content[:200]!r}"
            raise Answered(said, answer.status, answer.headers)
        return json.loads(content) if content else None

    def begin(self, verb: str, path: str, body: Any = None) -> http.client.HTTPResponse:
        """The answer, still to be read."""
        headers = {"Accept": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        self.connection.request(verb, path, None if body is None else json.dumps(body), headers)
        return self.connection.getresponse()


class Pings:
    """Person and time, never the same twice: each client has days of its own."""

    def __init__(self, client: int, people: list[int], *, again: bool) -> None:
        self.people, self.again = people, again
        self.start = EPOCH + timedelta(days=client, microseconds=time.monotonic_ns() // 1000 % 10**10)
        self.numbers = itertools.count()
        self.not_taken: list[Ping] = []

    def take(self, count: int) -> list[Ping]:
        if len(self.not_taken) == count:
            return self.not_taken
        return [self.next() for _ in range(count)]

    def next(self) -> Ping:
        number = next(self.numbers)
        return self.people[number % len(self.people)], self.start + timedelta(milliseconds=number)

    def sent(self, pings: list[Ping], *, taken: bool) -> None:
        """Those that were not taken are the next again."""
        self.not_taken = pings if self.again and not taken else []


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

    def __init__(
        self,
        api_port: int,
        grpc_port: int,
        people: list[int],
        *,
        token: str | None = None,
        movers: int = 5,
        again: bool = False,
    ) -> None:
        self.api_port, self.grpc_port, self.people, self.again = api_port, grpc_port, people, again
        self.token = token
        self.metadata = [("authorization", f"Bearer {token}")] if token else []
        self.noted = Noted()
        self.movers = [self.new_person(self.api()) for _ in range(movers)]
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
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}", OPTIONS)
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

    def api(self, *, keep_alive: bool = True) -> Api:
        return Api(self.api_port, token=self.token, keep_alive=keep_alive)

    def new_person(self, api: Api) -> int:
        person = {"first_name": "Walter", "last_name": "Walker", "company_name": "On Foot"}
        return int(api.ask("POST", "/api/persons", person, status=201)["id"])

    # --- what one client does in a turn ----------------------------------------------------------

    def people_turn(self, _: int) -> Callable[[], None]:
        api = self.api()

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
        api, pings = self.api(), self.pings(client)

        def turn() -> None:
            (ping,) = pings.take(1)

            def send() -> None:
                self.noted.acknowledged(api.ask("POST", "/api/locations", wire(ping), status=202)["id"])

            pings.sent([ping], taken=self.noted.call("ping", send))

        return turn

    def bulk_turn(self, client: int) -> Callable[[], None]:
        api, pings = self.api(), self.pings(client)

        def turn() -> None:
            batch = pings.take(BULK)

            def send() -> None:
                answer = api.ask("POST", "/api/locations", [*map(wire, batch)], status=202)
                assert answer == {"accepted": BULK}
                self.noted.acknowledged(*map(identity, batch))

            pings.sent(batch, taken=self.noted.call("pings in bulk", send))

        return turn

    def question_turn(self, client: int) -> Callable[[], None]:
        api, chance = self.api(), random.Random(client)

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
        api = self.api(keep_alive=False)
        paths = {
            "locations": "/api/locations?limit=5",
            "person": f"/api/persons/{self.people[0]}",
            "liveness": "/health/live",
        }
        turns = itertools.cycle(paths.items())

        def turn() -> None:
            what, path = next(turns)
            self.noted.call(f"newcomer: {what}", lambda: api.ask("GET", path))

        return turn

    def call_turn(self, client: int) -> Callable[[], None]:
        stub, pings = LocationServiceStub(self.channel), self.pings(client)
        how = {"timeout": TIMEOUT_S, "metadata": self.metadata}

        def turn() -> None:
            (ping,) = pings.take(1)

            def send() -> None:
                self.noted.acknowledged(stub.RecordLocation(message(ping), **how).id)

            pings.sent([ping], taken=self.noted.call("gRPC ping", send))

        return turn

    def batch_turn(self, client: int) -> Callable[[], None]:
        stub, pings = LocationServiceStub(self.channel), self.pings(client)
        how = {"timeout": TIMEOUT_S, "metadata": self.metadata}

        def turn() -> None:
            batch = pings.take(BULK)
            request = pb.RecordLocationsRequest(locations=[*map(message, batch)])

            def send() -> None:
                answers = [*stub.RecordLocations(iter([request]), **how)]
                assert [answer.accepted for answer in answers] == [BULK]
                self.noted.acknowledged(*map(identity, batch))

            pings.sent(batch, taken=self.noted.call("gRPC pings in a stream", send))

        return turn

    def pings(self, client: int) -> Pings:
        return Pings(client, self.movers, again=self.again)


def identity(ping: Ping) -> str:
    return f"{ping[0]}-{to_microseconds(ping[1])}"


def wire(ping: Ping) -> dict[str, Any]:
    return {
        "person_id": ping[0],
        "creation_time": ping[1].isoformat(),
        "latitude": 52.52,
        "longitude": "13.4",
    }


def message(ping: Ping) -> pb.Location:
    return pb.Location(person_id=ping[0], creation_time=to_timestamp(ping[1]), latitude=52.52, longitude=13.4)


# --- requests by REST, one after the other ------------------------------------------------------------------


class Http:
    """One HTTP/1.1 connection at a time; a fresh one for each call unless it is to be kept."""

    def __init__(self, port: int, token: str | None, *, keep: bool, accept: str = "application/json") -> None:
        self.port, self.token, self.keep, self.accept = port, token, keep, accept
        self.reader: Any = None
        self.writer: Any = None

    async def ask(self, verb: str, path: str, body: bytes = b"", *, pause_s: float = 0) -> float:
        """Sends a request and reads its answer; gives when the last byte of the request was sent."""
        try:
            return await self._ask(verb, path, body, pause_s)
        except BaseException:
            self.close()
            raise

    async def _ask(self, verb: str, path: str, body: bytes, pause_s: float) -> float:
        began = time.monotonic()
        if self.writer is None or self.reader.at_eof() or self.writer.is_closing():
            self.close()
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"{verb} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAccept: {self.accept}\r\n"
        if self.token:
            head += f"Authorization: Bearer {self.token}\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        if not self.keep:
            head += "Connection: close\r\n"
        half = len(body) // 2 if pause_s else len(body)
        self.writer.write(head.encode() + b"\r\n" + body[:half])
        if pause_s:
            await asyncio.sleep(pause_s)
            began = time.monotonic()
            self.writer.write(body[half:])
        await self.writer.drain()
        status, headers, content = await self._answer()
        if headers.get("connection", "").lower() == "close" or not self.keep:
            self.close()
        if not 200 <= status < 300:
            raise Answered(f"{verb} {path} answered {status}: {content[:200]!r}", status, headers)
        return began

    async def _answer(self) -> tuple[int, dict[str, str], bytes]:
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding") == "chunked":
            content = b""
            while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                content += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readuntil(b"\r\n")
        elif "content-length" in headers:
            content = await self.reader.readexactly(int(headers["content-length"]))
        else:
            content = await self.reader.read()
            headers["connection"] = "close"
        return int(first.split()[1]), headers, content

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


def closed_loop(
    clients: Sequence[Http], requests: Iterable[tuple[str, str, bytes]], *, lasting_s: float = math.inf
) -> list[float]:
    """Seconds of each request. Every client takes the next one as soon as it has its answer."""
    took, waiting, end = list[float](), iter(requests), time.perf_counter() + lasting_s

    async def client(http: Http) -> None:
        for verb, path, body in waiting:
            if (began := time.perf_counter()) > end:
                break
            await http.ask(verb, path, body)
            took.append(time.perf_counter() - began)
        http.close()

    async def everybody() -> None:
        async with asyncio.TaskGroup() as group:
            for http in clients:
                group.create_task(client(http))

    uvloop.run(everybody())
    return took


# --- batches by gRPC ----------------------------------------------------------------------------------------


def walk(person_ids: Sequence[int], start: datetime) -> Iterator[ValidPing]:
    """Endless pings in the order of time: each person sends one every five seconds, a few steps further."""
    chance = random.Random(0)
    places = [(52.5 + chance.random() / 400, 13.4 + chance.random() / 250) for _ in person_ids]
    steps = [chance.gauss(0, STEP) for _ in range(10_007)]  # a prime, so that nobody repeats a path
    moment, apart = start, timedelta(seconds=EVERY_S / len(person_ids))
    for turn in itertools.count():
        for nth, person_id in enumerate(person_ids):
            taken = turn * len(person_ids) + nth
            latitude, longitude = places[nth]
            places[nth] = latitude + steps[taken % 10_007], longitude + steps[(taken + 5000) % 10_007]
            yield ValidPing(person_id, moment, round(latitude, 7), round(longitude, 7))
            moment += apart


def batches(pings: Iterator[ValidPing], size: int) -> Iterator[pb.RecordLocationsRequest]:
    while batch := list(itertools.islice(pings, size)):
        request = pb.RecordLocationsRequest()
        add_locations(request.locations, batch, with_ids=False)
        yield request


class Stream:
    """A gRPC stream in a thread of its own while it is entered, with at most `per_s` pings per second."""

    def __init__(
        self, address: str, requests: Iterable[pb.RecordLocationsRequest], *, per_s: float = math.inf
    ) -> None:
        self.address, self.requests, self.per_s = address, requests, per_s
        self.taken = 0  # acknowledged pings
        self.late_s = 0.0  # the largest delay behind the rate
        self._ending = threading.Event()

    def __enter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1)
        self._done = self._thread.submit(self._run)
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self.wait()
        self._thread.shutdown()

    def wait(self) -> None:
        """Waits until all requests are acknowledged."""
        self._done.result()

    def _run(self) -> None:
        sent: list[pb.RecordLocationsRequest] = []

        def paced() -> Iterator[pb.RecordLocationsRequest]:
            due = time.monotonic()
            for request in self.requests:
                early_s = due - time.monotonic()
                self.late_s = max(self.late_s, -early_s)
                if self._ending.wait(max(0.0, early_s)) and self.per_s < math.inf:
                    return
                due += len(request.locations) / self.per_s
                sent.append(request)
                yield request

        with grpc.insecure_channel(self.address, OPTIONS) as channel:
            for answer in LocationServiceStub(channel).RecordLocations(paced()):
                request = sent.pop(0)
                if answer.accepted != len(request.locations):
                    raise AssertionError(
                        f"{answer.accepted} of {len(request.locations)} pings were accepted."
                    )
                self.taken += answer.accepted
