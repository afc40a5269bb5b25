"""The pairs of people that a process answers for."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Scope:
    """A part of all pairs (a, b), where a is the smaller id; the default is all of them.

    `shards` are the values of a % `of_shards` that are in it: so processes share the work. With `people`, one
    of the two is in `people`, or both.
    """

    shards: frozenset[int] | None = None
    of_shards: int = 1
    people: Collection[int] | None = None
    both: bool = False

    def covers(self, a: Numbers, b: Numbers) -> NDArray[np.bool_]:
        """Whether each pair is in it. `a` and `b` are arrays of ids with the same shape (n,)."""
        found = self.owns(a)
        if self.people is not None:
            found &= self.has_pair(self.has(a), self.has(b))
        return found

    def has_pair(self, has_a: NDArray[np.bool_], has_b: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return has_a & has_b if self.both else has_a | has_b

    def owns(self, a: Numbers) -> NDArray[np.bool_]:
        if self.shards is None:
            return np.ones(len(a), bool)
        return np.isin(a % self.of_shards, list(self.shards))

    def has(self, ids: Numbers) -> NDArray[np.bool_]:
        if self.people is None:
            return np.ones(len(ids), bool)
        return np.isin(ids, list(self.people))


EVERYTHING = Scope()
