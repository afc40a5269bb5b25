"""The recent pings, and the pairs of near pings that new ones make with them."""

from typing import Any, NamedTuple

import numpy as np
from hirola import HashTable
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from encounters.geodesy import geocentric, geodesic_m
from encounters.rows import PING, Numbers, Rows
from locations.distance_sql import chords

MAX_TREES = 6
BUCKET_US = 30 * 1_000_000

# Two numbers as a key of a hash table. Structured keys would stay in memory until the garbage is collected.
TWO_NUMBERS = (np.int64, 2)
GROWTH = (0.7, 2.0)  # a table that is so full gets so many times as large


class Pairs(NamedTuple):
    """Pairs of pings that are near in time and space: indexes in `NearPings.pings`, the earlier ping first.

    `square` is that of the chord between them in m².
    """

    older: Numbers
    newer: Numbers
    square: NDArray[np.float64]

    def only(self, keep: NDArray[np.bool_]) -> "Pairs":
        return Pairs(*(each[keep] for each in self))


class NearPings:
    """The recent pings in the order of arrival, and k-d trees over (x, y, z, time), one for each part."""

    def __init__(self, *, distance_m: float, within_us: int) -> None:
        self.pings = np.empty(0, PING)
        self.serials = np.empty(0, np.int64)  # of each ping one number, which no other gets
        self._within_us, self._distance_m = within_us, distance_m
        self._limits = chords(distance_m)
        outer_m = self._limits["outer_m"]
        self._metres_per_us = outer_m / (within_us + 0.5)  # different times are apart even if within is 0
        self._radius_m = outer_m * 2**0.5 * (1 + 1e-6) + 1e-6
        self._points = np.empty((0, 4))
        self._trees: list[tuple[int, Any]] = []  # the index of the first ping, the tree
        self._known = RecentKeys()
        self._origin: int | None = None
        self._next_serial = 0
        self.candidates = 0  # pairs that the last `add` looked at

    def add(self, pings: Rows) -> Pairs:
        """Takes pings (PING) and returns the pairs of different people that they make.

        Of several pings of the same person and time the first one counts.
        """
        fresh = pings[self._known.add(pings["person_id"], pings["time"], pings["time"])]
        if not len(fresh):
            self.candidates = 0
            return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
        if self._origin is None:
            self._origin = int(fresh["time"][0])
        places = geocentric(fresh["latitude"], fresh["longitude"])
        points = np.column_stack([*places, (fresh["time"] - self._origin) * self._metres_per_us])
        first = len(self.pings)
        tree = _tree(points)
        one, other = self._candidates(tree, first)
        self.candidates = len(one)
        self._trees.append((first, tree))
        serials = self._next_serial + np.arange(len(fresh))
        self._next_serial += len(fresh)
        self.pings = np.concatenate([self.pings, fresh])
        self.serials = np.concatenate([self.serials, serials])
        self._points = np.concatenate([self._points, points])
        return self._near(one, other)

    def forget(self, before: int) -> None:
        """Forgets the pings before a time: the pings to come cannot be near them."""
        self._known.forget(before)
        keep = self.pings["time"] >= before
        if len(self._trees) > MAX_TREES or 2 * np.count_nonzero(keep) < len(keep):
            self.pings, self.serials, self._points = self.pings[keep], self.serials[keep], self._points[keep]
            self._trees = [(0, _tree(self._points))] if len(self.pings) else []

    def _candidates(self, tree: Any, first: int) -> tuple[Numbers, Numbers]:
        found = [tree.query_pairs(self._radius_m, output_type="ndarray").T + first]
        for begin, recent in self._trees:
            each = recent.sparse_distance_matrix(tree, self._radius_m, output_type="ndarray")
            found.append(np.stack([each["i"] + begin, each["j"] + first]))
        one, other = np.concatenate(found, axis=1)
        return one, other

    def _near(self, one: Numbers, other: Numbers) -> Pairs:
        time, person = self.pings["time"], self.pings["person_id"]
        keep = (person[one] != person[other]) & (np.abs(time[other] - time[one]) <= self._within_us)
        one, other = one[keep], other[keep]
        # In the order of the question, upon which the last bit of a distance depends.
        swap = (time[one] > time[other]) | ((time[one] == time[other]) & (person[one] > person[other]))
        older, newer = np.where(swap, other, one), np.where(swap, one, other)
        step = self._points[newer, :3] - self._points[older, :3]
        # The order of the sum is that of distance_sql.square.
        square = step[:, 0] * step[:, 0] + step[:, 1] * step[:, 1] + step[:, 2] * step[:, 2]
        near = square <= self._limits["inner_squared"]
        doubtful = np.flatnonzero(~near & (square <= self._limits["outer_squared"]))
        if len(doubtful):
            distance = geodesic_m(self.pings[newer[doubtful]], self.pings[older[doubtful]])
            near[doubtful] = distance <= self._distance_m
        return Pairs(older, newer, square).only(near)


class RecentKeys:
    """A set of keys of two numbers. Each key belongs to a time (µs), and is forgotten some time after it."""

    def __init__(self) -> None:
        self._tables: dict[int, Any] = {}  # by time // BUCKET_US

    def add(self, one: Numbers, other: Numbers, times: Numbers) -> NDArray[np.bool_]:
        """Adds keys; says of each whether it is new. Of several equal ones only the first is."""
        keys = np.column_stack([one, other])
        buckets = times // BUCKET_US
        is_new = np.empty(len(keys), bool)
        for bucket in np.unique(buckets).tolist():
            at = np.flatnonzero(buckets == bucket)
            if bucket not in self._tables:
                size = max(map(len, self._tables.values()), default=0)
                self._tables[bucket] = HashTable(
                    int(size / GROWTH[0]) + 1000, TWO_NUMBERS, almost_full=GROWTH
                )
            table = self._tables[bucket]
            highest = len(table) - 1
            index = table.add(keys[at])  # new keys are numbered on
            before = np.maximum.accumulate(np.concatenate([[highest], index[:-1]]))
            is_new[at] = index > before
        return is_new

    def forget(self, before: int) -> None:
        for bucket in [each for each in self._tables if (each + 1) * BUCKET_US <= before]:
            del self._tables[bucket]


def _tree(points: NDArray[np.float64]) -> Any:
    return cKDTree(points, balanced_tree=False, compact_nodes=False)
