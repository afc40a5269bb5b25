"""The seam's `http:` for access: the same verbs as access.services, asked of the persons process."""

from django.conf import settings

from connect import http
from connect.callers import Asking, Caller, Kind

SILENT_S = 10.0
TOKEN, SESSION = "X-Connect-Token", "X-Connect-Session"


def of_token(token: str, asking: Asking | None) -> Caller | None:
    """Whose it is; what is asked is noted there. Raises NeighbourUnavailable."""
    return _ask(TOKEN, token, asking)


def of_session(key: str, asking: Asking | None) -> Caller | None:
    return _ask(SESSION, key, asking)


def _ask(header: str, shown: str, asking: Asking | None) -> Caller | None:
    if not shown.isascii() or not shown.isprintable():
        return None
    url = f"{settings.PERSONS_URL}/internal/callers"
    query = [
        (name, str(value))
        for name, value in (asking._asdict() if asking else {}).items()
        if value is not None
    ]
    found = http.ask(url, query, silent_s=SILENT_S, headers={header: shown})
    if not found or "kind" not in found:
        return None
    people = found["people"]
    return Caller(Kind(found["kind"]), found["name"], tuple(people) if people else None, found["until"])
