"""Imports people from CSV, for `manage.py import_persons` and the upload in the admin site."""

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction

from persons.services import FIELDS

FINDABLE = "findable"  # the column may be missing, and a cell may be empty

BATCH = 5000
MAX_EXAMPLES = 20
MAX_NAME = 255
MAX_IMPORTED_ID = 2**53 - 1  # leaves room in the sequence, and JavaScript reads it exactly
# Lines of a row after its first: names may have line breaks, but a stray quote must not take the whole file.
_MAX_EXTRA_LINES = 12
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": None}
_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)


class WrongColumns(ValueError):
    """The columns are not FIELDS and optionally FINDABLE. Nothing was written."""


class Refusal(NamedTuple):
    """A row that was refused. `line` is its first line, counted from 1."""

    line: int
    reason: str


@dataclass(slots=True)
class Summary:
    """Counts rows by outcome. Each row read is created, updated, a repeat or refused."""

    read: int = 0
    created: int = 0
    updated: int = 0
    repeats: int = 0
    refused_count: int = 0
    refused: list[Refusal] = field(default_factory=list)  # the first MAX_EXAMPLES

    def refuse(self, line: int, reason: str) -> None:
        self.refused_count += 1
        if len(self.refused) < MAX_EXAMPLES:
            self.refused.append(Refusal(line, reason))


Names = tuple[str, str, str]


@dataclass(slots=True)
class _Row:
    """A person of a batch, and the lines of its identical rows."""

    names: Names
    findable: bool | None  # None: not given
    lines: list[int]


def import_rows(
    lines: Iterable[str],
    *,
    update: bool = False,
    restore_erased: bool = False,
    summary: Summary | None = None,
) -> Summary:
    """Stores the people of a CSV table under their ids. Raises WrongColumns.

    The id of an erased person is refused, unless `restore_erased` is set. `lines` are the lines of a text
    file opened with errors="surrogateescape", so that a row with bytes that are not UTF-8 is refused with its
    line. Each batch is one transaction: an interrupted import can be run again, and a given `summary` is
    correct after each batch.
    """
    summary = Summary() if summary is None else summary
    records = _records(lines)
    order = _order(records)
    batch: dict[int, _Row] = {}
    for line, cells in records:
        try:
            person_id, names, findable = _person(cells, order)
        except ValueError as fault:
            summary.read += 1
            summary.refuse(line, str(fault))
            continue
        known = batch.get(person_id)
        if known is not None and (known.names, known.findable) == (names, findable):
            known.lines.append(line)
            continue
        if known is not None or len(batch) == BATCH:
            _store(batch, update=update, restore_erased=restore_erased, summary=summary)
            batch = {}
        batch[person_id] = _Row(names, findable, [line])
    _store(batch, update=update, restore_erased=restore_erased, summary=summary)
    return summary


# --- reading -------------------------------------------------------------------------------------


def _records(lines: Iterable[str]) -> Iterator[tuple[int, list[str] | None]]:
    """The rows that are not blank, each with its line; None instead of cells if a row is not valid CSV."""
    source = iter(lines)
    pushed_back: deque[str] = deque()

    def next_line() -> str:
        return pushed_back.popleft() if pushed_back else next(source, "")

    number = 0
    while text := next_line():
        number += 1
        extra_lines: list[str] = []
        if '"' in text:
            while text.count('"') % 2 and len(extra_lines) < _MAX_EXTRA_LINES and (more := next_line()):
                extra_lines.append(more)
                text += more
            if text.count('"') % 2:
                yield number, None
                pushed_back.extendleft(reversed(extra_lines))
                continue
            try:
                cells = next(csv.reader([text], strict=True), [])
            except csv.Error:
                yield number, None
                pushed_back.extendleft(reversed(extra_lines))
                continue
        else:
            cells = text.rstrip("\r\n").split(",")
        if any(map(str.strip, cells)):
            yield number, cells
        number += len(extra_lines)


def _order(records: Iterator[tuple[int, list[str] | None]]) -> list[int]:
    """The positions of FIELDS, and of FINDABLE if present, from the header row."""
    cells = next(records, (0, []))[1] or []
    names = [cell.strip().removeprefix("\ufeff") for cell in cells]
    wanted = ", ".join(FIELDS)
    if not names:
        raise WrongColumns(f"The first line must name the columns {wanted}; no such line was found.")
    missing = [name for name in FIELDS if name not in names]
    unknown = [name for name in names if name not in (*FIELDS, FINDABLE)]
    if missing or unknown or len(names) > len(set(names)):
        found = ", ".join(name.encode("ascii", "backslashreplace").decode()[:40] for name in names[:20])
        raise WrongColumns(
            f"The columns must be {wanted} and optionally {FINDABLE}, in any order, separated by commas; "
            f"found: {found}."
        )
    return [names.index(name) for name in (*FIELDS, FINDABLE) if name in names]


