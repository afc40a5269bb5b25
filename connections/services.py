"""Who was near whom: locations answer where and when, persons answer who. Connections own no data."""

from collections.abc import Iterable
from typing import Any

from connect import neighbours

PERSONS_AT_ONCE = 300  # ids in one question to persons


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


def exists(person_id: int) -> bool:
    return bool(neighbours.persons().get_many([person_id]))
