"""The legitimate clients of an event: phones behind one address, people who ask, and gRPC clients.

`python -m tests.attacks.clients SECONDS < target.json` runs them and prints every call as JSON. They have a
process of their own, so that nothing but the system delays them. No call is repeated: a failed call has
failed.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import grpc

from grpc_server import locations_pb2 as pb
from grpc_server.locations_pb2_grpc import LocationServiceStub
from tests.attacks.target import FIRST_SIMULATED, SIMULATED, Holder, Target

TIMEOUT_S = 10
SLOW_EVERY = 10  # every tenth phone sends its body in two halves
PAUSE_S = 1.0  # between the two
HOUR = "start_date=2026-05-11T10:00:00Z&end_date=2026-05-11T11:00:00Z"

Turn = Callable[[], Awaitable[None]]


class Refused(Exception):
    """An answer with another status than the expected one."""


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
        status, closes, content = await self._answer()
        if closes or not self.keep:
            self.close()
        if not 200 <= status < 300:
            raise Refused(f"{verb} {path} answered {status}: {content[:200]!r}")
        return began

    async def _answer(self) -> tuple[int, bool, bytes]:
        """The status, whether the connection ends, and the body."""
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        closes = headers.get("connection", "").lower() == "close"
        if headers.get("transfer-encoding") == "chunked":
            content = b""
            while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                content += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readuntil(b"\r\n")
        elif "content-length" in headers:
            content = await self.reader.readexactly(int(headers["content-length"]))
        else:
            closes, content = True, await self.reader.read()
        return int(first.split()[1]), closes, content

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


class Clients:
    """All of them in one event loop. A call is its kind, when it began, how long it took, and its fault."""

    def __init__(self, target: Target, seconds: float) -> None:
        self.target, self.chance = target, random.Random(7)
        self.ends = time.monotonic() + seconds
        self.calls: list[tuple[str, float, float, str | None]] = []

    async def run(self) -> None:
        options = [("grpc.enable_http_proxy", 0), ("grpc.max_reconnect_backoff_ms", 1000)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.target.locations}", options) as channel:
            stub = LocationServiceStub(channel)
            turns = [self.phone(number, one) for number, one in enumerate(self.target.phones)]
            *senders, gateway = self.target.grpc_phones
            turns += [self.grpc_phone(stub, one) for one in senders]
            turns += [self.gateway(stub, gateway)]
            turns += [self.page, self.staff, self.staff, self.attendee, self.persons_direct]
            turns += [self.grpc_question(stub)]
            async with asyncio.TaskGroup() as group:
                for turn in turns:
                    group.create_task(self.every_second(turn))

    async def every_second(self, turn: Turn) -> None:
        """One turn a second, whether or not those before have ended: a hang fails all of them."""
        due = time.monotonic() + self.chance.random()
        async with asyncio.TaskGroup() as turns:
            while due < self.ends:
                await asyncio.sleep(max(0, due - time.monotonic()))
                turns.create_task(turn())
                due += 1

    async def call(self, kind: str, ask: Callable[[], Awaitable[float | None]]) -> None:
        began, fault = time.monotonic(), None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                began = await ask() or began
        except grpc.aio.AioRpcError as error:
            fault = f"{error.code().name}: {error.details()}"
        except Exception as error:  # noqa: BLE001 - whatever it is, the call has failed
            fault = repr(error)
        self.calls.append((kind, began, time.monotonic() - began, fault))

    # --- the turns -------------------------------------------------------------------------------

    def phone(self, number: int, holder: Holder) -> Turn:
        keep = number % 2 == 0
        kept: list[Http] = []
        pause_s = PAUSE_S if number % SLOW_EVERY == 0 else 0.0

        async def turn() -> None:
            ping = {
                "person_id": holder.person_id,
                "latitude": 52.52,
                "longitude": "13.4",
                "creation_time": now(),
            }
            body = json.dumps(ping).encode()
            http = kept.pop() if kept else Http(self.target.api, holder.ingest, keep=keep)
            await self.call("ping", lambda: http.ask("POST", "/api/locations", body, pause_s=pause_s))
            if keep:
                kept.append(http)

        return turn

    def grpc_phone(self, stub: Any, holder: Holder) -> Turn:
        async def turn() -> None:
            ping = pb.Location(person_id=holder.person_id, latitude=52.52, longitude=13.4)
            ping.creation_time.GetCurrentTime()

            async def record() -> None:
                await stub.RecordLocation(ping, metadata=bearer(holder.ingest), timeout=TIMEOUT_S)

            await self.call("gRPC ping", record)

        return turn

    def gateway(self, stub: Any, holder: Holder) -> Turn:
        """Sends a batch in a stream."""

        async def turn() -> None:
            batch = pb.RecordLocationsRequest()
            ping = batch.locations.add(person_id=holder.person_id, latitude=52.52, longitude=13.4)
            ping.creation_time.GetCurrentTime()

            async def record() -> None:
                shown = bearer(holder.ingest)
                answers = stub.RecordLocations(iter([batch]), metadata=shown, timeout=TIMEOUT_S)
                accepted = [answer.accepted async for answer in answers]
                if accepted != [1]:
                    raise Refused(f"RecordLocations answered {accepted}")

            await self.call("gRPC ping", record)

        return turn

    async def page(self) -> None:
        http = Http(self.target.app, None, keep=False, accept="text/html")
        await self.call("page", lambda: http.ask("GET", "/"))

    async def staff(self) -> None:
        http = Http(self.target.api, self.target.staff, keep=False)
        one = FIRST_SIMULATED + self.chance.randrange(SIMULATED)
        await self.call("question", lambda: http.ask("GET", f"/api/persons/{one}/encounters?{HOUR}"))
        await self.call("question", lambda: http.ask("GET", "/api/persons?limit=20"))

    async def attendee(self) -> None:
        asker = self.target.asker
        http = Http(self.target.api, asker.person, keep=False)
        await self.call(
            "question", lambda: http.ask("GET", f"/api/persons/{asker.person_id}/encounters?{HOUR}")
        )
        await self.call("question", lambda: http.ask("GET", f"/api/persons/{asker.person_id}"))

    async def persons_direct(self) -> None:
        http = Http(self.target.persons, self.target.staff, keep=False)
        await self.call("question", lambda: http.ask("GET", "/api/persons?limit=20"))

    def grpc_question(self, stub: Any) -> Turn:
        shown = bearer(self.target.staff)
        start, end = (datetime(2026, 5, 11, hour, tzinfo=UTC) for hour in (10, 11))

        async def turn() -> None:
            async def encounters() -> None:
                asked = pb.FindEncountersRequest(person_id=FIRST_SIMULATED, start=start, end=end)
                async for _ in stub.FindEncounters(asked, metadata=shown, timeout=TIMEOUT_S):
                    pass

            async def locations() -> None:
                asked = pb.ListLocationsRequest(limit=20)
                async for _ in stub.ListLocations(asked, metadata=shown, timeout=TIMEOUT_S):
                    pass

            await self.call("gRPC question", encounters)
            await self.call("gRPC question", locations)

        return turn


def now() -> str:
    return datetime.now(UTC).isoformat()


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


def main() -> None:
    clients = Clients(Target.from_json(sys.stdin.read()), float(sys.argv[1]))
    asyncio.run(clients.run())
    json.dump(clients.calls, sys.stdout)


if __name__ == "__main__":
    main()
