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
from tests.load import HOUR, OPTIONS, Http

TIMEOUT_S = 10
SLOW_EVERY = 10  # every tenth phone sends its body in two halves
PAUSE_S = 1.0  # between the two

Turn = Callable[[], Awaitable[None]]


class Clients:
    """All of them in one event loop. A call is its kind, when it began, how long it took, and its fault."""

    def __init__(self, target: Target, seconds: float) -> None:
        self.target, self.chance = target, random.Random(7)
        self.ends = time.monotonic() + seconds
        self.calls: list[tuple[str, float, float, str | None]] = []

    async def run(self) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.target.locations}", OPTIONS) as channel:
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
                    raise AssertionError(f"RecordLocations answered {accepted}")

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
