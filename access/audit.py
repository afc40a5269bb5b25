"""Describes a REST call for the audit log: the caller, the people asked about, and the outcome.

A call is written once, with its validated parameters, before the first byte of its answer; if that fails, the
answer is a 503. `connect.web.streaming.answer` writes the call for a list before it reads the rows, because
reading may hold a transaction open. access.middleware writes every other call after its outcome is known.
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
MAX_IDS = 500  # listed per question; for more people, the log has their number, lowest and highest id
MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class People:
    """The people that a question is about; a count of 0 means everybody.

    More than MAX_IDS people have no `ids`, but their lowest and highest id in `first` and `last`.
    """

    ids: tuple[int, ...] = ()
    count: int = 0
    first: int | None = None
    last: int | None = None

    @classmethod
    def of(cls, ids: Iterable[int]) -> "People":
        distinct = sorted({person_id for person_id in ids if 0 < person_id <= MAX_ID})
        if len(distinct) <= MAX_IDS:
            return cls(tuple(distinct), len(distinct))
        return cls(count=len(distinct), first=distinct[0], last=distinct[-1])


@dataclass(frozen=True, slots=True)
class Question:
    """An entry of the audit log; it becomes one row per listed person."""

    what: str
    people: People = People()
    start: datetime | None = None
    end: datetime | None = None
    outcome: str = ""  # an HTTP status or the name of a gRPC status


def set_query(request: Request, query: Mapping[str, Any]) -> None:
    """Sets the validated parameters of a call. `query_parameters.Query.of` does it for every view."""
    _plain(request).audited_query = dict(query)


def set_people(request: HttpRequest | Request, people: Iterable[int] | People) -> None:
    """Sets the people in the answer of a search, an export or a bulk action."""
    plain = _plain(request)
    plain.audited_people = people if isinstance(people, People) else People.of(people)


def is_noted(request: HttpRequest) -> bool:
    return getattr(request, "is_noted", False)


def note(request: HttpRequest | Request, status: int) -> None:
    """Writes a REST call about people to the audit log, once. Raises NeighbourUnavailable."""
    plain = _plain(request)
    caller = getattr(plain, "auth", None)
    if not isinstance(caller, Caller) or is_noted(plain) or not _is_about_people(plain, caller):
        return
    plain.is_noted = True
    match = plain.resolver_match
    query = getattr(plain, "audited_query", {})
    question = Question(
        what=f"{plain.method} {match.url_name if match else ''}".strip(),
        people=getattr(plain, "audited_people", None) or People.of(_person_ids(plain, caller, query)),
        start=_instant(query, "start", "start_date", "at"),
        end=_instant(query, "end", "end_date", "at"),
        outcome=str(status),
    )
    callers.note(caller, question)


def _plain(request: Any) -> Any:
    return getattr(request, "_request", request)


def _is_about_people(request: Any, caller: Caller) -> bool:
    """Calls that devices may make are not about people: sending pings, and asking who the caller is.

    Neither are those of a view with `is_about_people = False`.
    """
    if caller.kind is Kind.OPEN or caller.noted_at_door or request.method == "OPTIONS":
        return False
    match = request.resolver_match
    view = getattr(match.func, "cls", None) if match else None
    allowed = getattr(view, "callers", None)
    if allowed is None or not getattr(view, "is_about_people", True):
        return False
    return Kind.INGEST not in allowed.get("GET" if request.method == "HEAD" else request.method, ())


def _person_ids(request: Any, caller: Caller, query: Mapping[str, Any]) -> Iterable[int]:
    """The ids in the path and in the parameters.

    A call that was refused before validation has no `query`; its raw parameters are used if they are numbers.
    """
    path = request.resolver_match.kwargs
    texts = [path.get("person_id", ""), str(path.get("location_id", "")).partition("-")[0]]
    if not query:
        texts += request.GET.getlist("person_id") + request.GET.getlist("id")
    ids = [int(text) for text in map(str, texts) if _NUMBER.fullmatch(text)]
    ids += query.get("id") or []
    if query.get("person_id") is not None:
        ids.append(query["person_id"])
    if not ids and caller.person_id is not None:
        return [caller.person_id]  # a person who gives no id asks about themselves
    return ids


def _instant(query: Mapping[str, Any], *names: str) -> datetime | None:
    return next((query[name] for name in names if isinstance(query.get(name), datetime)), None)
