"""The use cases of connections: who was near whom. Every door asks by these functions.

Each checks the caller, the bounds and that the person exists, and then asks. Locations answer where and when,
persons answer who. Connections own no data.
"""

from collections.abc import Generator, Iterable, Iterator
from datetime import datetime
from typing import Any, TypeVar

from django.core.exceptions import PermissionDenied

from access.callers import PROCESSES, READERS, Caller, Kind
from connect import neighbours
from connect.errors import OutOfBounds, UnknownPerson
from locations import limits

PERSONS_AT_ONCE = 300  # ids in one question to persons
_MAY_ASK = READERS | PROCESSES

Row = TypeVar("Row")


def connections(
    caller: Caller,
    *,
    person_id: int,
    start: datetime,
    end: datetime,
    distance_m: float = limits.DISTANCE_M,
    within_s: float | None = None,
    after: tuple[datetime, int] | None = None,
    limit: int | None = None,
) -> Generator[Any, None, None]:
    """Locations of others near an own one, each once, ordered by creation_time, person.

    Not for a person: they are positions of others. Raises PermissionDenied, OutOfBounds, UnknownPerson.
    """
    if caller.kind is Kind.PERSON:
        raise PermissionDenied("A person's token may ask about encounters, not about connections.")
    _check(caller, person_id, start, end, distance_m=distance_m, within_s=within_s)
    rows = neighbours.locations().connections(
        person_id,
        start=start,
        end=end,
        distance_m=distance_m,
        within_s=within_s,
        after=after,
        limit=limit,
    )
    return _of_somebody(person_id, rows)


def encounters(
    caller: Caller,
    *,
    person_id: int,
    start: datetime,
    end: datetime,
    distance_m: float = limits.DISTANCE_M,
    within_s: float = limits.WITHIN_S,
    max_gap_s: float = limits.MAX_GAP_S,
    min_duration_s: float | None = None,
    plausible_only: bool = False,
    after: tuple[datetime, int, int] | None = None,
    limit: int | None = None,
) -> Generator[Any, None, None]:
    """The uninterrupted times that a person spent together with others, ordered by start, person.

    For a person only plausible own pings count, and the bounds are narrow (questions.PERSON_BOUNDS).
    Raises PermissionDenied, OutOfBounds, UnknownPerson.
    """
    is_person = caller.kind is Kind.PERSON
    if min_duration_s is None:
        min_duration_s = limits.PERSON_BOUNDS["min_duration_s"][0] if is_person else 0.0
    asked = {"distance_m": distance_m, "within_s": within_s}
    asked |= {"max_gap_s": max_gap_s, "min_duration_s": min_duration_s}
    _check(caller, person_id, start, end, **asked)
    rows = neighbours.locations().encounters(
        person_id,
        start=start,
        end=end,
        **asked,
        plausible_only=only_plausible(caller, asked=plausible_only),
        after=after,
        limit=limit,
    )
    return _of_somebody(person_id, rows)


def only_plausible(caller: Caller, *, asked: bool) -> bool:
    """Whether only plausible own pings count: always for a person, for others if they ask for it."""
    return asked or caller.kind is Kind.PERSON


def _check(caller: Caller, person_id: int, start: datetime, end: datetime, **asked: float | None) -> None:
    if not caller.may(_MAY_ASK):
        raise PermissionDenied
    if not caller.speaks_for(person_id):
        raise UnknownPerson(person_id)
    limits.check_bounds(is_person=caller.kind is Kind.PERSON, **asked)
    if wrong := limits.range_error(start, end):
        raise OutOfBounds({"end": [wrong]})


def _of_somebody(person_id: int, rows: Iterator[Row]) -> Generator[Row, None, None]:
    """The rows. Where there are none, raises UnknownPerson if there is no such person.

    Nothing is asked before the first row is: the question is noted in between.
    """
    are_none = True
    for row in rows:
        are_none = False
        yield row
    if are_none and not neighbours.persons().get_many([person_id]):
        raise UnknownPerson(person_id)


class Company:
    """The people met in one answer: each asked for once, in batches, as blocks of rows come by."""

    def __init__(self) -> None:
        self._known: dict[int, dict[str, Any] | None] = {}

    def of(self, rows: Iterable[Any]) -> dict[int, dict[str, Any] | None]:
        """The people known by now, as REST shows them, the rows' among them; None for who was deleted."""
        new = sorted({row.person_id for row in rows} - self._known.keys())
        for first in range(0, len(new), PERSONS_AT_ONCE):
            asked = new[first : first + PERSONS_AT_ONCE]
            found = neighbours.persons().get_many(asked)
            self._known |= dict.fromkeys(asked) | {each.id: each.to_wire() for each in found.values()}
        return self._known
