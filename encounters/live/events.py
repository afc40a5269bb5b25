"""The events of the stream: their ids, who may see them, and their text in `text/event-stream`.

An id begins with the time of the message in milliseconds, so every process can find the place of an id. The
id of an encounter has its partition and offset, too: it is the same at every process.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from connect.wire_format import format_time, parse_instant

People = Mapping[int, dict[str, Any]]  # findable people in wire form, by id
_ID = re.compile(r"(\d{1,15})(-\d{1,9}-\d{1,18})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Filter:
    """The query parameters of a reader. `bounds` (west, south, east, north) may cross the 180th meridian."""

    bounds: tuple[float, float, float, float] | None = None
    person_id: int | None = None

    def wants(self, person_ids: tuple[int, ...], latitude: float, longitude: float) -> bool:
        if self.person_id is not None and self.person_id not in person_ids:
            return False
        if self.bounds is None:
            return True
        west, south, east, north = self.bounds
        inside = west <= longitude <= east if west <= east else longitude >= west or longitude <= east
        return inside and south <= latitude <= north


EVERYTHING = Filter()


class Position(NamedTuple):
    """The newest position of a person in a second, as JSON."""

    person_id: int
    latitude: float
    longitude: float
    text: bytes


@dataclass(slots=True, eq=False)
class Event:
    """Something that happened. `decide` says what of it staff may see; that holds for some seconds."""

    id: str
    time_ms: int
    decided_at: float = field(default=float("-inf"), init=False)
    _text: bytes | None = field(default=None, init=False)  # of EVERYTHING

    @property
    def person_ids(self) -> set[int]:
        raise NotImplementedError

    def decide(self, people: People, now: float) -> None:
        self._text = None
        self.decided_at = now

    def forget(self) -> None:
        """Frees the text; the next reader makes it again."""
        self._text = None
        self.decided_at = float("-inf")

    def text(self, wanted: Filter) -> bytes:
        """For staff; empty if there is nothing that they may see or want. That of EVERYTHING is made once."""
        if wanted is not EVERYTHING:
            return self._encode(wanted)
        if self._text is None:
            self._text = self._encode(wanted)
        return self._text

    def _encode(self, wanted: Filter) -> bytes:
        raise NotImplementedError


@dataclass(slots=True, eq=False)
class Positions(Event):
    """Positions of a moment, one per person. Its id says only until when."""

    positions: dict[int, Position]
    _visible: list[Position] = field(default_factory=list, init=False)

    @property
    def person_ids(self) -> set[int]:
        return set(self.positions)

    def decide(self, people: People, now: float) -> None:
        Event.decide(self, people, now)
        self._visible = [each for each in self.positions.values() if each.person_id in people]

    def _encode(self, wanted: Filter) -> bytes:
        return self._encoded(
            self._visible
            if wanted is EVERYTHING
            else [
                each
                for each in self._visible
                if wanted.wants((each.person_id,), each.latitude, each.longitude)
            ]
        )

    def own_text(self, person_id: int, wanted: Filter) -> bytes:
        """A person's own position, findable or not."""
        own = self.positions.get(person_id)
        if own is None or not wanted.wants((person_id,), own.latitude, own.longitude):
            return b""
        return self._encoded([own])

    def _encoded(self, positions: list[Position]) -> bytes:
        if not positions:
            return b""
        return encode("position", b"[" + b",".join([each.text for each in positions]) + b"]", self.id)


@dataclass(slots=True, eq=False)
class Meeting(Event):
    """An encounter of two people that started or ended, or that was an error (`state` is then None)."""

    a: int
    b: int
    state: str | None
    row: dict[str, Any] = field(default_factory=dict)
    _people: People | None = field(default=None, init=False)

    @property
    def person_ids(self) -> set[int]:
        return {self.a, self.b}

    @property
    def change(self) -> str:
        return "ended" if self.state == "ended" else "started"

    @property
    def start(self) -> datetime:
        return parse_instant(self.row["start"])

    @property
    def end(self) -> datetime:
        return parse_instant(self.row["end"])

    def other(self, person_id: int) -> int:
        return self.b if person_id == self.a else self.a

    def decide(self, people: People, now: float) -> None:
        Event.decide(self, people, now)
        is_visible = self.state is not None and self.a in people and self.b in people
        self._people = {each: people[each] for each in (self.a, self.b)} if is_visible else None

    def _encode(self, wanted: Filter) -> bytes:
        """The row as GET /api/encounters shows it."""
        if self._people is None:
            return b""
        row, people = self.row, self._people
        if not wanted.wants((self.a, self.b), float(row["latitude"]), float(row["longitude"])):
            return b""
        fields = {name: value for name, value in row.items() if name != "person_ids"}
        return self.encoded({"persons": [people[self.a], people[self.b]], **fields})

    def encoded(self, encounter: dict[str, Any]) -> bytes:
        return encode("encounter", orjson.dumps({"change": self.change, "encounter": encounter}), self.id)


def encode(kind: str, data: bytes, event_id: str = "") -> bytes:
    """One event of a stream; the data has no line break."""
    first = f"id: {event_id}\n" if event_id else ""
    return f"{first}event: {kind}\ndata: ".encode() + data + b"\n\n"


def heartbeat() -> bytes:
    return encode("heartbeat", orjson.dumps({"time": format_time(datetime.now(UTC))}))


def time_of(event_id: str) -> int | None:
    """The milliseconds of an id; None if it is none."""
    match = _ID.fullmatch(event_id)
    return int(match[1]) if match else None
