"""Pairs of pings as groups: the uninterrupted ones of two people are one row, a part of an encounter."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encounters.nearness import Pairs
from encounters.rows import ENCOUNTER, KEY, Numbers, Rows, unique

NEVER = np.iinfo(np.int64).min
_LATEST = np.iinfo(np.int64).max

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
OPEN = np.dtype(
    [
        ("person_a_id", "i8"),
        ("person_b_id", "i8"),
        ("serial", "i8"),  # of each encounter one number
        ("first_pair", "i8"),
        ("last_pair", "i8"),
        ("square", "f8"),  # of the shortest chord, m²
        ("incomplete", "?"),  # some of its pings were not fed, or came in an order that is not followed
        ("stored_start", "i8"),  # the start under which it is stored, NEVER if it is not
        ("nearest", "i8"),  # the shortest chord in tenths of a micrometre: the two count as equal within it
        *_SEEN_BY_EACH,
    ]
)


@dataclass(slots=True)
class Groups:
    """Uninterrupted pairs of two people, one row per group, ordered by couple and time."""

    rows: Rows  # OPEN
    couple: Numbers
    met: dict[str, tuple[Numbers, Numbers]]  # per side: each (group, index of the ping) once

    def only(self, at: Numbers) -> "Groups":
        number = np.full(len(self.rows), -1)
        number[at] = np.arange(len(at))
        met = {}
        for side, (group, ping) in self.met.items():
            keep = number[group] >= 0
            met[side] = number[group[keep]], ping[keep]
        return Groups(self.rows[at], self.couple[at], met)


def grouped(
    near: Pairs, pings: Rows, number: Callable[[NDArray[np.int64]], Numbers], max_gap_us: int
) -> Groups:
    """Sorts pairs by the two people and by time, and cuts them where the step is more than max_gap.

    `number` gives the numbers of couples, from their ids in the shape (n, 2).
    """
    person = pings["person_id"]
    older_is_a = person[near.older] < person[near.newer]
    a, b = np.where(older_is_a, near.older, near.newer), np.where(older_is_a, near.newer, near.older)
    couple, time = number(np.column_stack([person[a], person[b]])), pings["time"][near.newer]
    order = _order(couple, time)
    a, b, couple, time, square = a[order], b[order], couple[order], time[order], near.square[order]
    cut = np.ones(len(couple), bool)
    cut[1:] = (couple[1:] != couple[:-1]) | (time[1:] - time[:-1] > max_gap_us)
    first = np.flatnonzero(cut)
    group = np.cumsum(cut) - 1
    rows = np.empty(len(first), OPEN)
    met = {
        side: np.divmod(unique(group * len(pings) + own), len(pings)) for side, own in (("a", a), ("b", b))
    }
    if not len(first):
        return Groups(rows, couple, met)
    rows["incomplete"], rows["stored_start"] = False, NEVER
    rows["first_pair"], rows["last_pair"] = time[first], time[np.append(first[1:], len(time)) - 1]
    rows["square"] = np.minimum.reduceat(square, first)
    tenths_um = np.floor(np.sqrt(square) * 1e7).astype(np.int64)
    rows["nearest"] = np.minimum.reduceat(tenths_um, first)
    is_nearest = tenths_um == rows["nearest"][group]
    for side, own in (("a", a), ("b", b)):
        rows[f"person_{side}_id"] = pings["person_id"][own[first]]
        rows[f"pings_{side}"] = np.bincount(met[side][0], minlength=len(first))
        own_time = pings["time"][own]
        rows[f"first_{side}"] = np.minimum.reduceat(own_time, first)
        rows[f"last_{side}"] = np.maximum.reduceat(own_time, first)
        nearest_time = np.minimum.reduceat(np.where(is_nearest, own_time, _LATEST), first)
        rows[f"nearest_time_{side}"] = nearest_time
        at = np.flatnonzero(is_nearest & (own_time == nearest_time[group]))
        nearest = own[at[np.searchsorted(group[at], np.arange(len(first)))]]
        rows[f"latitude_{side}"] = pings["latitude"][nearest]
        rows[f"longitude_{side}"] = pings["longitude"][nearest]
    return Groups(rows, couple[first], met)


def _order(couple: Numbers, time: Numbers) -> Numbers:
    """The order by couple, then time."""
    if not len(couple):
        return couple
    since = time - time.min()
    span = int(since.max()) + 1
    if (int(couple.max()) + 1) * span < 2**63:  # one sort of one number
        return np.argsort(couple * span + since)
    return np.lexsort((since, couple))


def extended(old: Rows, groups: Rows) -> Rows:
    """Encounters (OPEN) with one more group (OPEN) each."""
    new = old.copy()
    new["first_pair"] = np.minimum(old["first_pair"], groups["first_pair"])
    new["last_pair"] = np.maximum(old["last_pair"], groups["last_pair"])
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
    return new


def couple_keys(encounters: Rows) -> NDArray[np.int64]:
    return np.column_stack([encounters["person_a_id"], encounters["person_b_id"]])


def stored_keys(encounters: Rows) -> Rows:
    """The keys (KEY) under which encounters (OPEN) are stored."""
    found = np.empty(len(encounters), KEY)
    found["start"] = encounters["stored_start"]
    found["person_a_id"], found["person_b_id"] = encounters["person_a_id"], encounters["person_b_id"]
    return found


def results(encounters: Rows) -> Rows:
    """ENCOUNTER from OPEN; proximity_sql defines the duration and the distance."""
    found = np.empty(len(encounters), ENCOUNTER)
    for name in ENCOUNTER.names or ():
        if name in (OPEN.names or ()):
            found[name] = encounters[name]
    found["ongoing"] = False
    found["start"] = np.maximum(encounters["first_a"], encounters["first_b"])
    found["end"] = np.maximum(found["start"], np.minimum(encounters["last_a"], encounters["last_b"]))
    chord_m = np.sqrt(encounters["square"])
    arc_m = chord_m + np.power(chord_m, 3.0) / (24 * 6371000.0**2)
    found["min_distance_m"] = np.rint(100 * np.where(chord_m < 1, chord_m, arc_m)) / 100
    return found
