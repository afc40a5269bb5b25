"""Identifies callers and says what each kind may do: one set of rules for every door.

With ACCESS=open all callers are the same, and each may do everything. With ACCESS=tokens a caller sends a
token; staff in a browser send a session instead. The seam (connect.neighbours.access) identifies the caller,
because not every process has the database of the tokens.
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
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings
from django.db import Error

from connect import neighbours, stale_cache
from connect.coalescing import Coalescer
from connect.errors import NeighbourUnavailable
from connect.stale_cache import StaleCache

if TYPE_CHECKING:
    from access.audit import Question


logger = logging.getLogger(__name__)


TOKEN_FORM = "[0-9A-Za-z]{8}\\.[0-9A-Za-z]{32,100}"  # noqa: S105 - a pattern


class Kind(StrEnum):
    OPEN = "open"  # every caller, with ACCESS=open
    INGEST = "ingest"  # devices that send pings, of one person or of an event's people
    PERSON = "person"  # reads the person's own data
    SERVICE = "service"  # another process of Connect
    STAFF = "staff"


# The kinds that may make a call. The use cases (connections.services, locations.services) decide what a
# caller sees in the answer. SERVICE is only for neighbours: it opens the paths under /internal/ and the gRPC
# server, never a client's REST path.
SENDERS = frozenset({Kind.INGEST, Kind.STAFF})
READERS = frozenset({Kind.PERSON, Kind.STAFF})
OWNERS = frozenset({Kind.PERSON, Kind.STAFF})  # a person's consent and export
EDITORS = frozenset({Kind.STAFF})
PROCESSES = frozenset({Kind.SERVICE})
CLIENTS = frozenset(Kind) - PROCESSES


@dataclass(frozen=True, slots=True)
class Caller:
    """An identified caller.

    `people` is the first and last id of the people the caller may act for; None is everybody. `until` is the
    expiry, in seconds since 1970. `noted_at_door` marks a neighbour that asks for one of its own callers and
    has written that question to the audit log itself.
    """

    kind: Kind
    name: str
    people: tuple[int, int] | None = None
    until: float | None = None
    noted_at_door: bool = False

    def may(self, kinds: frozenset[Kind]) -> bool:
        return self.kind is Kind.OPEN or self.kind in kinds

    def speaks_for(self, person_id: int) -> bool:
        """Whether a sender may send this person's pings, or a reader may see their locations."""
        return self.people is None or self.people[0] <= person_id <= self.people[1]

    @property
    def share(self) -> str:
        """The key of the caller's share of a process's threads."""
        return f"{self.kind}-{hashlib.sha256(self.name.encode()).hexdigest()[:16]}"

    @property
    def person_id(self) -> int | None:
        """The id of the person, if the caller is one; None for any other kind."""
        return self.people[0] if self.kind is Kind.PERSON and self.people else None


def staff_caller(user: Any) -> Caller:
    """The caller of a staff user. All sessions and tokens of a user share its name, and so its limits."""
    return Caller(Kind.STAFF, f"user {user.get_username()}")


EVERYBODY = Caller(Kind.OPEN, "anybody")

_current: ContextVar[Caller] = ContextVar("caller", default=EVERYBODY)


def current() -> Caller:
    """The caller of this gRPC call, which has no Django request."""
    return _current.get()


def set_current(caller: Caller) -> None:
    """Sets the caller for the rest of this context."""
    _current.set(caller)


# --- identification ------------------------------------------------------------------------------


# A neighbour sends this header (in gRPC: metadata) with every question that its own door has written to the
# audit log. Any holder of a service token can send it: such a token is worth as much as the database's
# password.
NOTED = "x-connect-noted"
_BEARER = re.compile(rf"bearer +({TOKEN_FORM})", re.ASCII | re.IGNORECASE)


def identify_authorization(value: str, noted: str = "", *, sends_pings: bool = False) -> Caller | None:
    """The caller with this `Bearer ...`: the value of the header or metadata `authorization`.

    None for a token that is unknown, expired or revoked. `noted` is the value of NOTED. A call that only
    sends pings is served from the cache while the source is away. Raises NeighbourUnavailable.
    """
    if settings.ACCESS == "open":
        return EVERYBODY
    if (token := token_in(value)) is None:
        return None
    caller = _identities.caller(
        f"token {token}", lambda: _tokens({token}).get(token), sends_pings=sends_pings
    )
    if caller is not None and caller.kind is Kind.SERVICE and noted:
        return replace(caller, noted_at_door=True)
    return caller


def token_in(value: str) -> str | None:
    """The token of `Bearer ...` if it is well formed. The scheme may have any case, and spaces may repeat."""
    match = _BEARER.fullmatch(value.strip(" \t"))
    return match[1] if match else None


def cached_caller(authorization: str, session_key: str = "") -> Caller | None:
    """The caller of a token or session from the cache alone, however old the entry is. It may be revoked."""
    token = token_in(authorization)
    return _identities.cached(f"session {session_key}" if token is None else f"token {token}")


def identify_at_once(authorization: str) -> Caller | None:
    """The caller with this `Bearer ...` if known without asking; None does not mean unknown."""
    if settings.ACCESS == "open":
        return EVERYBODY
    token = token_in(authorization)
    return None if token is None else _identities.held(f"token {token}")


