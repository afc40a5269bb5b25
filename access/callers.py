"""Who calls, and what they may: one set of rules for every door.

With ACCESS=open nobody is told apart and everybody may do everything. With ACCESS=tokens a caller shows a
token, or, staff in a browser, a session. Who is meant the seam says (connect.neighbours.access), because not
every process has the database that tokens are in.
"""

import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from django.conf import settings
from django.db import Error, InterfaceError, OperationalError, connection

from connect import neighbours
from connect.coalescing import Coalescer
from connect.errors import NeighbourUnavailable

if TYPE_CHECKING:
    from access.audit import Question


logger = logging.getLogger(__name__)


TOKEN_FORM = "[0-9A-Za-z]{8}\\.[0-9A-Za-z]{32,100}"  # noqa: S105 - a pattern


class Kind(StrEnum):
    OPEN = "open"  # anybody, with ACCESS=open
    INGEST = "ingest"  # devices that send pings, of one person or of an event's people
    PERSON = "person"  # reads what is its own
    SERVICE = "service"  # another process of Connect
    STAFF = "staff"


# Who may make a call. What a caller may see in the answer the use cases say: connections.services and
# locations.services. SERVICE is only for neighbours: the paths under /internal/ and the gRPC server, never a
# client's REST path.
SENDERS = frozenset({Kind.INGEST, Kind.STAFF})
READERS = frozenset({Kind.PERSON, Kind.STAFF})
OWNERS = frozenset({Kind.PERSON, Kind.STAFF})  # what is a person's own affair
EDITORS = frozenset({Kind.STAFF})
PROCESSES = frozenset({Kind.SERVICE})
CLIENTS = frozenset(Kind) - PROCESSES


@dataclass(frozen=True, slots=True)
class Caller:
    """`people` are the first and last id of those whom it speaks for, None: everybody. `until` is when that
    ends, in seconds since 1970. `noted_at_door`: a neighbour asks on behalf of a caller whose question it has
    noted itself."""

    kind: Kind
    name: str
    people: tuple[int, int] | None = None
    until: float | None = None
    noted_at_door: bool = False

    def may(self, kinds: frozenset[Kind]) -> bool:
        return self.kind is Kind.OPEN or self.kind in kinds

    def speaks_for(self, person_id: int) -> bool:
        """Whether it may send this person's pings, if it sends, or see where they were, if it reads."""
        return self.people is None or self.people[0] <= person_id <= self.people[1]

    @property
    def share(self) -> str:
        """Names its share of a process's threads: its kind, and what no other caller has."""
        return f"{self.kind}-{hashlib.sha256(self.name.encode()).hexdigest()[:16]}"

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


# --- who is meant --------------------------------------------------------------------------------


# A neighbour sends this header (over gRPC: metadata) with every question that its own door has noted. Anybody
# with a service token could send it: the token is worth as much as the database's password.
NOTED = "x-connect-noted"
_BEARER = re.compile(rf"bearer +({TOKEN_FORM})", re.ASCII | re.IGNORECASE)


def by_header(value: str, noted: str = "", *, sends: bool = False) -> Caller | None:
    """The caller that `Bearer ...` means: the value of the header or of the metadata `authorization`.

    None for a token that is unknown, expired or revoked. `noted` is the value of NOTED. A call that only
    sends pings is served from memory while nobody can be asked. Raises NeighbourUnavailable.
    """
    if settings.ACCESS == "open":
        return EVERYBODY
    if (token := token_in(value)) is None:
        return None
    caller = _remembered.caller(f"token {token}", lambda: _tokens({token}).get(token), sends=sends)
    if caller is not None and caller.kind is Kind.SERVICE and noted:
        return replace(caller, noted_at_door=True)
    return caller


def token_in(value: str) -> str | None:
    """The token of `Bearer ...` if it has the form of one; however the scheme and the spaces are written."""
    match = _BEARER.fullmatch(value.strip(" \t"))  # no other blanks: the proxy counts by the spelling
    return match[1] if match else None


def remembered(authorization: str, session_key: str = "") -> Caller | None:
    """The caller of a token or session that was valid when it was last asked about. A guess gives None."""
    token = token_in(authorization)
    return _remembered.lately(f"session {session_key}" if token is None else f"token {token}")


def of_session(key: str) -> Caller | None:
    """The staff user who signed in; None if there is none, or one without the rights."""
    return _remembered.caller(f"session {key}", lambda: neighbours.access().of_session(key))


def note(caller: Caller, question: "Question") -> None:
    """Writes a line of the audit log. Raises NeighbourUnavailable if it cannot be written."""
    if caller.kind is Kind.OPEN or caller.noted_at_door:
        return
    try:
        neighbours.access().note(caller, question)
    except Error as fault:
        logger.exception("The audit log cannot be written.")
        raise NeighbourUnavailable("The audit log cannot be written.") from fault


