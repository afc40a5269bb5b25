"""The process of live events, its readers, and messages for it."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.client import HTTPConnection, HTTPException
from types import TracebackType
from typing import Any, Self

import numpy as np
from django.conf import settings

from connect.wire_format import to_microseconds
from encounters.messages import Publisher
from encounters.rows import ENCOUNTER, Rows
from tests.gunicorn_server import Server, until


def live_server(**environ: str) -> Server:
    """One worker, with short times for slow readers and between heartbeats."""
    given = {
        "ACCESS": "open",
        "SERVED_APPS": "live,connections",
        "SECRET_KEY": "k" * 50,
        "WEB_WORKERS": "1",
        "PINGS_URL": settings.PINGS_URL,
        "KAFKA_TOPIC": settings.KAFKA_TOPIC,
        "KAFKA_ENCOUNTERS_TOPIC": settings.KAFKA_ENCOUNTERS_TOPIC,
    }
    return Server(config="python:tests.gunicorn_short_timeouts", **given | environ)


@dataclass(frozen=True)
class Event:
    kind: str
    data: Any
    id: str = ""


@dataclass
class Client:
    """Reads a stream in a thread from entry to exit."""

    server: Server
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    has_ended: bool = False  # properly, by the server

    def __enter__(self) -> Self:
        self._connection = HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        self._connection.request("GET", f"/api/live{self.query}", headers=self.headers)
        self.answer = self._connection.getresponse()
        if self.answer.status != 200:
            raise AssertionError((self.answer.status, self.answer.read()))
        assert self.answer.readline() == b"retry: 2000\n"
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if (sock := self._connection.sock) is not None:
            sock.shutdown(2)
        self._connection.close()
        self._thread.join(20)

    def _read(self) -> None:
        fields: dict[str, str] = {}
        try:
            while line := self.answer.readline():
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif fields:
                    data = json.loads(fields["data"])
                    self.events.append(Event(fields["event"], data, fields.get("id", "")))
                    fields = {}
            self.has_ended = self.answer.isclosed()
        except (OSError, HTTPException, AttributeError, ValueError):  # closed, here or there
            return

    def of(self, kind: str) -> list[Event]:
        return [each for each in self.events if each.kind == kind]

    @property
    def encounters(self) -> list[Any]:
        return [each.data for each in self.of("encounter")]

    @property
    def positions(self) -> list[Any]:
        return [each for event in self.of("position") for each in event.data]

    @property
    def last_id(self) -> str:
        return next(each.id for each in reversed(self.events) if each.id)

    def until_encounters(self, number: int) -> list[Any]:
        until(lambda: len(self.encounters) >= number)
        return self.encounters

    def until_people(self, *person_ids: int) -> None:
        """Until there are positions of all these people."""
        until(lambda: {*person_ids} <= {each["person_id"] for each in self.positions})


def row(
    a: int,
    b: int,
    start: datetime,
    seconds: float,
    *,
    ongoing: bool = False,
    latitude: float = 52.52,
    longitude: float = 13.405,
) -> Rows:
    begin, end = (to_microseconds(start + timedelta(seconds=each)) for each in (0, seconds))
    place = (latitude, longitude)
    return np.array([(begin, a, b, end, end, 3, 4, 1.25, *place, *place, ongoing)], ENCOUNTER)


NOTHING = np.empty(0, ENCOUNTER)


def teller() -> Callable[[Rows], None]:
    """A function that sends rows to the topic of encounters."""
    publisher = Publisher()
    return lambda rows: publisher.tell(NOTHING, rows)
