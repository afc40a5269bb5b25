"""Ranges of ids of people, as pairs of the first and the last id and as text: "5-204, 301"."""

import re
from collections.abc import Iterable

from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from persons.models import Person
from persons.services import MAX_ID

Ranges = list[tuple[int, int]]

SHOWN = 20  # ranges in a text for readers
_RANGE = re.compile(r"([0-9]{1,19})(?:-([0-9]{1,19}))?", re.ASCII)
_PEOPLE = """
SELECT person.id FROM unnest(%s::bigint[], %s::bigint[]) AS range (first, last)
  JOIN persons_person AS person ON person.id BETWEEN range.first AND range.last
"""


def of(ids: Iterable[int]) -> Ranges:
    """The ranges of ids, which may be in any order and repeated."""
    found: Ranges = []
    for person_id in sorted(ids):
        if found and person_id <= found[-1][1] + 1:
            found[-1] = (found[-1][0], person_id)
        else:
            found.append((person_id, person_id))
    return found


def text(ranges: Ranges) -> str:
    """All ranges as text, for `parse`."""
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def summary(ids: Iterable[int]) -> str:
    """The first ranges of the ids as text, for readers."""
    ranges = of(ids)
    more = f" and {len(ranges) - SHOWN:,} more ranges" if len(ranges) > SHOWN else ""
    return text(ranges[:SHOWN]) + more


def parse(written: str) -> Ranges:
    """The ranges of a text. Raises ValueError if it is not the text of ascending ranges of ids."""
    ranges: Ranges = []
    for part in written.split(", "):
        match = _RANGE.fullmatch(part)
        if not match:
            raise ValueError("The ids must be numbers and ranges, such as 5-204, 301.")
        first, last = int(match[1]), int(match[2] or match[1])
        if not (ranges[-1][1] if ranges else 0) < first <= last <= MAX_ID:
            raise ValueError("The ids must ascend.")
        ranges.append((first, last))
    return ranges


def people(ranges: Ranges) -> QuerySet[Person]:
    firsts, lasts = [first for first, _ in ranges], [last for _, last in ranges]
    return Person.objects.filter(id__in=RawSQL(_PEOPLE, (firsts, lasts)))  # noqa: S611 - constant SQL
