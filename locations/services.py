"""The use cases of locations: pings come in, what is stored goes out. Every door calls these functions.

Each checks the caller and then asks the neighbour. A door that asks the neighbour itself skips these checks;
connect/tests/test_use_cases.py names the few modules that may.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter

from django.conf import settings
from django.core.exceptions import PermissionDenied

from access.callers import PROCESSES, READERS, SENDERS, Caller, Kind
from connect import neighbours
from connect.errors import UnknownPerson
from locations import quota
from locations.pings import Ping, Refusal, unknown_person
from locations.storage import Bounds, Receipt

_MAY_SEND = SENDERS | PROCESSES
_MAY_READ = READERS | PROCESSES
MAX_AHEAD = timedelta(seconds=60)  # clocks of devices differ


def submit(caller: Caller, pings: Sequence[Ping]) -> Receipt:
    """Hands in the pings that the caller may send. The others are refused.

    A ping of somebody else is refused like one of nobody. One that an ingest token sends is refused if it is
    too old or in the future; if there are too many of them, quota.TooManyPings is raised and none is taken.
    """
    if not caller.may(_MAY_SEND):
        raise PermissionDenied
    refused = {
        index: unknown_person(index, ping.person_id)
        for index, ping in enumerate(pings)
        if not caller.speaks_for(ping.person_id)
    }
    if caller.kind is not Kind.INGEST:
        return _hand_in(pings, refused)
    refused = _out_of_time(pings) | refused
    charge = quota.charge(ping.person_id for index, ping in enumerate(pings) if index not in refused)
    try:
        return _hand_in(pings, refused)
    except BaseException:
        charge.give_back()  # sending them again is safe, and is to be possible
        raise


def _out_of_time(pings: Sequence[Ping]) -> dict[int, Refusal]:
    now = datetime.now(UTC)
    earliest, latest = now - timedelta(hours=settings.INGEST_MAX_AGE_H), now + MAX_AHEAD
    allowed = (
        f"Must be at most {settings.INGEST_MAX_AGE_H:g} hours ago and at most "
        f"{MAX_AHEAD.total_seconds():g} seconds ahead."
    )
    return {
        index: Refusal(index, 400, {"creation_time": [allowed]})
        for index, ping in enumerate(pings)
        if not earliest <= ping.creation_time <= latest
    }


def _hand_in(pings: Sequence[Ping], refused: dict[int, Refusal]) -> Receipt:
    if not refused:
        return neighbours.pings().submit(pings)
    kept = [index for index in range(len(pings)) if index not in refused]
    receipt: Receipt = neighbours.pings().submit([pings[index] for index in kept])
    late = [replace(refusal, index=kept[refusal.index]) for refusal in receipt.refused]
    return Receipt(receipt.stored, sorted([*refused.values(), *late], key=attrgetter("index")))


def get(caller: Caller, person_id: int, creation_time: datetime) -> Ping | None:
    """What is stored of this person at this time, if the caller may see it."""
    if not caller.may(_MAY_READ):
        raise PermissionDenied
    if not caller.speaks_for(person_id):
        return None
    return neighbours.locations().get(person_id, creation_time)


def list_between(
    caller: Caller,
    *,
    person_id: int | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    bounds: Bounds | None = None,
    after: tuple[datetime, int] | None = None,
    limit: int | None = None,
    newest_first: bool = False,
) -> Generator[Ping, None, None]:
    """Locations in [start, end), ordered by creation_time, then person, or in the reverse order.

    For a person's token their own only.

    Raises PermissionDenied, and UnknownPerson where the caller may not see this person's.
    """
    if not caller.may(_MAY_READ):
        raise PermissionDenied
    if person_id is None:
        person_id = caller.person_id
    if person_id is not None and not caller.speaks_for(person_id):
        raise UnknownPerson(person_id)
    return neighbours.locations().list_between(
        person_id=person_id,
        start=start,
        end=end,
        bounds=bounds,
        after=after,
        limit=limit,
        newest_first=newest_first,
    )
