"""The people of one answer, fetched from persons in batches."""

from collections.abc import Iterable, Sequence
from typing import Any

from connect import neighbours

PERSONS_BATCH = 300  # ids per call of persons


class PeopleCache:
    """The people of one answer. Each is fetched once, in batches, block by block of the rows."""

    def __init__(self) -> None:
        self._people: dict[int, dict[str, Any] | None] = {}

    def load(self, rows: Iterable[Any]) -> dict[int, dict[str, Any] | None]:
        """`load_ids` of the `person_id` of these rows."""
        return self.load_ids(row.person_id for row in rows)

    def load_ids(self, ids: Iterable[int]) -> dict[int, dict[str, Any] | None]:
        """Fetches these people; returns all so far in wire form by id, None for a deleted one."""
        new = sorted({*ids} - self._people.keys())
        for first in range(0, len(new), PERSONS_BATCH):
            batch = new[first : first + PERSONS_BATCH]
            found = neighbours.persons().get_many(batch)
            self._people |= dict.fromkeys(batch) | {each.id: each.to_wire() for each in found.values()}
        return self._people

    def with_people(self, locations: Sequence[Any]) -> list[dict[str, Any]]:
        """Locations and their people in wire form, without the locations of deleted people."""
        people = self.load(locations)
        return [
            {"location": location.to_wire(), "person": person}
            for location in locations
            if (person := people[location.person_id])
        ]
