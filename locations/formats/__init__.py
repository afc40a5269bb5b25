"""File formats of pings. A reader yields the items of a file; locations.pings validates them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from connect.files import Source


class Unreadable(Exception):
    """The file cannot be read, or no further. The items before that place are good."""


class Item(NamedTuple):
    """The fields of a ping as the file has them, or the reason why it has none."""

    place: int  # in the reader's UNIT, counted from 1
    fields: dict[str, Any] | str


class Reader(Protocol):
    UNIT: str

    def items(self, source: Source, *, person_id: int | None) -> Iterator[Item]:
        """The items of a file; `person_id` is the default for those without one. Raises Unreadable."""


def reader_for(path: Path) -> Reader:
    """The reader for a file's extension, with or without .gz. Raises Unreadable."""
    from locations.formats import csv, geojson, gpx  # noqa: PLC0415 - they import the names above

    readers: dict[str, Reader] = {".csv": csv, ".gpx": gpx, ".geojson": geojson, ".json": geojson}
    name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    try:
        return readers[name.suffix.lower()]
    except KeyError:
        raise Unreadable(f"its name must end in {', '.join(readers)}, with or without .gz") from None
