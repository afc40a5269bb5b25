"""The two statements that store pings, COPY and INSERT; `storage.record` chooses.

COPY takes half the time for many pings, but fails if one of them is a repeat. INSERT skips repeats. Both need
the partitions of all pings, and a transaction around them.
"""

import io
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, connection

from connect.wire_format import to_microseconds
from locations.pings import Ping

COPY_FROM = 100  # pings; a smaller batch does not save enough to pay for the INSERT after a repeat
_UNIQUE_VIOLATION = "23505"

COPY = "COPY locations_location (person_id, creation_time, latitude, longitude) FROM STDIN (FORMAT binary)"
_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_ROW = struct.Struct("!hiqiqidid")  # the number of fields, then the length and value of each
_END = struct.pack("!h", -1)
_CHUNK = 500  # pings packed at a time
_READ = 2**20  # bytes that the driver reads at a time
_EPOCH = to_microseconds(datetime(2000, 1, 1, tzinfo=UTC))  # PostgreSQL's

# One array per column instead of one VALUES row per ping, so that the statement is short to parse. The arrays
# are formatted here: the driver's own adaptation takes longer than the insert.
_INSERT = """
INSERT INTO locations_location (person_id, creation_time, latitude, longitude)
SELECT person_id, creation_time, latitude, longitude
  FROM unnest(%s::bigint[], %s::timestamptz[], %s::float8[], %s::float8[]) WITH ORDINALITY
    AS sent (person_id, creation_time, latitude, longitude, nth)
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