def _person(cells: list[str] | None, order: list[int]) -> tuple[int, Names, bool | None]:
    if cells is None:
        raise ValueError("A quotation mark is not closed, or is inside a cell.")
    if len(cells) != len(order):
        raise ValueError(f"The row has {len(cells)} cells instead of {len(order)}.")
    person_id, *names = (cells[i].strip() for i in order)
    findable = names.pop().lower() if len(order) > len(FIELDS) else ""
    if findable not in _BOOLEANS:
        raise ValueError(f"{FINDABLE}: must be true or false, or empty.")
    if not _DIGITS.fullmatch(person_id) or not 1 <= int(person_id) <= MAX_IMPORTED_ID:
        raise ValueError(f"id: must be a whole number from 1 to {MAX_IMPORTED_ID}.")
    for name, value in zip(FIELDS[1:], names, strict=True):
        if not 1 <= len(value) <= MAX_NAME:
            raise ValueError(f"{name}: must have 1 to {MAX_NAME} characters, has {len(value)}.")
        if "\0" in value:
            raise ValueError(f"{name}: must not contain the character NUL.")
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError(f"{name}: must be text in UTF-8.")
    return int(person_id), (names[0], names[1], names[2]), _BOOLEANS[findable]


# --- writing -------------------------------------------------------------------------------------

# Blocks other writers of people for a few milliseconds per batch; reading people and storing pings is not
# blocked. So no writer takes an id from the sequence that this batch stores, and the sequence, which is read
# and then set, never goes backwards.
_LOCK = "LOCK TABLE persons_person IN SHARE ROW EXCLUSIVE MODE"

_MOVE_SEQUENCE = """
SELECT setval(pg_get_serial_sequence('persons_person', 'id'), %(newest)s)
  FROM persons_person_id_seq WHERE last_value <= %(newest)s
"""

_WRITE = """
WITH sent AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(first)s::text[], %(last)s::text[], %(company)s::text[],
                         %(findable)s::boolean[])
        AS sent (id, first_name, last_name, company_name, findable)
),
known AS MATERIALIZED ( -- before the update: all parts of a statement see the same snapshot
    SELECT id, (person.first_name, person.last_name, person.company_name)
            <> (sent.first_name, sent.last_name, sent.company_name) AS differs,
           coalesce(sent.findable, person.findable) <> person.findable AS changes_findable
      FROM sent JOIN persons_person AS person USING (id)
),
erased AS MATERIALIZED (
    -- Receipts are the only record of erased ids. Their table belongs to the app privacy, which persons must
    -- not import.
    SELECT DISTINCT sent.id FROM sent JOIN privacy_erasurereceipt AS receipt ON receipt.person_id = sent.id
     WHERE sent.id NOT IN (SELECT id FROM known) AND NOT %(restore_erased)s
),
created AS (
    INSERT INTO persons_person (id, first_name, last_name, company_name, findable)
    SELECT id, first_name, last_name, company_name, coalesce(findable, %(by_default)s)
      FROM sent WHERE id NOT IN (SELECT id FROM known UNION ALL SELECT id FROM erased)
),
updated AS (
    UPDATE persons_person AS person
       SET first_name = sent.first_name, last_name = sent.last_name, company_name = sent.company_name,
           findable = coalesce(sent.findable, person.findable)
      FROM sent JOIN known USING (id)
     WHERE person.id = sent.id AND (differs OR changes_findable) AND %(update)s
)
SELECT id, differs, changes_findable, false FROM known
 UNION ALL SELECT id, NULL, NULL, true FROM erased
"""


def _store(batch: dict[int, _Row], *, update: bool, restore_erased: bool, summary: Summary) -> None:
    if not batch:
        return
    first, last, company = zip(*(row.names for row in batch.values()), strict=True)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK)
        cursor.execute(_MOVE_SEQUENCE, {"newest": max(batch)})
        cursor.execute(
            _WRITE,
            {
                "ids": list(batch),
                "first": list(first),
                "last": list(last),
                "company": list(company),
                "findable": [row.findable for row in batch.values()],
                "by_default": settings.FINDABLE_BY_DEFAULT,
                "update": update,
                "restore_erased": restore_erased,
            },
        )
        found = cursor.fetchall()
    known = {person_id: (differs, consents) for person_id, differs, consents, erased in found if not erased}
    erased = {person_id for person_id, _, _, erased in found if erased}
    for person_id, row in batch.items():
        summary.read += len(row.lines)
        if person_id in erased:
            for line in row.lines:
                summary.refuse(line, f"id: person {person_id} was erased, and ids are not reused.")
            continue
        if person_id not in known:
            summary.created += 1
        elif update and any(known[person_id]):
            summary.updated += 1
        elif not known[person_id][0]:  # without `update`, findable does not change
            summary.repeats += 1
        else:
            for line in row.lines:
                summary.refuse(line, f"id: person {person_id} exists with other names.")
            continue
        summary.repeats += len(row.lines) - 1
