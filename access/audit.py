"""The audit log's view of a REST or admin call: which caller asks about which people, and with what outcome.

A call is noted once, with its validated parameters and before the first byte of its answer; where the note
cannot be written, the answer is a 503. `connect.web.streaming.answer` notes a list before it reads the rows,
which may hold a transaction open; access.middleware notes every other call once its outcome is known.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from rest_framework.request import Request

from access import callers
from access.callers import Caller, Kind

_NUMBER = re.compile(r"\+?0*[0-9]{1,19}", re.ASCII)
MOST_IDS = 500  # of one question that are noted one by one; of more the count, the lowest and the highest
MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class People:
    """Those a question is about; none means everybody. `first` and `last` stand for ids that are too many."""

    ids: tuple[int, ...] = ()
    count: int = 0
    first: int | None = None
    last: int | None = None

    @classmethod
    def of(cls, ids: Iterable[int]) -> "People":
        distinct = sorted({each for each in ids if 0 < each <= MAX_ID})
        if len(distinct) <= MOST_IDS:
            return cls(tuple(distinct), len(distinct))
        return cls(count=len(distinct), first=distinct[0], last=distinct[-1])


@dataclass(frozen=True, slots=True)
class Question:
    """One line, or one line per person, of the audit log."""

    what: str
    people: People = People()
    start: datetime | None = None
    end: datetime | None = None
    outcome: str = ""  # an HTTP status or the name of a gRPC status


def asks(request: Request, query: Mapping[str, Any]) -> None:
    """Remembers the validated parameters of a call. `query_parameters.Query.of` calls it for every view."""
    _plain(request).asked = dict(query)


def found(request: HttpRequest | Request, people: Iterable[int] | People) -> None:
    """Remembers the people in the answer of a search, an export or a bulk action."""
    plain = _plain(request)
    plain.found = people if isinstance(people, People) else People.of(people)


def is_noted(request: HttpRequest) -> bool:
    return getattr(request, "is_noted", False)


def note(request: HttpRequest | Request, status: int) -> None:
    """Notes a REST call, unless it is not about people or was noted before. Raises NeighbourUnavailable."""
    plain = _plain(request)
    caller = getattr(plain, "auth", None)
    if not isinstance(caller, Caller) or is_noted(plain) or not _is_about_people(plain, caller):
        return
    plain.is_noted = True
    match = plain.resolver_match
    asked = getattr(plain, "asked", {})
    question = Question(
        what=f"{plain.method} {match.url_name if match else ''}".strip(),
        people=getattr(plain, "found", None) or People.of(_asked_about(plain, caller, asked)),
        start=_instant(asked, "start", "start_date"),
        end=_instant(asked, "end", "end_date"),
        outcome=str(status),
    )
    callers.note(caller, question)


def _plain(request: Any) -> Any:
    return getattr(request, "_request", request)


def _is_about_people(request: Any, caller: Caller) -> bool:
    """Not what devices may do, too: sending pings, and asking for one's own name."""
    if caller.kind is Kind.OPEN or caller.noted_at_door or request.method == "OPTIONS":
        return False
    match = request.resolver_match
    view = getattr(match.func, "cls", None) if match else None
    named = getattr(view, "callers", None)
    if named is None:
        return False
    return Kind.INGEST not in named.get("GET" if request.method == "HEAD" else request.method, ())


def _asked_about(request: Any, caller: Caller, asked: Mapping[str, Any]) -> Iterable[int]:
    """The ids in the path and in the parameters. A call that was refused before its parameters were validated
    has those that can be read as numbers."""
    path = request.resolver_match.kwargs
    texts = [path.get("person_id", ""), str(path.get("location_id", "")).partition("-")[0]]
    if not asked:
        texts += request.GET.getlist("person_id") + request.GET.getlist("id")
    ids = [int(text) for text in map(str, texts) if _NUMBER.fullmatch(text)]
    ids += asked.get("id") or []
    if asked.get("person_id") is not None:
        ids.append(asked["person_id"])
    if not ids and caller.person_id is not None:
        return [caller.person_id]  # without an id a person asks about themselves
    return ids


def _instant(asked: Mapping[str, Any], *names: str) -> datetime | None:
    return next((asked[name] for name in names if isinstance(asked.get(name), datetime)), None)
