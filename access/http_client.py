"""The seam's `http:` for access: the same verbs as access.services, asked of the persons process."""

from dataclasses import asdict

from django.conf import settings

from connect import http
from connect.audit import Question
from connect.callers import Caller, Kind

SILENT_S = 10.0
SHORT_SILENT_S = 2.0  # phones wait for it
TOKEN, SESSION = "X-Connect-Token", "X-Connect-Session"


def of_token(token: str) -> Caller | None:
    """The caller, or None. Raises NeighbourUnavailable."""
    return _ask(TOKEN, token)


def token_changes() -> int:
    """See access.services. Raises NeighbourUnavailable."""
    url = f"{settings.PERSONS_URL}/internal/token-changes"
    return int(http.ask(url, [], silent_s=SHORT_SILENT_S)["number"])


def of_session(key: str) -> Caller | None:
    return _ask(SESSION, key)


def note(caller: Caller, question: Question) -> None:
    """Writes to the audit log. A second attempt may write it twice. Raises NeighbourUnavailable."""
    fact = {"kind": caller.kind, "name": caller.name, "question": asdict(question)}
    http.tell(f"{settings.PERSONS_URL}/internal/questions", fact, silent_s=SILENT_S)


def _ask(header: str, shown: str) -> Caller | None:
    if not shown.isascii() or not shown.isprintable():
        return None
    url = f"{settings.PERSONS_URL}/internal/callers"
    found = http.ask(url, [], silent_s=SILENT_S, headers={header: shown})
    if not found or "kind" not in found:
        return None
    people = found["people"]
    return Caller(Kind(found["kind"]), found["name"], tuple(people) if people else None, found["until"])
