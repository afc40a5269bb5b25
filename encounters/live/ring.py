"""The events of the last minutes, in the order in which this process learnt them. For one thread only."""

from collections import deque
from collections.abc import Iterable
from itertools import islice

from encounters.live.events import Event, Positions

KEEP_MS = 5 * 60 * 1000
MAX_POSITIONS = 400_000  # some 300 bytes each
# Partitions are read one after the other, and clocks differ: another process may have sent first what this
# one sends later. Events of so long before an unknown id are sent again.
OVERLAP_MS = 30_000
TEXTS_MS = 10_000  # readers who keep up need no older text


class Ring:
    """Each event has a number; the numbers have no gaps."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._first = 0
        self._positions = 0
        self._numbers: dict[str, int] = {}
        self._texts_until = 0

    @property
    def first(self) -> int:
        """The number of the oldest event."""
        return self._first

    @property
    def end(self) -> int:
        """The number of the next event."""
        return self._first + len(self._events)

    def extend(self, events: Iterable[Event], now_ms: int) -> None:
        for event in events:
            self._numbers[event.id] = self.end
            self._events.append(event)
            self._positions += _size(event)
        while self._events and (
            self._events[0].time_ms < now_ms - KEEP_MS or self._positions > MAX_POSITIONS
        ):
            event = self._events.popleft()
            self._positions -= _size(event)
            if self._numbers[event.id] == self._first:
                del self._numbers[event.id]
            self._first += 1
        self._forget_texts(now_ms - TEXTS_MS)

    def _forget_texts(self, before_ms: int) -> None:
        self._texts_until = max(self._texts_until, self._first)
        while self._texts_until < self.end:
            event = self._events[self._texts_until - self._first]
            if event.time_ms >= before_ms:
                return
            event.forget()
            self._texts_until += 1

    def after(self, number: int, *, at_most: int) -> list[Event] | None:
        """The events from this number on; None if they are gone."""
        if number < self._first:
            return None
        if number == self.end:
            return []
        first = number - self._first
        return list(islice(self._events, first, first + at_most))

    def number_after(self, event_id: str, time_ms: int) -> int:
        """The number from which a reader resumes whose last event had this id and time."""
        if event_id in self._numbers:
            return self._numbers[event_id] + 1
        return self.number_from(time_ms - OVERLAP_MS)

    def number_from(self, time_ms: int) -> int:
        """The number of the first event of this time or later."""
        for index, event in enumerate(self._events):
            if event.time_ms >= time_ms:
                return self._first + index
        return self.end


def _size(event: Event) -> int:
    return len(event.positions) if isinstance(event, Positions) else 4  # some 1.2 kB
