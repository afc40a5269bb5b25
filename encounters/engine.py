"""Finds everybody's encounters in pings that come in time slices.

The answer is that of `locations.proximity_sql.encounters_sql` for every person, to the bit: the same chords,
the same geodesic where a chord leaves a doubt, the same order of equals. The tests compare the two.

All pings are columns, and all steps work on whole columns: a k-d tree finds the pairs of a chunk of pings, a
sort groups them, and the groups are merged with the encounters that go on. Times are integers, microseconds
since 1970; coordinates are WGS84 degrees.
"""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from encounters.geodesy import geocentric, geodesic_m
from encounters.rows import ENCOUNTER, PING, Numbers, Rows, in_order, in_time_order, is_in, unique
from encounters.scope import EVERYTHING, Scope
from locations.distance_sql import chords
from locations.limits import DISTANCE_M, MAX_GAP_S, WITHIN_S

MAX_DISTANCE_M = 1000  # up to here the shortest chord of an encounter gives the shortest distance
MAX_CANDIDATES = 1_000_000  # pairs in memory, on average; some 200 bytes each
FIRST_CHUNK = 2000  # pings; the number of their pairs says how many the next chunk takes
MAX_CHUNK = 100_000
_INDEX_BITS = 29  # of a ping in a chunk; the chord in tenths of a micrometre takes the other 34

