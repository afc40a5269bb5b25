"""The use cases of locations: submit pings, read stored locations. Every interface calls these functions.

Each checks the caller and then calls the neighbour. A direct call of the neighbour skips these checks;
connect/tests/test_use_cases.py lists the few modules that may do that.
"""

import asyncio
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter

from django.conf import settings
from django.core.exceptions import PermissionDenied

from access.callers import PROCESSES, READERS, SENDERS, Caller, Kind
from connect import neighbours
from connect.errors import NeighbourUnavailable, OutOfBounds, UnknownPerson
from connect.time_zones import time_zone_error
from locations import limits, quota
from locations.pings import Ping, Refusal, unknown_person
from locations.presence import Area, AreaVisits, Day, HeatCell
from locations.storage import Bounds, Receipt

_MAY_SEND = SENDERS | PROCESSES
_MAY_READ = READERS | PROCESSES
MAX_AHEAD = timedelta(seconds=60)  # tolerance for the clocks of devices


def submit(caller: Caller, pings: Sequence[Ping]) -> Receipt:
    """Submits the pings that the caller may send, and refuses the others.

    A ping of another person gets the same refusal as one of an unknown person. From an ingest token, a ping
    that is too old or in the future is refused, too.

    Raises PermissionDenied, and for an ingest token quota.TooManyPings or quota.BatchTooLarge: then no ping
    is accepted.
    """
    if not caller.may(_MAY_SEND):
        raise PermissionDenied
    refused = {
        index: unknown_person(index, ping.person_id)
        for index, ping in enumerate(pings)
        if not caller.speaks_for(ping.person_id)
    }
    if caller.kind is not Kind.INGEST:
        return _submit_others(pings, refused)
    refused = _refuse_by_time(pings) | refused
    charge = quota.charge(ping.person_id for index, ping in enumerate(pings) if index not in refused)
    try:
        return _submit_others(pings, refused)
    except BaseException:
        charge.give_back()  # the client will send them again
        raise


async def submit_at_once(caller: Caller, ping: Ping) -> bool:
    """`submit` in an event loop, for the usual case: one good ping, and nothing to wait for but the broker.

    False if it is not that case: then nothing was done, and `submit` decides. Raises NeighbourUnavailable.
    """
    neighbour = neighbours.pings()
    can_submit = getattr(neighbour, "can_submit_at_once", None)
    if can_submit is None or not can_submit(ping) or not caller.may(_MAY_SEND):
        return False
    if not caller.speaks_for(ping.person_id):
        return False
    if caller.kind is not Kind.INGEST:
        return bool(await neighbour.submit_at_once(ping))
    if _refuse_by_time([ping]):
        return False
    try:
        charge = quota.charge([ping.person_id], quota.AT_ONCE_S)
    except (quota.TooManyPings, NeighbourUnavailable):
        return False
    is_submitted = False
    try:
        is_submitted = bool(await neighbour.submit_at_once(ping))
    finally:
        if not is_submitted:
            await asyncio.to_thread(charge.give_back)
    return is_submitted


def _refuse_by_time(pings: Sequence[Ping]) -> dict[int, Refusal]:
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


def _submit_others(pings: Sequence[Ping], refused: dict[int, Refusal]) -> Receipt:
    """Submits the pings that are not refused yet. The receipt has both kinds of refusals."""
    if not refused:
        return neighbours.pings().submit(pings)
    kept = [index for index in range(len(pings)) if index not in refused]
    receipt: Receipt = neighbours.pings().submit([pings[index] for index in kept])
    new = [replace(refusal, index=kept[refusal.index]) for refusal in receipt.refused]
    return Receipt(receipt.stored, sorted([*refused.values(), *new], key=attrgetter("index")))