def identify_session(key: str) -> Caller | None:
    """The staff user of a session; None if there is none, or if the user lacks rights."""
    return _identities.caller(f"session {key}", lambda: neighbours.access().identify_session(key))


def note(caller: Caller, question: "Question") -> None:
    """Writes a question to the audit log. Raises NeighbourUnavailable if that fails."""
    if caller.kind is Kind.OPEN or caller.noted_at_door:
        return
    try:
        neighbours.access().note(caller, question)
    except Error as fault:
        logger.exception("The audit log cannot be written.")
        raise NeighbourUnavailable("The audit log cannot be written.") from fault


class _Identity(NamedTuple):
    caller: Caller
    asked_at: float  # when the source was asked
    changes: int | None  # token_changes before that


class IdentityCache:
    """Cache of identities. Thread-safe. It keeps tokens and session keys as hashes only.

    An identity holds for FRESH_S. That of an ingest or person token holds for RECHECK_S while no token
    changes: hundreds of phones send a ping each second, and one question a second checks all their tokens.
    While the source is away, identification fails. Only a call that sends pings is served for STALE_S after
    its identity last held, so that a door that needs only the broker takes pings without a database.
    """

    FRESH_S = 1.0  # for this long a revoked token still works, and an unknown token stays unknown
    RECHECK_S = 600.0
    STALE_S = 600.0
    MAX_SIZE, MAX_UNKNOWN = 100_000, 10_000
    KINDS_BY_CHANGES = frozenset({Kind.INGEST, Kind.PERSON})  # others depend on a user's rights, too

    def __init__(
        self,
        *,
        max_size: int = MAX_SIZE,
        clock: Callable[[], float] = time.monotonic,
        token_changes: Callable[[], int] = lambda: neighbours.access().token_changes(),
    ):
        self._clock = clock
        self._token_changes = token_changes
        self._known = StaleCache[bytes, _Identity](max_size=max_size, clock=clock)
        self._unknown = StaleCache[bytes, bool](max_size=self.MAX_UNKNOWN, clock=clock)
        self._changes: int | None = None
        self._changes_at = float("-inf")
        self._asking = threading.Lock()

    def cached(self, credential: str) -> Caller | None:
        """The caller, however old the entry is."""
        identity = self._known.get(_hash(credential))
        return identity.caller if identity else None

    def held(self, credential: str) -> Caller | None:
        """The caller if its identity holds now. Asks nobody."""
        identity = self._known.get(_hash(credential))
        now = self._clock()
        if identity is None or identity.changes is None or identity.changes != self._changes:
            return None
        if not now < min(self._changes_at + self.FRESH_S, identity.asked_at + self.RECHECK_S):
            return None
        return _unless_expired(identity.caller) if identity.caller.kind in self.KINDS_BY_CHANGES else None

    def caller(
        self, credential: str, ask: Callable[[], Caller | None], *, sends_pings: bool = False
    ) -> Caller | None:
        """The caller from the cache, or from the source by `ask`. Raises NeighbourUnavailable."""
        key = _hash(credential)
        now = self._clock()
        if self._unknown.get(key, max_age_s=self.FRESH_S):
            return None
        identity = self._known.get(key)
        if identity is not None and self._holds(key, identity, now, wait=not sends_pings):
            return _unless_expired(identity.caller)
        stale = self._known.get(key, max_age_s=self.STALE_S) if sends_pings else None
        if stale is not None and self._known.source_is_away:
            return _unless_expired(stale.caller)
        try:
            changes = self._current_changes(wait=not sends_pings)
            found = self._known.fetch(ask)
        except NeighbourUnavailable:
            if stale is None:
                raise NeighbourUnavailable("The caller cannot be identified now.") from None
            return _unless_expired(stale.caller)
        self._known.replace([key], {key: _Identity(found, now, changes)} if found else {}, now)
        self._unknown.replace([key], {} if found else {key: True}, now)
        return found

    def _holds(self, key: bytes, identity: _Identity, now: float, *, wait: bool) -> bool:
        if identity.changes is None or identity.caller.kind not in self.KINDS_BY_CHANGES:
            return now < identity.asked_at + self.FRESH_S
        if now >= identity.asked_at + self.RECHECK_S or self._current_changes(wait=wait) != identity.changes:
            return False
        self._known.renew(key, now)
        return True

    def _current_changes(self, *, wait: bool) -> int | None:
        """The count of token changes, at most FRESH_S old. None while the source is away.

        Without `wait` the count may be older while another thread asks for it.
        """
        if not self._asking.acquire(blocking=wait):
            return self._changes
        try:
            if self._clock() >= self._changes_at + self.FRESH_S:
                try:
                    self._changes = stale_cache.fetch(self._token_changes)
                except NeighbourUnavailable:
                    self._changes = None
                self._changes_at = self._clock()
            return self._changes
        finally:
            self._asking.release()


def _hash(credential: str) -> bytes:
    return hashlib.sha256(credential.encode()).digest()


def _unless_expired(caller: Caller) -> Caller | None:
    return None if caller.until is not None and caller.until < time.time() else caller


_identities = IdentityCache()
_tokens: Coalescer[str, Caller] = Coalescer(lambda tokens: neighbours.access().identify_tokens(tokens))
