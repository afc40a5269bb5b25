"""The two statements that store pings, COPY and INSERT; `storage.record` chooses.

COPY takes half the time for many pings, but fails if one of them is a repeat. INSERT skips repeats. Both need
the partitions of all pings, and a transaction around them.
"""

import io
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from typing import Any, NamedTuple

from django.db import IntegrityError, connection

from locations.pings import COLUMNS, FIELDS, Ping

COPY_FROM = 100  # pings; a smaller batch does not save enough to pay for the INSERT after a repeat
_UNIQUE_VIOLATION = "23505"

_TABLE = f"locations_location ({', '.join(COLUMNS)})"
COPY_HEAD = "COPY locations_location "  # of this release and of those with fewer columns
COPY = f"COPY {_TABLE} FROM STDIN (FORMAT binary)"
_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = struct.pack("!h", -1)
_CHUNK = 500  # pings packed at a time
_READ = 2**20  # bytes that the driver reads at a time
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # PostgreSQL's
_MICROSECOND = timedelta(microseconds=1)


class _Format(NamedTuple):
    """How a SQL type is sent: as text in an array of INSERT, and packed in 8 bytes for COPY.

    `packable` converts the values of a column for struct.
    """

    text: Callable[[Any], str]
    code: str  # of struct
    packable: Callable[[Sequence[Any]], Sequence[Any]] = tuple


_FORMATS = {
    "bigint": _Format(str, "q"),
    "timestamptz": _Format(
        lambda moment: str(moment).replace(" ", "T"),
        "q",
        lambda moments: [(moment - _EPOCH) // _MICROSECOND for moment in moments],
    ),
    "float8": _Format(repr, "d"),
}
_COLUMN_FORMATS = [_FORMATS[FIELDS[name].column] for name in COLUMNS]
_REQUIRED = [form for name, form in zip(COLUMNS, _COLUMN_FORMATS, strict=True) if FIELDS[name].required]
_OPTIONAL = _COLUMN_FORMATS[len(_REQUIRED) :]
# A row has the number of fields, then the length and the value of each. The length of NULL is -1.
_ROW = struct.Struct("!h" + "".join(f"i{form.code}" for form in _REQUIRED))
_NULL = struct.pack("!i", -1)

# One array per column instead of one VALUES row per ping, so that the statement is short to parse. The arrays
# are formatted here: the driver's own adaptation takes longer than the insert.
_INSERT = f"""
INSERT INTO {_TABLE}
SELECT {", ".join(COLUMNS)}
  FROM unnest({", ".join(f"%s::{FIELDS[name].column}[]" for name in COLUMNS)}) WITH ORDINALITY
    AS sent ({", ".join(COLUMNS)}, nth)
 ORDER BY nth
    ON CONFLICT DO NOTHING
"""


def copy(pings: Sequence[Ping], rows: bytes | None = None) -> int:
    """Stores pings by COPY and returns their number. `rows` is `pack_rows(pings)`, if already made.

    Raises IntegrityError and stores none if one is a repeat: see is_repeat.
    """
    source = _RowStream(pings) if rows is None else io.BytesIO(rows)
    with connection.cursor() as cursor, connection.wrap_database_errors:
        cursor.copy_expert(COPY, source, _READ)
        return int(cursor.rowcount)


def is_repeat(fault: IntegrityError) -> bool:
    """Whether COPY failed because a ping with that person and time is already stored."""
    cause: Any = fault.__cause__
    return bool(cause.pgcode == _UNIQUE_VIOLATION)


def insert(pings: Sequence[Ping]) -> int:
    """Stores pings by INSERT and returns how many were new. Of equal person and time the first is stored."""
    columns = [
        f"{{{','.join('NULL' if value is None else form.text(value) for value in values)}}}"
        for form, values in zip(_COLUMN_FORMATS, zip(*pings, strict=True), strict=True)
    ]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, columns)
        return int(cursor.rowcount)


def pack_rows(pings: Sequence[Ping]) -> bytes:
    """The input of COPY in its binary format."""
    return b"".join(_packed_chunks(pings))


class _RowStream:
    """The same input as a file: the next rows are packed while the database stores the previous ones."""

    def __init__(self, pings: Sequence[Ping]) -> None:
        self._chunks = _packed_chunks(pings)

    def read(self, _size: int) -> bytes:
        return next(self._chunks, b"")


def _packed_chunks(pings: Sequence[Ping]) -> Iterator[bytes]:
    yield _HEAD
    for first in range(0, len(pings), _CHUNK):
        yield _packed(pings[first : first + _CHUNK])
    yield _END


def _packed(pings: Sequence[Ping]) -> bytes:
    """The rows, made column by column: the loops over the pings then run in C."""
    columns = list(zip(*pings, strict=True))
    required: list[Any] = [repeat(len(columns))]
    for form, values in zip(_REQUIRED, columns, strict=False):
        required += [repeat(8), form.packable(values)]
    rows = map(_ROW.pack, *required)
    optional = [
        _packed_optional(form, values)
        for form, values in zip(_OPTIONAL, columns[len(_REQUIRED) :], strict=True)
    ]
    return b"".join(chain.from_iterable(zip(rows, *optional, strict=False)))


def _packed_optional(form: _Format, values: Sequence[Any]) -> Iterable[bytes]:
    if values.count(None) == len(values):
        return repeat(_NULL)
    pack = struct.Struct(f"!i{form.code}").pack
    known = iter(form.packable([value for value in values if value is not None]))
    return [_NULL if value is None else pack(8, next(known)) for value in values]