class _Entry(NamedTuple):
    caller: Caller
    asked: float  # when the source identified the caller
    confirmed: float  # when that was last known to hold
    changes: int | None  # token_changes before the source was asked


class Remembered:
    """Cache of identities. Thread-safe. Tokens and session keys are kept as hashes only.

    An identity holds for FRESH_S. That of a phone's or person's token holds for ASK_AGAIN_S while no token
    changes, which one question a second tells for all: hundreds of phones send a ping each second. While the
    source cannot be asked, identification fails, except for calls that send pings: for AWAY_S after the
    caller was last confirmed, so that a door that needs only the broker takes pings without a database.
    """

    FRESH_S = 1.0  # so long a revoked token still works, and an unknown one stays unknown
    ASK_AGAIN_S = 600.0
    AWAY_S = 600.0
    AGAIN_S = (
        2.0  # between two attempts for those who are served while the source is away: each may take long
    )
    MOST, MOST_UNKNOWN = 100_000, 10_000
    KINDS_BY_CHANGES = frozenset({Kind.INGEST, Kind.PERSON})  # others depend on a user's rights, too

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        token_changes: Callable[[], int] = lambda: neighbours.access().token_changes(),
    ):
        self._clock = clock
        self._token_changes = token_changes
        self._known: dict[bytes, _Entry] = {}  # oldest first
        self._unknown: dict[bytes, float] = {}  # when it was asked for, oldest first
        self._changes: int | None = None
        self._changes_at = float("-inf")
        self._away_until = float("-inf")
        self._lock = threading.Lock()
        self._asking = threading.Lock()

    def lately(self, shown: str) -> Caller | None:
        with self._lock:
            entry = self._known.get(hashlib.sha256(shown.encode()).digest())
        return entry.caller if entry else None

    def caller(self, shown: str, ask: Callable[[], Caller | None], *, sends: bool = False) -> Caller | None:
        key = hashlib.sha256(shown.encode()).digest()
        now = self._clock()
        with self._lock:
            entry = self._known.get(key)
            away = now < self._away_until
            if now < self._unknown.get(key, float("-inf")) + self.FRESH_S:
                return None
        if entry is not None and self._holds(key, entry, now, sends=sends):
            return self._unless_over(entry.caller)
        stale = entry.caller if entry is not None and sends and now < entry.confirmed + self.AWAY_S else None
        if stale is None or not away:
            try:
                changes = self._current_changes(wait=not sends)
                return self._learnt(key, ask(), now, changes)
            except (OperationalError, InterfaceError):
                connection.close_if_unusable_or_obsolete()
            except NeighbourUnavailable:
                pass
            self._away_until = self._clock() + self.AGAIN_S
        if stale is None:
            raise NeighbourUnavailable("The caller cannot be identified now.")
        return self._unless_over(stale)

    def _holds(self, key: bytes, entry: _Entry, now: float, *, sends: bool) -> bool:
        if entry.changes is None or entry.caller.kind not in self.KINDS_BY_CHANGES:
            return now < entry.asked + self.FRESH_S
        if now >= entry.asked + self.ASK_AGAIN_S or self._current_changes(wait=not sends) != entry.changes:
            return False
        with self._lock:
            if key in self._known:
                self._known[key] = entry._replace(confirmed=now)
        return True

    def _current_changes(self, *, wait: bool) -> int | None:
        """As it was at most FRESH_S ago; None if it cannot be learnt. Without `wait` it may be older while
        another thread asks."""
        if not self._asking.acquire(blocking=wait):
            return self._changes
        try:
            if self._clock() >= self._changes_at + self.FRESH_S:
                try:
                    self._changes = self._token_changes()
                except (OperationalError, InterfaceError):
                    self._changes = None
                    connection.close_if_unusable_or_obsolete()
                except NeighbourUnavailable:
                    self._changes = None
                self._changes_at = self._clock()
            return self._changes
        finally:
            self._asking.release()

    def _learnt(self, key: bytes, found: Caller | None, now: float, changes: int | None) -> Caller | None:
        with self._lock:
            self._known.pop(key, None)
            self._unknown.pop(key, None)
            if found is not None:
                self._known[key] = _Entry(found, now, now, changes)
                while len(self._known) > self.MOST:
                    del self._known[next(iter(self._known))]
            else:
                self._unknown[key] = now
                while len(self._unknown) > self.MOST_UNKNOWN:
                    del self._unknown[next(iter(self._unknown))]
        return found

    @staticmethod
    def _unless_over(caller: Caller) -> Caller | None:
        return None if caller.until is not None and caller.until < time.time() else caller


_remembered = Remembered()
_tokens: Coalescer[str, Caller] = Coalescer(lambda tokens: neighbours.access().of_tokens(tokens))
