"""CSV: one ping per line. The columns are the fields of a ping, in any order; optional ones can be absent."""

import csv
from collections.abc import Iterator
from typing import Any

from connect.files import Source
from locations.formats import Item, Unreadable
from locations.pings import FIELDS, OPTIONAL_FIELDS, REQUIRED_FIELDS

UNIT = "line"
_IGNORED = {"id"}  # exports have it; it is made of person_id and creation_time


def items(source: Source, *, person_id: int | None) -> Iterator[Item]:
    lines = enumerate(source, 1)
    names = _header(next(lines, (1, ""))[1], optional={"person_id"} if person_id is not None else set())
    default = {} if "person_id" in names else {"person_id": person_id}
    for number, line in lines:
        # Each line is parsed alone: no value contains a line end, so a stray quote spoils one ping only.
        cells = _cells(line) if '"' in line else line.rstrip("\r\n").split(",")
        if len(cells) == len(names):
            fields: dict[str, Any] = dict(zip(names, cells, strict=True))
            if "" in cells:
                fields = {name: cell for name, cell in fields.items() if cell}
            if default:
                fields |= default
            yield Item(number, fields)
        elif cells and cells != [""]:
            yield Item(number, f"The line must have {len(names)} cells.")


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error:
        return [line, *FIELDS]  # more cells than any valid line has


def _header(line: str, *, optional: set[str]) -> list[str]:
    names = [cell.strip() for cell in _cells(line)]
    missing = FIELDS.keys() - set(names) - optional - set(OPTIONAL_FIELDS)
    unknown = set(names) - FIELDS.keys() - _IGNORED
    if missing or unknown or len(set(names)) < len(names):
        found = line.strip().encode("ascii", "backslashreplace").decode()[:200]
        raise Unreadable(
            f"line 1 must name the columns {', '.join(REQUIRED_FIELDS)}, and may name "
            f"{', '.join(OPTIONAL_FIELDS)}, in any order, with commas; it is {found!r}"
        )
    return names