# `a` is the person with the smaller id. `nearest_time_a` is the time of the position of `a`.
_SEEN_BY_EACH = [
    (f"{name}_{side}", kind)
    for side in "ab"
    for name, kind in [
        ("first", "i8"),
        ("last", "i8"),
        ("pings", "i4"),
        ("nearest_time", "i8"),
        ("latitude", "f8"),
        ("longitude", "f8"),
    ]
]
_OPEN = np.dtype(
    [
        ("person_a_id", "i8"),
        ("person_b_id", "i8"),
        ("last_pair", "i8"),
        ("square", "f8"),  # of the shortest chord, m²
        ("incomplete", "?"),  # some of its pings were not fed: begun before the first, or late
        ("nearest", "i8"),  # the shortest chord in tenths of a micrometre: the two count as equal within it
        *_SEEN_BY_EACH,
    ]
)


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of encounters. Their bounds are those of the question."""

    distance_m: float = DISTANCE_M
    within_s: float = WITHIN_S
    max_gap_s: float = MAX_GAP_S

    def __post_init__(self) -> None:
        if not 0 < self.distance_m <= MAX_DISTANCE_M:
            raise ValueError(f"The distance must be more than 0 and at most {MAX_DISTANCE_M} m.")

    @property
    def within_us(self) -> int:
        return round(self.within_s * 1_000_000)

    @property
    def max_gap_us(self) -> int:
        return round(self.max_gap_s * 1_000_000)

    @property
    def margin_us(self) -> int:
        """A ping changes only encounters with a pair less than this before or after it."""
        return self.within_us + self.max_gap_us


@dataclass(slots=True)
class _Chunk:
    """The pings in memory, sorted by time, then person; those from `fresh` on are new.

    `code` has the ranks of the person ids, 0 to `people` - 1.
    """

    pings: Rows
    places: NDArray[Any]  # geocentric metres, shape (n, 3)
    fresh: int
    code: Numbers
    people: int


@dataclass(slots=True)
class _Groups:
    """Uninterrupted pairs of two people in a chunk, one row per group, ordered by pair and time."""

    rows: Rows  # _OPEN
    first_pair: Numbers  # times
    pair_key: Numbers
    met: dict[str, tuple[Numbers, Numbers]]  # per side: each (group, ping) once


class Engine:
    """Takes pings slice by slice and returns the encounters in `scope` that have ended.

    In memory are the pings of the last `within_s`, and the encounters that may go on: those whose last pair
    is at most `max_gap_s` old.
    """

    def __init__(self, parameters: Parameters | None = None, scope: Scope = EVERYTHING) -> None:
        self.parameters = parameters or Parameters()
        self._scope = scope
        self.watermark: int | None = None  # every ping before this time has come
        self.incomplete_people = np.empty(0, np.int64)  # encounters with them miss pings
        self._limits = chords(self.parameters.distance_m)
        self._chunk_size = FIRST_CHUNK
        self._forget()

    def copy(self) -> "Engine":
        """An engine that goes on from here and leaves this one as it is."""
        other = copy.copy(self)
        vars(other).update(_open=self._open.copy(), _counted=dict(self._counted))  # those changed in place
        return other

    def _forget(self) -> None:
        self._incomplete = np.empty(0, ENCOUNTER)
        self._pings = np.empty(0, PING)
        self._places = np.empty((0, 3))
        self._open = np.empty(0, _OPEN)
        # Per side, sorted: row of _open * len(_pings) + index of a ping that is counted in this encounter.
        self._counted = {side: np.empty(0, np.int64) for side in "ab"}

    def feed(self, pings: Rows, *, until: int) -> Rows:
        """Takes all pings (PING) from the previous `until` to before `until`, in any order.

        Of several pings of the same person and time the first one counts. Returns the encounters (ENCOUNTER)
        that cannot go on, ordered by start, person_a_id, person_b_id.
        """
        pings = in_time_order(pings)
        if self.watermark is not None and until < self.watermark:
            raise ValueError("`until` must not be before the previous one.")
        if len(pings):
            first, last = pings["time"][[0, -1]]
            if last >= until or (self.watermark is not None and first < self.watermark):
                raise ValueError("A ping is not between the previous `until` and this one.")
        ended = []
        while len(pings):
            chunk, pings = pings[: self._chunk_size], pings[self._chunk_size :]
            ended.append(self._take(chunk, until=int(pings["time"][0]) if len(pings) else until))
        if not ended:
            ended.append(self._close(until))
        self.watermark = until
        return in_order(np.concatenate(ended))

    def finish(self) -> Rows:
        """Returns the encounters that could go on, as they are so far. No more pings come."""
        ended = self.open_encounters
        ended["ongoing"] = False
        self._forget()
        return ended

    def mark_incomplete(self, *, before: int | None = None) -> None:
        """Marks open encounters with `incomplete_people`, and those that start before a time.

        When they end, `feed` leaves them out and `take_incomplete` has them.
        """
        self._open["incomplete"] |= self._misses_pings(self._open)
        if before is not None:
            self._open["incomplete"] |= _results(self._open)["start"] < before

    def _misses_pings(self, rows: Rows) -> NDArray[np.bool_]:
        a, b = (np.isin(rows[f"person_{side}_id"], self.incomplete_people) for side in "ab")
        return a | b

    def take_incomplete(self) -> Rows:
        """The encounters (ENCOUNTER) with missing pings that have ended since the last call."""
        found, self._incomplete = self._incomplete, np.empty(0, ENCOUNTER)
        return found

    @property
    def incomplete_encounters(self) -> Rows:
        """The open encounters (ENCOUNTER) with missing pings."""
        return _results(self._open[self._open["incomplete"]])

    @property
    def open_encounters(self) -> Rows:
        """The encounters (ENCOUNTER) that may go on, as they are so far, ordered as those of `feed`.

        Those with missing pings are left out.
        """
        found = in_order(_results(self._open[~self._open["incomplete"]]))
        found["ongoing"] = True
        return found

    # --- one chunk ---------------------------------------------------------------------------------

    def _take(self, fresh: Rows, *, until: int) -> Rows:
        places = np.column_stack(geocentric(fresh["latitude"], fresh["longitude"]))
        pings = np.concatenate([self._pings, fresh])
        people, code = np.unique(pings["person_id"], return_inverse=True)
        places = np.concatenate([self._places, places])
        chunk = _Chunk(pings, places, len(self._pings), code.astype(np.int64), len(people))
        older, newer = self._candidates(chunk)
        per_ping = max(len(older) / len(fresh), 1)
        self._chunk_size = int(min(MAX_CANDIDATES / per_ping, 4 * len(fresh), MAX_CHUNK)) or 1
        groups = self._grouped(chunk, *self._in_scope(people, chunk, *self._near(chunk, older, newer)))
        self._merge(groups, people, chunk, self._first_kept(pings, until))
        self._pings, self._places = chunk.pings, chunk.places
        return self._close(until)

    def _candidates(self, chunk: _Chunk) -> tuple[Numbers, Numbers]:
        """Indexes of all pairs that may be near, the earlier ping first; the later one is new."""
        outer_m = self._limits["outer_m"]
        scale = outer_m / (self.parameters.within_us + 0.5)  # different times are apart even if within is 0
        times = (chunk.pings["time"] - chunk.pings["time"][0]) * scale
        points = np.column_stack([chunk.places, times])
        radius = outer_m * 2**0.5 * (1 + 1e-6) + 1e-6
        fresh = chunk.fresh
        tree = cKDTree(points[fresh:], balanced_tree=False, compact_nodes=False)
        pairs = tree.query_pairs(radius, output_type="ndarray") + fresh  # the smaller index first
        older, newer = pairs[:, 0], pairs[:, 1]
        if fresh:
            recent = cKDTree(points[:fresh], balanced_tree=False, compact_nodes=False)
            found = recent.sparse_distance_matrix(tree, radius, output_type="ndarray")
            older, newer = np.concatenate([older, found["i"]]), np.concatenate([newer, found["j"] + fresh])
        return older, newer

    def _near(self, chunk: _Chunk, older: Numbers, newer: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        """The pairs of different people that are near in time and space, and the squares of their chords."""
        time = chunk.pings["time"]
        keep = (chunk.code[older] != chunk.code[newer]) & (
            time[newer] - time[older] <= self.parameters.within_us
        )
        older, newer = older[keep], newer[keep]
        step = chunk.places[newer] - chunk.places[older]
        # The order of the sum is that of distance_sql.square.
        square = step[:, 0] * step[:, 0] + step[:, 1] * step[:, 1] + step[:, 2] * step[:, 2]
        near = square <= self._limits["inner_squared"]
        doubtful = np.flatnonzero(~near & (square <= self._limits["outer_squared"]))
        if len(doubtful):
            distance = geodesic_m(chunk.pings[newer[doubtful]], chunk.pings[older[doubtful]])
            near[doubtful] = distance <= self.parameters.distance_m
        return older[near], newer[near], square[near]

    def _in_scope(
        self, people: Numbers, chunk: _Chunk, older: Numbers, newer: Numbers, square: Numbers
    ) -> tuple[Numbers, Numbers, Numbers]:
        if self._scope is EVERYTHING:
            return older, newer, square
        owned, has = self._scope.owns(people), self._scope.has(people)
        one, other = chunk.code[older], chunk.code[newer]
        keep = owned[np.minimum(one, other)] & self._scope.has_pair(has[one], has[other])
        return older[keep], newer[keep], square[keep]

    def _grouped(self, chunk: _Chunk, older: Numbers, newer: Numbers, square: Numbers) -> _Groups:
        """Sorts pairs by the two people and by time, and cuts them where the step is more than max_gap."""
        size, code = len(chunk.pings), chunk.code
        older_is_a = code[older] < code[newer]
        a, b = np.where(older_is_a, older, newer), np.where(older_is_a, newer, older)
        key = code[a] * chunk.people + code[b]
        if chunk.people**2 * size < 2**63:
            order = np.argsort(key * size + newer)
        else:
            order = np.lexsort((newer, key))
        a, b, key, newer, square = a[order], b[order], key[order], newer[order], square[order]
        time = chunk.pings["time"][newer]
        cut = np.ones(len(key), bool)
        cut[1:] = (key[1:] != key[:-1]) | (time[1:] - time[:-1] > self.parameters.max_gap_us)
        first = np.flatnonzero(cut)
        rows = np.empty(len(first), _OPEN)
        rows["incomplete"] = False
        rows["last_pair"] = time[np.append(first[1:], len(key)) - 1] if len(first) else 0
        group = np.cumsum(cut) - 1
        met = {}
        if len(first):
            rows["square"] = np.minimum.reduceat(square, first)
            tenths_um = np.floor(np.sqrt(square) * 1e7).astype(np.int64)
            rows["nearest"] = np.minimum.reduceat(tenths_um, first)
        for side, own in (("a", a), ("b", b)):
            met[side] = np.divmod(unique(group * size + own), size)
            rows[f"pings_{side}"] = np.bincount(met[side][0], minlength=len(first))
            if not len(first):
                continue
            pings = chunk.pings
            rows[f"person_{side}_id"] = pings["person_id"][own[first]]
            # Of one person, the order of the indexes is that of the times.
            rows[f"first_{side}"] = pings["time"][np.minimum.reduceat(own, first)]
            rows[f"last_{side}"] = pings["time"][np.maximum.reduceat(own, first)]
            nearest = np.minimum.reduceat(tenths_um << _INDEX_BITS | own, first) & ((1 << _INDEX_BITS) - 1)
            rows[f"nearest_time_{side}"] = pings["time"][nearest]
            rows[f"latitude_{side}"] = pings["latitude"][nearest]
            rows[f"longitude_{side}"] = pings["longitude"][nearest]
        return _Groups(rows, time[first], key[first], met)

    def _merge(self, groups: _Groups, people: Numbers, chunk: _Chunk, kept: int) -> None:
        """Adds the groups to the open encounters: each to the one that it goes on with, or as a new one.

        The pings before the index `kept` are not needed later.
        """
        row = self._open_rows(groups, people)
        goes_on = row >= 0
        row[~goes_on] = len(self._open) + np.arange(np.count_nonzero(~goes_on))
        recent, size = len(self._pings), len(chunk.pings)
        counted = {}
        for side, (group, ping) in groups.met.items():
            # A ping of the previous chunks may be counted already.
            old = np.flatnonzero(goes_on[group] & (ping < recent))
            again = old[is_in(row[group[old]] * recent + ping[old], self._counted[side])]
            groups.rows[f"pings_{side}"] -= np.bincount(group[again], minlength=len(row)).astype(np.int32)
            before = self._counted[side]
            if recent:
                open_row, old_ping = np.divmod(before, recent)
                before = open_row * size + old_ping
            new = np.flatnonzero(ping >= kept)
            counted[side] = unique(np.concatenate([before, row[group[new]] * size + ping[new]]))
        if len(self.incomplete_people):
            groups.rows["incomplete"] = self._misses_pings(groups.rows)
        _extend(self._open, row[goes_on], groups.rows[goes_on])
        self._open = np.concatenate([self._open, groups.rows[~goes_on]])
        self._counted = counted

    def _open_rows(self, groups: _Groups, people: Numbers) -> Numbers:
        """For each group the row of the open encounter that it goes on with; -1 if there is none."""
        row = np.full(len(groups.rows), -1)
        if not len(self._open) or not len(row):
            return row
        code = {side: np.searchsorted(people, self._open[f"person_{side}_id"]) for side in "ab"}
        here = np.ones(len(self._open), bool)
        for side in "ab":
            code[side] = np.minimum(code[side], len(people) - 1)
            here &= people[code[side]] == self._open[f"person_{side}_id"]
        rows = np.flatnonzero(here)
        if not len(rows):
            return row
        keys = (code["a"] * len(people) + code["b"])[rows]
        order = np.argsort(keys)
        keys, rows = keys[order], rows[order]
        at = np.minimum(np.searchsorted(keys, groups.pair_key), len(keys) - 1)
        # Of several groups of a pair only the first can be near enough: the gap before the others is longer.
        found = (keys[at] == groups.pair_key) & (
            groups.first_pair - self._open["last_pair"][rows[at]] <= self.parameters.max_gap_us
        )
        row[found] = rows[at][found]
        return row

    def _first_kept(self, pings: Rows, until: int) -> int:
        """The index of the first ping that a ping from `until` on can be near."""
        return int(np.searchsorted(pings["time"], until - self.parameters.within_us))

    def _close(self, until: int) -> Rows:
        """Forgets what no ping from `until` on can reach. Returns the encounters that have ended."""
        goes_on = self._open["last_pair"] >= until - self.parameters.max_gap_us
        first = self._first_kept(self._pings, until)
        size = len(self._pings)
        new_row, left = np.cumsum(goes_on) - 1, size - first
        for side, counted in self._counted.items():
            if size:
                row, ping = np.divmod(counted, size)
                keep = goes_on[row] & (ping >= first)
                self._counted[side] = new_row[row[keep]] * left + ping[keep] - first
        self._pings, self._places = self._pings[first:].copy(), self._places[first:].copy()
        ended, self._open = self._open[~goes_on], self._open[goes_on]
        missing = ended["incomplete"]
        self._incomplete = np.concatenate([self._incomplete, _results(ended[missing])])
        return _results(ended[~missing])


def find(pings: Rows, parameters: Parameters | None = None) -> Rows:
    """All encounters (ENCOUNTER) in these pings (PING)."""
    if not len(pings):
        return np.empty(0, ENCOUNTER)
    engine = Engine(parameters)
    ended = engine.feed(pings, until=int(pings["time"].max()) + 1)
    return in_order(np.concatenate([ended, engine.finish()]))


def _extend(encounters: Rows, at: Numbers, groups: Rows) -> None:
    """Adds groups (_OPEN) to the encounters (_OPEN) in the rows `at`."""
    old = encounters[at]
    new = old.copy()
    new["last_pair"] = groups["last_pair"]
    new["incomplete"] |= groups["incomplete"]
    new["square"] = np.minimum(old["square"], groups["square"])
    new["nearest"] = np.minimum(old["nearest"], groups["nearest"])
    for side in "ab":
        new[f"first_{side}"] = np.minimum(old[f"first_{side}"], groups[f"first_{side}"])
        new[f"last_{side}"] = np.maximum(old[f"last_{side}"], groups[f"last_{side}"])
        new[f"pings_{side}"] += groups[f"pings_{side}"]
        time = f"nearest_time_{side}"
        nearer = (groups["nearest"] < old["nearest"]) | (
            (groups["nearest"] == old["nearest"]) & (groups[time] < old[time])
        )
        for name in (time, f"latitude_{side}", f"longitude_{side}"):
            new[name][nearer] = groups[name][nearer]
    encounters[at] = new


def _results(encounters: Rows) -> Rows:
    """ENCOUNTER from _OPEN; proximity_sql defines the duration and the distance."""
    found = np.empty(len(encounters), ENCOUNTER)
    for name in ENCOUNTER.names or ():
        if name in (_OPEN.names or ()):
            found[name] = encounters[name]
    found["ongoing"] = False
    found["start"] = np.maximum(encounters["first_a"], encounters["first_b"])
    found["end"] = np.maximum(found["start"], np.minimum(encounters["last_a"], encounters["last_b"]))
    chord_m = np.sqrt(encounters["square"])
    arc_m = chord_m + np.power(chord_m, 3.0) / (24 * 6371000.0**2)
    found["min_distance_m"] = np.rint(100 * np.where(chord_m < 1, chord_m, arc_m)) / 100
    return found
