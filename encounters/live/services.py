"""The use case of live events."""

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import PermissionDenied

from access.callers import READERS, Caller, Kind
from connect import neighbours
from connect.errors import NeighbourUnavailable, UnknownPerson
from encounters.live.events import Filter, time_of
from encounters.live.person_reader import PersonReader
from encounters.live.readers import Reader, Subscription


def follow(
    caller: Caller,
    *,
    bounds: tuple[float, float, float, float] | None = None,
    person_id: int | None = None,
    last_id: str = "",
    still_valid: Callable[[], bool],
) -> Reader:
    """A reader for this caller: staff see findable people; a person's token sees the person's own events.

    `last_id` is the id of the last event that the client has. Raises PermissionDenied, UnknownPerson,
    NeighbourUnavailable.
    """
    if not caller.may(READERS):
        raise PermissionDenied
    if not settings.PINGS_URL.startswith("kafka:"):
        raise NeighbourUnavailable("PINGS_URL has no topics to follow.")
    if person_id is not None and not (caller.speaks_for(person_id) and _exists(person_id)):
        raise UnknownPerson(person_id)
    subscription = Subscription(caller, Filter(bounds, person_id), last_id, time_of(last_id), still_valid)
    return PersonReader(subscription) if caller.kind is Kind.PERSON else Reader(subscription)


def _exists(person_id: int) -> bool:
    return bool(neighbours.persons().get_many([person_id]))