def get(caller: Caller, person_id: int, creation_time: datetime) -> Ping | None:
    """The stored location of this person at this time; None if the caller may not see it."""
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

    For a person's token only their own. Raises PermissionDenied; UnknownPerson if the caller may not see this
    person's locations.
    """
    person_id = _whose(caller, person_id)
    return neighbours.locations().list_between(
        person_id=person_id,
        start=start,
        end=end,
        bounds=bounds,
        after=after,
        limit=limit,
        newest_first=newest_first,
    )


def days(
    caller: Caller, *, person_id: int | None = None, time_zone: str = "UTC"
) -> Generator[Day, None, None]:
    """The days of an IANA time zone that have pings, in order; for a person's token the days of their own.

    Raises PermissionDenied, OutOfBounds for an unknown time zone, UnknownPerson.
    """
    person_id = _whose(caller, person_id)
    if error := time_zone_error(time_zone):
        raise OutOfBounds({"time_zone": [error]})
    found = neighbours.locations().days(person_id=person_id, time_zone=time_zone)
    return _days_of_existing_person(person_id, found)


def _days_of_existing_person(person_id: int | None, found: Iterator[Day]) -> Generator[Day, None, None]:
    """The days. If there are none, checks the person: raises UnknownPerson if they do not exist.

    No query is made before the first day is requested: the audit log records the question first.
    """
    empty = True
    for day in found:
        empty = False
        yield day
    if empty and person_id is not None and not neighbours.persons().get_many([person_id]):
        raise UnknownPerson(person_id)


def positions(
    caller: Caller,
    *,
    at: datetime,
    bounds: Bounds | None = None,
    person_id: int | None = None,
    **parameters: float | None,
) -> Generator[Ping, None, None]:
    """The newest location of each person in (at - max_age_s, at], ordered by person.

    For a person's token only their own. `parameters` are those of limits.POSITIONS; None means the default.
    Raises PermissionDenied, OutOfBounds, UnknownPerson if the caller may not see this person's locations.
    """
    person_id, complete = _whose(caller, person_id), limits.complete(limits.POSITIONS, parameters)
    return neighbours.locations().positions(at=at, bounds=bounds, person_id=person_id, **complete)


def heat(
    caller: Caller,
    *,
    start: datetime,
    end: datetime,
    person_id: int | None = None,
    **parameters: float | None,
) -> Generator[HeatCell, None, None]:
    """The cells of a grid that have pings in [start, end), ordered by latitude, then longitude.

    For a person's token only their own pings count. `parameters` are those of limits.HEAT; None means the
    default. Raises PermissionDenied, OutOfBounds, UnknownPerson if the caller may not see this person's
    locations.
    """
    person_id, complete = _whose(caller, person_id), limits.complete(limits.HEAT, parameters)
    _check_range(start, end, max_days=limits.MAX_HEAT_DAYS)
    return neighbours.locations().heat(start=start, end=end, person_id=person_id, **complete)


def visits(
    caller: Caller,
    *,
    areas: Sequence[Area],
    start: datetime,
    end: datetime,
    person_id: int | None = None,
    **parameters: float | None,
) -> Generator[AreaVisits, None, None]:
    """The visits of each area in [start, end), ordered by the id of the area.

    For a person's token only their own. `parameters` are those of limits.VISITS; None means the default.
    Raises PermissionDenied, OutOfBounds, UnknownPerson if the caller may not see this person's locations.
    """
    person_id, complete = _whose(caller, person_id), limits.complete(limits.VISITS, parameters)
    _check_range(start, end)
    return neighbours.locations().visits(areas=areas, start=start, end=end, person_id=person_id, **complete)


def _whose(caller: Caller, person_id: int | None) -> int | None:
    """The person that a question is about, for a person's token always its own; None means everybody.

    Raises PermissionDenied; UnknownPerson if the caller may not see this person's locations.
    """
    if not caller.may(_MAY_READ):
        raise PermissionDenied
    if person_id is None:
        return caller.person_id
    if not caller.speaks_for(person_id):
        raise UnknownPerson(person_id)
    return person_id


def _check_range(start: datetime, end: datetime, *, max_days: int | None = None) -> None:
    if error := limits.range_error(start, end, max_days=max_days):
        raise OutOfBounds({"end": [error]})
