"""The `http:` implementation of the persons seam: calls persons.services in the persons process."""

from collections.abc import Iterable

from django.conf import settings

from connect import http
from persons.services import MAX_ID, Person

IDS_PER_REQUEST = 300  # limited by the length of a request line
SILENT_S = 10.0  # short, because the query uses the primary key


def get_many(ids: Iterable[int]) -> dict[int, Person]:
    """See persons.services. Raises NeighbourUnavailable."""
    return _people(ids, [])


def findable(ids: Iterable[int]) -> dict[int, Person]:
    """See persons.services. Raises NeighbourUnavailable."""
    return _people(ids, [("findable", "true")])


def _people(ids: Iterable[int], more: list[tuple[str, str]]) -> dict[int, Person]:
    possible = sorted(i for i in set(ids) if 0 < i <= MAX_ID)
    found: dict[int, Person] = {}
    for first in range(0, len(possible), IDS_PER_REQUEST):
        query = more + [("id", str(i)) for i in possible[first : first + IDS_PER_REQUEST]]
        for fields in http.fetch(f"{settings.PERSONS_URL}/internal/persons", query, read_timeout_s=SILENT_S):
            found[fields["id"]] = Person(**fields)
    return found


def is_alive(url: str) -> bool:
    return http.is_alive(url)
