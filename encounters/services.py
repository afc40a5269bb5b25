"""The use cases of everybody's stored encounters, for staff. Every interface calls these functions.

Each checks the caller and the bounds. A person's own encounters are a use case of connections.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar

from django.core.exceptions import PermissionDenied

from access.callers import EDITORS, Caller
from connect import neighbours
from connect.errors import OutOfBounds, UnknownPerson, UnknownZone
from encounters import queries
from encounters.queries import Element, Reached, StoredEncounter, Sum
from locations import limits
from locations.person_rows import may_exist

Row = TypeVar("Row")


def encounters(
    caller: Caller,
    *,
    start: datetime,
    end: datetime,
    person_id: int | None = None,
    company: str | None = None,
    zone_id: int | None = None,
    after: tuple[datetime, int, int] | None = None,
    limit: int | None = None,
    **parameters: float | None,
) -> Generator[StoredEncounter, None, None]:
    """The stored encounters of each pair, ordered by start and the two people; queries.encounters says more.

    `parameters` are those of limits.STORED_ENCOUNTERS; None means the default. Raises PermissionDenied,
    OutOfBounds, UnknownPerson, UnknownZone.
    """
    complete = _checked(caller, start, end, limits.STORED_ENCOUNTERS, parameters)
    if not may_exist(person_id):
        raise UnknownPerson(person_id or 0)
    area = None
    if zone_id is not None:
        area = neighbours.zone_area(zone_id)
        if area is None:
            raise UnknownZone(zone_id)
    rows = queries.encounters(
        start=start,
        end=end,
        person_id=person_id,
        company=company,
        area=area,
        after=after,
        limit=limit,
        **complete,
    )
    return _rows_of_existing_person(person_id, rows)


def summary(
    caller: Caller,
    *,
    by: str,
    start: datetime,
    end: datetime,
    limit: int | None = None,
    **parameters: float | None,
) -> Iterator[Sum]:
    """The encounters summed by pair, person, company or time; queries.summary says more.

    `parameters` are those of limits.STORED_ENCOUNTERS. Raises PermissionDenied, OutOfBounds.
    """
    complete = _checked(caller, start, end, limits.STORED_ENCOUNTERS, parameters)
    if by not in queries.BY:
        raise OutOfBounds({"by": [f"Must be one of {', '.join(queries.BY)}."]})
    return queries.summary(by=by, start=start, end=end, limit=limit, **complete)


def graph(caller: Caller, *, start: datetime, end: datetime, **parameters: float | None) -> Iterator[Element]:
    """The nodes, then the edges of the graph of who met whom.

    `parameters` are those of limits.STORED_ENCOUNTERS. Raises PermissionDenied, OutOfBounds.
    """
    complete = _checked(caller, start, end, limits.STORED_ENCOUNTERS, parameters)
    return queries.graph(start=start, end=end, **complete)


def cascade(
    caller: Caller,
    *,
    person_id: int,
    start: datetime,
    end: datetime,
    depth: int = limits.DEPTH,
    **parameters: float | None,
) -> Generator[Reached, None, None]:
    """The people whom something can reach from a person, ordered by time; queries.cascade says more.

    `parameters` are those of limits.CASCADE. Raises PermissionDenied, OutOfBounds, UnknownPerson.
    """
    complete = _checked(caller, start, end, limits.CASCADE, parameters)
    if not 1 <= depth <= limits.MAX_DEPTH:
        raise OutOfBounds({"depth": [f"Must be from 1 to {limits.MAX_DEPTH}."]})
    if not may_exist(person_id):
        raise UnknownPerson(person_id)
    rows = queries.cascade(person_id=person_id, start=start, end=end, depth=depth, **complete)
    return _rows_of_existing_person(person_id, rows)


def _checked(
    caller: Caller,
    start: datetime,
    end: datetime,
    known: Iterable[limits.Parameter],
    parameters: Mapping[str, float | None],
) -> dict[str, Any]:
    """All parameters of the question, if the caller may ask it."""
    if not caller.may(EDITORS):
        raise PermissionDenied
    complete = limits.complete(known, parameters)
    if error := limits.range_error(start, end):
        raise OutOfBounds({"end_date": [error]})
    return complete


def _rows_of_existing_person(person_id: int | None, rows: Iterator[Row]) -> Generator[Row, None, None]:
    """The rows. If a person is asked about and there are none, raises UnknownPerson if they do not exist.

    No query is made before the first row is requested: the audit log records the question first.
    """
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty and person_id is not None and not neighbours.persons().get_many([person_id]):
        raise UnknownPerson(person_id)
