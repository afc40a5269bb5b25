"""Columns (structured arrays of NumPy) as input and output of COPY in PostgreSQL's binary format.

All fields have 8, 4 or 1 bytes (bool) and are not NULL, so every row has the same length. Times are
microseconds since 1970 in a field of 8 bytes; `times` has their names.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEAD, _END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
_2000 = 946_684_800_000_000  # PostgreSQL's epoch


def names(kind: np.dtype[Any]) -> tuple[str, ...]:
    return kind.names or ()


def unpack(rows: memoryview, kind: np.dtype[Any], *, times: Iterable[str]) -> NDArray[Any]:
    """The output of COPY as an array of the type `kind`, whose fields are the columns."""
    found = np.frombuffer(rows[len(_HEAD) : len(rows) - len(_END)], _row(kind))
    columns = np.empty(len(found), kind)
    for name in names(kind):
        columns[name] = found[name]
    for name in times:
        columns[name] += _2000
    return columns


def pack(columns: NDArray[Any], *, times: Iterable[str]) -> bytes:
    """The input of COPY."""
    kind = columns.dtype
    rows = np.empty(len(columns), _row(kind))
    rows["fields"] = len(names(kind))
    for name in names(kind):
        rows[f"{name}_bytes"] = kind[name].itemsize
        rows[name] = columns[name]
    for name in times:
        rows[name] -= _2000
    return _HEAD + rows.tobytes() + _END


def _row(kind: np.dtype[Any]) -> np.dtype[Any]:
    """A row has the number of fields, then the length and the value of each, big-endian."""
    fields: list[Any] = [("fields", ">i2")]
    for name in names(kind):
        fields += [(f"{name}_bytes", ">i4"), (name, kind[name].newbyteorder(">"))]
    return np.dtype(fields)
