"""The `http:` implementation of the access seam: calls access.services in the persons process."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from django.conf import settings

from access.audit import Question
from access.callers import Caller, Kind
from connect import http

SILENT_S = 10.0
SHORT_SILENT_S = 2.0  # phones wait for this answer
SESSION = "X-Connect-Session"


def identify_tokens(tokens: Iterable[str]) -> dict[str, Caller]:
    """See access.services. Raises NeighbourUnavailable."""
    url = f"{settings.PERSONS_URL}/internal/callers"
    answer = http.fetch(url, [], read_timeout_s=SILENT_S, body=list(tokens))
    return {token: _caller(fields) for token, fields in answer.items()}


def token_changes() -> int:
    """See access.services. Raises NeighbourUnavailable."""
    url = f"{settings.PERSONS_URL}/internal/token-changes"
    return int(http.fetch(url, [], read_timeout_s=SHORT_SILENT_S)["number"])


def identify_session(key: str) -> Caller | None:
    """See access.services. Raises NeighbourUnavailable."""
    if not key.isascii() or not key.isprintable():
        return None
    url = f"{settings.PERSONS_URL}/internal/callers"
    fields = http.fetch(url, [], read_timeout_s=SILENT_S, headers={SESSION: key})
    return _caller(fields) if fields else None


def note(caller: Caller, question: Question) -> None:
    """Writes to the audit log. A retry may write it twice. Raises NeighbourUnavailable."""
    body = {"kind": caller.kind, "name": caller.name, "question": asdict(question)}
    http.send(f"{settings.PERSONS_URL}/internal/questions", body, read_timeout_s=SILENT_S)


def _caller(fields: dict[str, Any]) -> Caller:
    people = fields["people"]
    return Caller(Kind(fields["kind"]), fields["name"], tuple(people) if people else None, fields["until"])
