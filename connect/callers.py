"""Who calls, and what they may: one set of rules for every door.

With ACCESS=open nobody is told apart and everybody may do everything. With ACCESS=tokens a caller shows a
token, or, staff in a browser, a session. Who is meant the seam says (connect.neighbours.access), because not
every process has the database that tokens are in.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from connect import neighbours
from connect.neighbours import NeighbourUnavailable


class Kind(StrEnum):
    OPEN = "open"  # anybody, with ACCESS=open
    INGEST = "ingest"  # devices that send pings, of one person or of an event's people
    PERSON = "person"  # reads what is its own
    SERVICE = "service"  # another process of Connect
    STAFF = "staff"


# Who may make a call. What a caller may see in the answer the use cases say: connections.services and
# locations.use_cases.
SENDERS = frozenset({Kind.INGEST, Kind.SERVICE, Kind.STAFF})
READERS = frozenset({Kind.PERSON, Kind.SERVICE, Kind.STAFF})
OWNERS = frozenset({Kind.PERSON, Kind.STAFF})  # what is a person's own affair
EDITORS = frozenset({Kind.STAFF})
PROCESSES = frozenset({Kind.SERVICE})
ANYBODY = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class Caller:
    """`people` are the first and last id of those whom it speaks for, None: everybody. `until` is when that
    ends, in seconds since 1970."""

    kind: Kind
    name: str
    people: tuple[int, int] | None = None
    until: float | None = None

    def may(self, kinds: frozenset[Kind]) -> bool:
        return self.kind is Kind.OPEN or self.kind in kinds

    def speaks_for(self, person_id: int) -> bool:
        """Whether it may send this person's pings, if it sends, or see where they were, if it reads."""
        return self.people is None or self.people[0] <= person_id <= self.people[1]

    @property
    def person_id(self) -> int | None:
        """Of one who is a person; None for those who read of everybody."""
        return self.people[0] if self.kind is Kind.PERSON and self.people else None


EVERYBODY = Caller(Kind.OPEN, "anybody")

_current: ContextVar[Caller] = ContextVar("caller", default=EVERYBODY)


def current() -> Caller:
    """Whose call this is, where no request says it: in a call by gRPC."""
    return _current.get()


def begin(caller: Caller) -> None:
    """From now on this context's call is the caller's."""
    _current.set(caller)


class Asking(NamedTuple):
    """What somebody wants to know or to change, and about whom; None: about everybody."""

    what: str
    person_id: int | None


# --- who is meant --------------------------------------------------------------------------------


def by_header(value: str, asking: Asking | None) -> Caller | None:
    """Whom `Bearer …` means, the value of the header or of the metadata `authorization`.

    None if it is nobody's, expired or revoked. What is asked is noted. Raises NeighbourUnavailable.
    """
    if settings.ACCESS == "open":
        return EVERYBODY
    scheme, _, token = value.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        return None
    return _of("token", token.strip(), asking)


def of_session(key: str, asking: Asking | None) -> Caller | None:
    """The staff user who signed in; None if there is none, or one without the rights. It is noted, too."""
    return _of("session", key, asking)


def _of(form: str, shown: str, asking: Asking | None) -> Caller | None:
    verbs = neighbours.access()
    ask = verbs.of_token if form == "token" else verbs.of_session
    return _remembered.caller(f"{form} {shown}", lambda: ask(shown, asking), asking)


class Remembered:
    """Remembers who was meant: devices and processes, which call often, for FRESH_S; who sends pings while
    nobody can be asked, for as long as that lasts. So a door that needs only the broker takes pings without a
    database. Whoever asks about people is always asked for, since that has to be noted.

    Thread-safe. What was shown is remembered by a hash.
    """

    FRESH_S = 1.0  # so long pings are still taken of a token that was revoked; nothing is read with it
    AGAIN_S = 2.0  # between two tries for those who are remembered: each may take long
    MOST = 100_000
    OFTEN = frozenset({Kind.INGEST, Kind.SERVICE})

    def __init__(self, *, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._known: dict[bytes, tuple[Caller, float]] = {}  # and when; the longest ago first
        self._away_until = float("-inf")
        self._lock = threading.Lock()

    def caller(
        self, shown: str, ask: Callable[[], Caller | None], asking: Asking | None = None
    ) -> Caller | None:
        key = hashlib.sha256(shown.encode()).digest()
        now = self._clock()
        with self._lock:
            caller, since = self._known.get(key, (None, float("-inf")))
            away = now < self._away_until
        often = caller is not None and caller.kind in self.OFTEN
        in_need = caller if often or asking is None else None  # who will do while nobody can be asked
        if caller is not None and often and now < since + self.FRESH_S:
            return self._unless_over(caller)
        if in_need is None or not away:
            try:
                return self._learnt(key, ask(), now)
            except (OperationalError, InterfaceError):
                connection.close_if_unusable_or_obsolete()
            except NeighbourUnavailable:
                pass
            self._away_until = self._clock() + self.AGAIN_S
        if in_need is None:
            raise NeighbourUnavailable("Nobody can say who this is, and note what is asked.")
        return self._unless_over(in_need)

    def _learnt(self, key: bytes, found: Caller | None, now: float) -> Caller | None:
        with self._lock:
            self._known.pop(key, None)
            if found is not None:
                self._known[key] = (found, now)
                while len(self._known) > self.MOST:
                    del self._known[next(iter(self._known))]
        return found

    @staticmethod
    def _unless_over(caller: Caller) -> Caller | None:
        return None if caller.until is not None and caller.until < time.time() else caller


_remembered = Remembered()
