"""Use cases of people. The `local:` implementation of the persons seam; the views use it too."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from django.db.models import Q, QuerySet
from django.utils import timezone

from access.callers import Caller
from persons import models

FIELDS = ("id", "first_name", "last_name", "company_name")
MAX_ID = 2**63 - 1
SHORT_LIST = 100  # people; a shorter list takes one round trip to the database, reading in blocks takes five


@dataclass(frozen=True, slots=True)
class Person:
    """A person as other apps see them, in process or over the wire."""

    id: int
    first_name: str
    last_name: str
    company_name: str

    def to_wire(self) -> dict[str, int | str]:
        """The person as in the REST API."""
        return {
            "id": self.id,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "company_name": self.company_name,
        }


def get_many(ids: Iterable[int]) -> dict[int, Person]:
    """The people with these ids, by id, in one query. Unknown ids are absent.

    Contains people who are not findable, because the caller knows the id, for example from a ping.
    """
    return _by_id(models.Person.objects.all(), ids)


def findable(ids: Iterable[int]) -> dict[int, Person]:
    """As `get_many`, without people who are not findable."""
    return _by_id(models.Person.objects.filter(findable=True), ids)


def _by_id(people: QuerySet[models.Person], ids: Iterable[int]) -> dict[int, Person]:
    possible = [i for i in set(ids) if 0 < i <= MAX_ID]
    rows = people.filter(id__in=possible).values_list(*FIELDS)  # no query if there are none
    return {row[0]: Person(*row) for row in rows}


def get(caller: Caller, person_id: int) -> Person | None:
    """The person with this id; None if unknown, or if the caller is another person."""
    return get_many([person_id]).get(person_id) if caller.speaks_for(person_id) else None


def search(
    caller: Caller,
    *,
    ids: Iterable[int] | None = None,
    words: str = "",
    after: int = 0,
    limit: int | None = None,
) -> Iterator[Person]:
    """Findable people, ordered by id, read in blocks from one snapshot. A person gets only themselves.

    Each word of `words` must be part of the first name, last name or company name; case is ignored.
    """
    people = models.Person.objects.filter(id__gt=after).order_by("id")
    people = people.filter(**({"id__range": caller.people} if caller.people else {"findable": True}))
    if ids is not None:
        people = people.filter(id__in=[i for i in set(ids) if 0 < i <= MAX_ID])
    for word in words.split():
        people = people.filter(
            Q(first_name__icontains=word) | Q(last_name__icontains=word) | Q(company_name__icontains=word)
        )
    rows = people.values_list(*FIELDS)
    first = list(rows[: SHORT_LIST if limit is None else limit])
    if limit is None and len(first) == SHORT_LIST:  # perhaps too many for memory: read again, in blocks
        yield from itertools.starmap(Person, rows.iterator(chunk_size=2000))
    else:
        yield from itertools.starmap(Person, first)


def create(*, first_name: str, last_name: str, company_name: str) -> Person:
    row = models.Person.objects.create(first_name=first_name, last_name=last_name, company_name=company_name)
    return Person(row.id, first_name, last_name, company_name)


def update(person_id: int, **names: str) -> Person | None:
    """Updates only the given names, so that concurrent callers keep each other's changes.

    None if there is no such person.
    """
    if names and 0 < person_id <= MAX_ID:
        models.Person.objects.filter(id=person_id).update(**names)
    return get_many([person_id]).get(person_id)


def delete(person_id: int) -> bool:
    """Deletes a person; a trigger deletes their pings in the same transaction. False if there is none."""
    if not 0 < person_id <= MAX_ID:
        return False
    return models.Person.objects.filter(id=person_id).delete()[0] > 0


class Consent(NamedTuple):
    """Whether others may find a person, and whether the person ever chose that themselves."""

    findable: bool
    decided: bool


def consent(person_id: int) -> Consent | None:
    """None if there is no such person."""
    if not 0 < person_id <= MAX_ID:
        return None
    row = models.Person.objects.filter(id=person_id).values_list("findable", "decided_at").first()
    return row and Consent(findable=row[0], decided=row[1] is not None)


def set_findable(person_id: int, *, findable: bool, by_themselves: bool = False) -> bool:
    """Applies from the next question on. False if there is no such person."""
    if not 0 < person_id <= MAX_ID:
        return False
    decided = {"decided_at": timezone.now()} if by_themselves else {}
    return models.Person.objects.filter(id=person_id).update(findable=findable, **decided) > 0
