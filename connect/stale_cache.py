"""A cache that keeps old entries, so that they can be served while their source is away."""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from django.db import InterfaceError, OperationalError, connection

from connect.errors import NeighbourUnavailable

RETRY_S = 2.0  # between two attempts at a source that is away: each attempt may take long

Key = TypeVar("Key")
Value = TypeVar("Value")
Answer = TypeVar("Answer")


def fetch(source: Callable[[], Answer]) -> Answer:
    """Calls a `local:` or remote source. Raises NeighbourUnavailable, also if the database is away."""
    try:
        return source()
    except (OperationalError, InterfaceError) as fault:
        connection.close_if_unusable_or_obsolete()
        raise NeighbourUnavailable("The database is out of reach.") from fault


class StaleCache(Generic[Key, Value]):
    """At most `max_size` entries, each with the time at which it was last known to hold. Thread-safe.

    No entry expires by itself: each read sets the maximum age, for fresh or for stale entries. The oldest
    entry is evicted first.
    """

    def __init__(self, *, max_size: int, clock: Callable[[], float]):
        self._max_size = max_size
        self._clock = clock
        self._entries: dict[Key, tuple[Value, float]] = {}  # oldest first
        self._retry_at = float("-inf")
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get_many(self, keys: Iterable[Key], *, max_age_s: float = float("inf")) -> dict[Key, Value]:
        """The values of those keys that are cached and younger than `max_age_s`."""
        now = self._clock()
        with self._lock:
            found = [(key, self._entries[key]) for key in keys if key in self._entries]
        return {key: value for key, (value, at) in found if now < at + max_age_s}

    def get(self, key: Key, *, max_age_s: float = float("inf")) -> Value | None:
        return self.get_many([key], max_age_s=max_age_s).get(key)

    def replace(self, keys: Iterable[Key], values: Mapping[Key, Value], at: float) -> None:
        """Removes `keys`, then stores `values`: what the source answered about the keys at that time."""
        with self._lock:
            for key in keys:
                self._entries.pop(key, None)
            self._entries |= {key: (value, at) for key, value in values.items()}
            while len(self._entries) > self._max_size:
                del self._entries[next(iter(self._entries))]

    def renew(self, key: Key, at: float) -> None:
        """Notes that an entry holds at that time. It becomes the newest."""
        with self._lock:
            if key in self._entries:
                self._entries[key] = self._entries.pop(key)[0], at

    def fetch(self, source: Callable[[], Answer]) -> Answer:
        """Calls the source. If that raises NeighbourUnavailable, `source_is_away` is true for RETRY_S."""
        try:
            return fetch(source)
        except NeighbourUnavailable:
            self._retry_at = self._clock() + RETRY_S
            raise

    @property
    def source_is_away(self) -> bool:
        return self._clock() < self._retry_at
