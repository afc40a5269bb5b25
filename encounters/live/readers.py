"""One reader of the stream, in the event loop. Its place is a number of the ring, so it has no queue."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from access.callers import Caller
from connect.errors import NeighbourUnavailable
from connect.responses import PIECE
from encounters.live.events import EVERYTHING, Filter, heartbeat
from encounters.live.hub import Hub, hub

Write = Callable[[bytes], Awaitable[None]]

HEARTBEAT_S = 15.0
LIFETIME_S = 600.0  # then the client resumes, perhaps at a newer process
AT_MOST = 50  # events in one piece, and no more after PIECE bytes
BEGIN = b"retry: 2000\n\n"  # milliseconds until the client comes back


@dataclass(frozen=True, slots=True)
class Subscription:
    """`last_id` and its time in milliseconds are those of the last event that the client has.

    `still_valid` asks whether the caller's token or session still holds; it may raise NeighbourUnavailable.
    """

    caller: Caller
    wanted: Filter
    last_id: str
    last_ms: int | None
    still_valid: Callable[[], bool]


class Reader:
    """Sends what staff may see."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._wanted = EVERYTHING if subscription.wanted == EVERYTHING else subscription.wanted
        self._next: int | None = None  # the number of the next event
        self._began_ms = int(time.time() * 1000)
        self._hub: Hub

    async def follow(self, write: Write) -> None:
        """Writes until the stream has to end. Raises NeighbourUnavailable if there are too many readers."""
        self._hub = hub()
        with self._hub.admitted(self._subscription.caller):
            if self._hub.is_filled and self._subscription.last_ms is None:
                self._next = self._hub.ring.end
            await write(BEGIN)
            now = time.monotonic()
            ends_at, beat_at = now + LIFETIME_S, now + HEARTBEAT_S
            while (now := time.monotonic()) < ends_at:
                if now >= beat_at:
                    beat_at += HEARTBEAT_S
                    if not await self._is_valid():
                        return
                    await write(heartbeat())
                news = self._hub.news
                sent = await self._send(write) if self._hub.is_filled else False
                if sent is None:  # too slow: the events are gone
                    return
                if not sent:
                    await _wait(news, min(beat_at, ends_at, self._due_at()) - time.monotonic())

    async def _is_valid(self) -> bool:
        """While the caller cannot be identified, the names of people cannot be known either."""
        try:
            return await self._hub.lookups.run(self._subscription.still_valid)
        except NeighbourUnavailable:
            return True

    def _place(self) -> int:
        if self._next is None:
            last_ms = self._subscription.last_ms
            if last_ms is None:
                self._next = self._hub.ring.number_from(self._began_ms)
            else:
                self._next = self._hub.ring.number_after(self._subscription.last_id, last_ms)
        return self._next

    async def _send(self, write: Write) -> bool | None:
        """Whether there were events; None if the next ones are gone."""
        place = self._place()
        events = self._hub.ring.after(place, at_most=AT_MOST)
        if not events:
            return None if events is None else False
        try:
            await self._hub.decide(events)
        except NeighbourUnavailable:
            return False
        texts: list[bytes] = []
        size = 0
        for event in events:
            texts.append(event.text(self._wanted))
            size += len(texts[-1])
            if size >= PIECE:
                break
        self._next = place + len(texts)
        if size:
            await write(b"".join(texts))
        return True

    def _due_at(self) -> float:
        """When there is something to do without an event."""
        return float("inf")


async def _wait(news: asyncio.Event, at_most_s: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, at_most_s)):
            await news.wait()
    except TimeoutError:
        return
