"""The use cases of connections: who was near whom. Every interface calls these functions.

Each checks the caller and the bounds, asks locations, and checks that the person exists. This app stores no
data: locations has the positions and times, persons the names.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

from django.core.exceptions import PermissionDenied

from access.callers import PROCESSES, READERS, Caller, Kind
from connect import neighbours
from connect.errors import OutOfBounds, UnknownPerson
from locations import limits

_MAY_ASK = READERS | PROCESSES

Row = TypeVar("Row")


def connections(
    caller: Caller,
    *,
    person_id: int,
    start: datetime,
    end: datetime,
    after: tuple[datetime, int] | None = None,
    limit: int | None = None,
    **parameters: float | None,
) -> Generator[Any, None, None]:
    """Locations of others near an own one, each once, ordered by creation_time, person.

    `parameters` are those of limits.CONNECTIONS; None means the default. Not for a person's token, since
    these are positions of others. Raises PermissionDenied, OutOfBounds, UnknownPerson.
    """
    if caller.kind is Kind.PERSON:
        raise PermissionDenied("A person's token may ask about encounters, not about connections.")
    complete = _checked(caller, person_id, start, end, limits.CONNECTIONS, parameters)
    rows = neighbours.locations().connections(
        person_id, start=start, end=end, after=after, limit=limit, **complete
    )
    return _rows_of_existing_person(person_id, rows)


def encounters(
    caller: Caller,
    *,
    person_id: int,
    start: datetime,
    end: datetime,
    plausible_only: bool = False,
    after: tuple[datetime, int, int] | None = None,
    limit: int | None = None,
    **parameters: float | None,
) -> Generator[Any, None, None]:
    """The encounters of a person, ordered by start, person.

    `parameters` are those of limits.ENCOUNTERS; None means the default. For a person's token only plausible
    own pings count, and the bounds are narrow. Raises PermissionDenied, OutOfBounds, UnknownPerson.
    """
    complete = _checked(caller, person_id, start, end, limits.ENCOUNTERS, parameters)
    rows = neighbours.locations().encounters(
        person_id,
        start=start,
        end=end,
        plausible_only=only_plausible(caller, asked=plausible_only),
        after=after,
        limit=limit,
        **complete,
    )
    return _rows_of_existing_person(person_id, rows)


def only_plausible(caller: Caller, *, asked: bool) -> bool:
    """Whether only plausible own pings count: always for a person's token, else if asked for."""
    return asked or caller.kind is Kind.PERSON


def _checked(
    caller: Caller,
    person_id: int,
    start: datetime,
    end: datetime,
    known: Iterable[limits.Parameter],
    parameters: Mapping[str, float | None],
) -> dict[str, float | None]:
    """All parameters of the question, if the caller may ask it."""
    if not caller.may(_MAY_ASK):
        raise PermissionDenied
    if not caller.speaks_for(person_id):
        raise UnknownPerson(person_id)
    complete = limits.complete(known, parameters, is_person=caller.kind is Kind.PERSON)
    if error := limits.range_error(start, end):
        raise OutOfBounds({"end": [error]})
    return complete


def _rows_of_existing_person(person_id: int, rows: Iterator[Row]) -> Generator[Row, None, None]:
    """The rows. If there are none, checks the person: raises UnknownPerson if they do not exist.

    No query is made before the first row is requested: the audit log records the question first.
    """
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty and not neighbours.persons().get_many([person_id]):
        raise UnknownPerson(person_id)
