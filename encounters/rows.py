"""Pings and encounters as columns (structured arrays of NumPy), and operations on whole columns.

Times are microseconds since 1970; coordinates are WGS84 degrees.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

PING = np.dtype([("person_id", "i8"), ("time", "i8"), ("latitude", "f8"), ("longitude", "f8")])

# `a` is the person with the smaller id.
ENCOUNTER = np.dtype(
    [
        ("start", "i8"),
        ("person_a_id", "i8"),
        ("person_b_id", "i8"),
        ("end", "i8"),
        ("last_pair", "i8"),
        ("pings_a", "i4"),
        ("pings_b", "i4"),
        ("min_distance_m", "f8"),
        ("latitude_a", "f8"),
        ("longitude_a", "f8"),
        ("latitude_b", "f8"),
        ("longitude_b", "f8"),
        ("ongoing", "?"),  # another pair may still follow
    ]
)
# The identity of an encounter, and its two people.
KEY = np.dtype([("start", "i8"), ("person_a_id", "i8"), ("person_b_id", "i8")])
PAIR = np.dtype([("person_a_id", "i8"), ("person_b_id", "i8")])
PERSON_TIME = np.dtype([("person_id", "i8"), ("time", "i8")])

Rows = NDArray[Any]  # structured, shape (n,)
Numbers = NDArray[Any]  # shape (n,)

_ODD, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)


def selected(rows: Rows, kind: np.dtype[Any]) -> Rows:
    """The fields of `kind` of each row."""
    found = np.empty(len(rows), kind)
    for name in kind.names or ():
        found[name] = rows[name]
    return found


def keys(encounters: Rows) -> Rows:
    """The keys (KEY) of encounters (ENCOUNTER)."""
    return selected(encounters, KEY)


def pairs(encounters: Rows) -> Rows:
    """The two people (PAIR) of encounters (ENCOUNTER)."""
    return selected(encounters, PAIR)


def is_among(rows: Rows, others: Rows) -> NDArray[np.bool_]:
    """Whether each row is equal to one of the others, which have the same fields of numbers.

    It looks rows up by a hash, then compares them. Two different others with one hash could hide each other:
    with a million of them, in one of many million calls. Callers then write an equal row again.
    """
    if not len(rows) or not len(others):
        return np.zeros(len(rows), bool)
    hashes = _hashes(others)
    order = np.argsort(hashes)
    at = np.searchsorted(hashes, _hashes(rows), sorter=order)
    found: NDArray[np.bool_] = rows == others[order[np.minimum(at, len(others) - 1)]]
    return found


def _hashes(rows: Rows) -> NDArray[np.uint64]:
    found = np.zeros(len(rows), np.uint64)
    for name in rows.dtype.names or ():
        column = rows[name]
        bits = column.view(np.uint64) if column.dtype.itemsize == 8 else column.astype(np.uint64)
        found = (found ^ bits) * _ODD
        found ^= found >> _HALF
    return found


def unique(numbers: Numbers) -> Numbers:
    numbers = np.sort(numbers)
    keep = np.ones(len(numbers), bool)
    keep[1:] = numbers[1:] != numbers[:-1]
    return numbers[keep]


def in_order(encounters: Rows) -> Rows:
    """By start, then the two people."""
    return encounters[np.lexsort((encounters["person_b_id"], encounters["person_a_id"], encounters["start"]))]
