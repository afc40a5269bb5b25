"""What can be asked about people. The seam's `local:` for persons; the views use it too."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from django.db.models import Q
from django.utils import timezone

from access.callers import Caller
from persons import models

FIELDS = ("id", "first_name", "last_name", "company_name")
MAX_ID = 2**63 - 1
FEW = 100  # people are found in one trip to the database; reading in blocks takes five


@dataclass(frozen=True, slots=True)
class Person:
    """A person as it leaves this app, in process or over a wire."""

    id: int
    first_name: str
    last_name: str
    company_name: str

    def to_wire(self) -> dict[str, int | str]:
        """As REST shows it."""
        return {
            "id": self.id,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "company_name": self.company_name,
        }


def get_many(ids: Iterable[int]) -> dict[int, Person]:
    """The people among `ids` who exist, by id, in one query. Unknown ids are simply absent.

    Also those who are not to be found: who asks knows the id, as a door does that has a ping in hand.
    """
    possible = [i for i in set(ids) if 0 < i <= MAX_ID]
    if not possible:
        return {}
    rows = models.Person.objects.filter(id__in=possible).values_list(*FIELDS)
    return {row[0]: Person(*row) for row in rows}


def get(caller: Caller, person_id: int) -> Person | None:
    """The person with this id, if there is one that the caller may know of: a person knows of themselves."""
    return get_many([person_id]).get(person_id) if caller.speaks_for(person_id) else None


def search(
    caller: Caller,
    *,
    ids: Iterable[int] | None = None,
    words: str = "",
    after: int = 0,
    limit: int | None = None,
) -> Iterator[Person]:
    """People who may be found, ordered by id, read in blocks from one snapshot. For a person: themselves.

    Every word of `words` must stand, in any case, in the first name, last name or company.
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
    first = list(rows[: FEW if limit is None else limit])
    if limit is None and len(first) == FEW:  # there may be more than fit into memory: all of it anew
        yield from itertools.starmap(Person, rows.iterator(chunk_size=2000))
    else:
        yield from itertools.starmap(Person, first)


def create(*, first_name: str, last_name: str, company_name: str) -> Person:
    row = models.Person.objects.create(first_name=first_name, last_name=last_name, company_name=company_name)
    return Person(row.id, first_name, last_name, company_name)


def update(person_id: int, **names: str) -> Person | None:
    """Changes only the names given, so that two callers do not undo each other; None if there is nobody."""
    if names and 0 < person_id <= MAX_ID:
        models.Person.objects.filter(id=person_id).update(**names)
    return get_many([person_id]).get(person_id)


def delete(person_id: int) -> bool:
    """Deletes a person and, in the same transaction by a trigger, its pings. False if there is nobody."""
    if not 0 < person_id <= MAX_ID:
        return False
    return models.Person.objects.filter(id=person_id).delete()[0] > 0


class Consent(NamedTuple):
    """Whether others may find a person, and whether the person ever chose that."""

    findable: bool
    decided: bool


def consent(person_id: int) -> Consent | None:
    """None if there is no such person."""
    if not 0 < person_id <= MAX_ID:
        return None
    row = models.Person.objects.filter(id=person_id).values_list("findable", "decided_at").first()
    return row and Consent(findable=row[0], decided=row[1] is not None)


def set_findable(person_id: int, *, findable: bool, by_themselves: bool = False) -> bool:
    """Holds from the next question on. False if there is no such person."""
    if not 0 < person_id <= MAX_ID:
        return False
    decided = {"decided_at": timezone.now()} if by_themselves else {}
    return models.Person.objects.filter(id=person_id).update(findable=findable, **decided) > 0
