"""The two statements that put pings into the table; `services.record` knows when which of them.

COPY takes many pings in half the time, and none when one of them is a repeat. INSERT takes whatever is no
repeat. Both need partitions for all of them, and a transaction around them.
"""

import io
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, connection

from connect.wire_format import to_microseconds
from locations.pings import Ping

MANY = 100  # from so many on COPY is worth it that repeats are tried twice
_UNIQUE_VIOLATION = "23505"

COPY = "COPY locations_location (person_id, creation_time, latitude, longitude) FROM STDIN (FORMAT binary)"
_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_ROW = struct.Struct("!hiqiqidid")  # how many fields, and before each its length
_END = struct.pack("!h", -1)
_CHUNK = 500  # pings packed at a time
_READ = 2**20  # bytes that the driver asks for at a time
_EPOCH = to_microseconds(datetime(2000, 1, 1, tzinfo=UTC))  # PostgreSQL's

# One array a column instead of a row of values each: the statement stays small to parse, and the text
# form that PostgreSQL reads is made here, because the driver's own adaptation takes longer than the insert.
_INSERT = """
INSERT INTO locations_location (person_id, creation_time, latitude, longitude)
SELECT person_id, creation_time, latitude, longitude
  FROM unnest(%s::bigint[], %s::timestamptz[], %s::float8[], %s::float8[]) WITH ORDINALITY
    AS sent (person_id, creation_time, latitude, longitude, nth)
 ORDER BY nth
    ON CONFLICT DO NOTHING
"""


def copy(pings: Sequence[Ping], rows: bytes | None = None) -> int:
    """Gives how many that were. `rows` are the same, where they were `packed` before.

    Raises IntegrityError, of which `is_repeat`, and then stores none.
    """
    source = _Packing(pings) if rows is None else io.BytesIO(rows)
    with connection.cursor() as cursor, connection.wrap_database_errors:
        cursor.copy_expert(COPY, source, _READ)
        return int(cursor.rowcount)


def is_repeat(fault: IntegrityError) -> bool:
    cause: Any = fault.__cause__
    return bool(cause.pgcode == _UNIQUE_VIOLATION)


def insert(pings: Sequence[Ping]) -> int:
    """Gives how many were no repeats; of those with the same person and time the first one is stored."""
    person_ids, times, latitudes, longitudes = zip(*pings, strict=True)
    columns = [
        f"{{{','.join(map(str, person_ids))}}}",
        f"{{{','.join(map(str, times))}}}".replace(" ", "T"),
        f"{{{','.join(map(repr, latitudes))}}}",
        f"{{{','.join(map(repr, longitudes))}}}",
    ]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, columns)
        return int(cursor.rowcount)


def packed(pings: Sequence[Ping]) -> bytes:
    """All that COPY reads, in its binary format."""
    return b"".join(_packed(pings))


class _Packing:
    """The same as a file that the driver reads: while the database stores some, the next are packed."""

    def __init__(self, pings: Sequence[Ping]) -> None:
        self._chunks = _packed(pings)

    def read(self, _size: int) -> bytes:
        return next(self._chunks, b"")


def _packed(pings: Sequence[Ping]) -> Iterator[bytes]:
    pack = _ROW.pack
    yield _HEAD
    for first in range(0, len(pings), _CHUNK):
        yield b"".join(
            [
                pack(4, 8, person_id, 8, to_microseconds(moment) - _EPOCH, 8, latitude, 8, longitude)
                for person_id, moment, latitude, longitude in pings[first : first + _CHUNK]
            ]
        )
    yield _END
