"""What the readers of a process share: the events, the limits, the threads. For the event loop only."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar
from weakref import WeakValueDictionary

from django.conf import settings

from access.callers import Caller, Kind
from connect.errors import NeighbourUnavailable
from encounters.live import people
from encounters.live.events import Event
from encounters.live.feed import Feed
from encounters.live.ring import Ring

MAX_READERS = 4000  # in one process
MAX_READERS_OF_CALLER = 50
MAX_READERS_OF_PERSON = 5
ASK_EVERY_S = 5.0  # questions of one person
THREADS = 4  # of a lane
RETRY_S = 2.0

Answer = TypeVar("Answer")


class Lane:
    """Threads that call a neighbour. After one call has failed, those that wait fail for a while, too."""

    def __init__(self, name: str) -> None:
        self._threads = ThreadPoolExecutor(THREADS, name)
        self._retry_at = 0.0

    async def run(self, work: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._call, work)

    def _call(self, work: Callable[[], Answer]) -> Answer:
        if time.monotonic() < self._retry_at:
            raise NeighbourUnavailable("It was out of reach a moment ago.")
        try:
            return work()
        except NeighbourUnavailable:
            self._retry_at = time.monotonic() + RETRY_S
            raise


class Pace:
    """When the next question about a person may be asked, by any of their readers."""

    def __init__(self) -> None:
        self.next_at = 0.0


class Hub:
    """It starts to read the topics when it is made: for the first reader."""

    def __init__(self) -> None:
        self.ring = Ring()
        self.is_filled = False
        self.news = asyncio.Event()  # another one after each publication
        self._loop = asyncio.get_running_loop()
        self._readers: Counter[str] = Counter()
        self._deciding = asyncio.Lock()
        self._paces: WeakValueDictionary[int, Pace] = WeakValueDictionary()
        self.lookups = Lane("live-lookup")  # of people and callers, at persons
        self.questions = Lane("live-question")  # at locations
        Feed(self._publish_later).start()

    def _publish_later(self, events: list[Event]) -> None:
        self._loop.call_soon_threadsafe(self._publish, events)

    def _publish(self, events: list[Event]) -> None:
        self.is_filled = True
        self.ring.extend(events, int(time.time() * 1000))
        news, self.news = self.news, asyncio.Event()
        news.set()

    @contextmanager
    def admitted(self, caller: Caller) -> Iterator[None]:
        """Counts a reader. Raises NeighbourUnavailable if there are too many."""
        limit = MAX_READERS_OF_PERSON if caller.kind is Kind.PERSON else MAX_READERS_OF_CALLER
        is_over = settings.ACCESS == "tokens" and self._readers[caller.name] >= limit
        if is_over or self._readers.total() >= MAX_READERS:
            raise NeighbourUnavailable("There are too many readers.")
        self._readers[caller.name] += 1
        try:
            yield
        finally:
            self._readers[caller.name] -= 1
            if not self._readers[caller.name]:
                del self._readers[caller.name]

    async def decide(self, events: Sequence[Event]) -> None:
        """Decides what staff may see of these events. Raises NeighbourUnavailable."""
        if all(map(people.is_decided, events)):
            return
        async with self._deciding:
            now = time.monotonic()
            # Of all of them: those that are still decided may not be when the answer has come.
            found = await self.lookups.run(lambda: people.findable(people.ids_of(events)))
            for event in events:
                event.decide(found, now)

    def pace(self, person_id: int) -> Pace:
        pace = self._paces.get(person_id)
        if pace is None:
            pace = self._paces[person_id] = Pace()
        return pace


_hub: Hub | None = None


def hub() -> Hub:
    """The one of this process."""
    global _hub  # noqa: PLW0603 - made for the first reader
    if _hub is None:
        _hub = Hub()
    return _hub
