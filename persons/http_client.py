"""The seam's `http:` for persons: the same verbs as persons.services, asked of the persons process."""

from collections.abc import Iterable

from django.conf import settings

from connect import http
from persons.services import MAX_ID, Person

IDS_AT_ONCE = 300  # what a request line holds
SILENT_S = 10.0  # people are found by their keys


def get_many(ids: Iterable[int]) -> dict[int, Person]:
    """The people among `ids` who exist, by id. Raises NeighbourUnavailable."""
    possible = sorted(i for i in set(ids) if 0 < i <= MAX_ID)
    found: dict[int, Person] = {}
    for first in range(0, len(possible), IDS_AT_ONCE):
        query = [("id", str(i)) for i in possible[first : first + IDS_AT_ONCE]]
        for fields in http.fetch(f"{settings.PERSONS_URL}/internal/persons", query, read_timeout_s=SILENT_S):
            found[fields["id"]] = Person(**fields)
    return found


def is_alive(url: str) -> bool:
    return http.is_alive(url)
