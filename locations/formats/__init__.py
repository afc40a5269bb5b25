"""Files of pings. Each reader gives what stands in a file, item by item, for the rule book to judge."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from connect.files import Source


class Unreadable(Exception):
    """The file cannot be read, or no farther; what it gave before is good."""


class Item(NamedTuple):
    """The fields of a ping, or why not even they can be told."""

    place: int  # counted from 1 in the reader's UNIT
    fields: dict[str, Any] | str


class Reader(Protocol):
    UNIT: str

    def items(self, source: Source, *, person_id: int | None) -> Iterator[Item]:
        """`person_id` stands in where the file does not say whose pings they are. Raises Unreadable."""


def reader_for(path: Path) -> Reader:
    """By the end of the file's name, with or without .gz."""
    from locations.formats import csv, geojson, gpx  # noqa: PLC0415 - they need the names above

    readers: dict[str, Reader] = {".csv": csv, ".gpx": gpx, ".geojson": geojson, ".json": geojson}
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    try:
        return readers[name.suffix.lower()]
    except KeyError:
        raise Unreadable(f"its name must end in {', '.join(readers)}, with or without .gz") from None
