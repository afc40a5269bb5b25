"""Who was near whom: locations answer where and when, persons answer who. Connections own no data."""

from collections.abc import Iterable
from typing import Any

from connect import neighbours

PERSONS_AT_ONCE = 300  # ids in one question to persons


class Company:
    """The people met in one answer: each asked for once, in batches, as blocks of rows come by."""

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}

    def meet(self, person_ids: Iterable[int]) -> dict[int, Any]:
        """The people known by now, these among them. Who was deleted meanwhile is not."""
        new = sorted(set(person_ids) - self._known.keys())
        for first in range(0, len(new), PERSONS_AT_ONCE):
            asked = new[first : first + PERSONS_AT_ONCE]
            found = neighbours.persons().get_many(asked)
            self._known |= {person_id: found.get(person_id) for person_id in asked}
        return self._known


def exists(person_id: int) -> bool:
    return bool(neighbours.persons().get_many([person_id]))
