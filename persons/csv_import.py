"""Imports people from CSV, for `manage.py import_persons` and the upload in the admin site."""

import csv
import re
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction

from persons.services import FIELDS

FINDABLE = "findable"
COLUMNS = (*FIELDS, FINDABLE)
OPTIONAL = ("id", FINDABLE)  # these columns may be missing, and their cells may be empty

BATCH = 5000
MAX_WITHOUT_ID = 100_000  # rows of a file; they are held in memory until the rows with ids are stored
MAX_EXAMPLES = 20
MAX_NAME = 255
MAX_IMPORTED_ID = 2**53 - 1  # leaves room in the sequence, and JavaScript reads it exactly
# Lines of a row after its first: names may have line breaks, but a stray quote must not take the whole file.
_MAX_EXTRA_LINES = 12
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": None}
_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)
_SEPARATORS = ",;\t"
_UTF_16 = ("\udcff\udcfe", "\udcfe\udcff")  # its byte order marks, as bytes that are not UTF-8


class WrongColumns(ValueError):
    """The columns are not COLUMNS, of which those in OPTIONAL may be missing. Nothing was written."""


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
    # The ids of all people of the import; of rows without an id, the new ids and those of existing people.
    ids: "array[int]" = field(default_factory=lambda: array("q"), compare=False)
    assigned: "array[int]" = field(default_factory=lambda: array("q"), compare=False)
    recognised: "array[int]" = field(default_factory=lambda: array("q"), compare=False)

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

    A row without an id means a person with these names whom no other row means; if there is none, a new
    person with the next id. The id of an erased person is refused, unless `restore_erased` is set.

    `lines` are the lines of a text file opened with errors="surrogateescape", so that a row with bytes that
    are not UTF-8 is refused with its line. Each batch is one transaction: an interrupted import can be run
    again, and a given `summary` is correct after each batch.
    """
    summary = Summary() if summary is None else summary
    records = _records(lines)
    order = _order(records)
    batch: dict[int, _Row] = {}
    # Stored last: a new id must not be one of the file, and rows with ids come first in the choice of people.
    without_id: list[tuple[Names, bool | None]] = []
    for line, cells in records:
        try:
            person_id, names, findable = _person(cells, order)
            if person_id is None and len(without_id) == MAX_WITHOUT_ID:
                raise ValueError(f"A file may have {MAX_WITHOUT_ID:,} rows without an id; split the file.")
        except ValueError as fault:
            summary.read += 1
            summary.refuse(line, str(fault))
            continue
        if person_id is None:
            without_id.append((names, findable))
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
    for start in range(0, len(without_id), BATCH):
        _store_without_id(without_id[start : start + BATCH], update=update, summary=summary)
    return summary


# --- reading -------------------------------------------------------------------------------------


def _records(lines: Iterable[str]) -> Iterator[tuple[int, list[str] | None]]:
    """The rows that are not blank, each with its line; None instead of cells if a row is not valid CSV.

    The first of them is the header, whose separator is that of the table.
    """
    source = iter(lines)
    pushed_back: deque[str] = deque()

    def next_line() -> str:
        return pushed_back.popleft() if pushed_back else next(source, "")

    number = 0
    separator = ""
    while text := next_line():
        number += 1
        if number == 1 and text.startswith(_UTF_16):
            raise WrongColumns("The file is in UTF-16. Save it as CSV UTF-8 and import that file.")
        delimiter = separator or _separator(text)
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
                cells = next(csv.reader([text], delimiter=delimiter, strict=True), [])
            except csv.Error:
                yield number, None
                pushed_back.extendleft(reversed(extra_lines))
                continue
        else:
            cells = text.rstrip("\r\n").split(delimiter)
        if any(map(str.strip, cells)):
            separator = delimiter
            yield number, cells
        number += len(extra_lines)


def _separator(header: str) -> str:
    """The separator with which a line names the most columns."""

    def columns(separator: str) -> tuple[int, int]:
        return sum(_column(cell) in COLUMNS for cell in header.split(separator)), header.count(separator)

    return max(_SEPARATORS, key=columns)


def _column(cell: str) -> str:
    """The name of a column from its cell in the header: `First name` is first_name."""
    name = re.sub(r'[\s"\ufeff-]+', "_", cell).strip("_").lower()
    return "company_name" if name == "company" else name


def _order(records: Iterator[tuple[int, list[str] | None]]) -> list[int]:
    """The positions of COLUMNS from the header row; -1 for a missing one."""
    line, cells = next(records, (0, None))
    names = [_column(cell) for cell in cells or []]
    if not names:
        raise WrongColumns(
            f"The first line must name the columns {', '.join(COLUMNS)}; no such line was found."
        )
    missing = [name for name in COLUMNS if name not in (*names, *OPTIONAL)]
    unknown = [name for name in names if name not in COLUMNS]
    if missing or unknown or len(names) > len(set(names)):
        found = ", ".join(
            cell.strip().encode("ascii", "backslashreplace").decode()[:40] for cell in (cells or [])[:20]
        )
        raise WrongColumns(
            f"The columns must be {', '.join(COLUMNS)}, in any order, separated by commas, semicolons or "
            f"tabs; {' and '.join(OPTIONAL)} may be missing. Found in line {line}: {found}."
        )
    return [names.index(name) if name in names else -1 for name in COLUMNS]


def _person(cells: list[str] | None, order: list[int]) -> tuple[int | None, Names, bool | None]:
    if cells is None:
        raise ValueError("A quotation mark is not closed, or is inside a cell.")
    width = len(order) - order.count(-1)
    if len(cells) != width:
        raise ValueError(f"The row has {len(cells)} cells instead of {width}.")
    cells.append("")  # a missing column is at -1
    person_id, *names, findable = (cells[i].strip() for i in order)
    if findable.lower() not in _BOOLEANS:
        raise ValueError(f"{FINDABLE}: must be true or false, or empty.")
    if person_id and not (_DIGITS.fullmatch(person_id) and 1 <= int(person_id) <= MAX_IMPORTED_ID):
        raise ValueError(f"id: must be a whole number from 1 to {MAX_IMPORTED_ID}.")
    for name, value in zip(FIELDS[1:], names, strict=True):
        if not 1 <= len(value) <= MAX_NAME:
            raise ValueError(f"{name}: must have 1 to {MAX_NAME} characters, has {len(value)}.")
        if "\0" in value:
            raise ValueError(f"{name}: must not contain the character NUL.")
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError(f"{name}: must be text in UTF-8.")
    number = int(person_id) if person_id else None
    return number, (names[0], names[1], names[2]), _BOOLEANS[findable.lower()]


# --- writing -------------------------------------------------------------------------------------

# Blocks other writers of people for a few milliseconds per batch, or with rows without ids and 500,000 people
# for up to half a second. Reading people and storing pings is not blocked. So no writer takes an id from the
# sequence that this batch stores, and the sequence, which is read and then set, never goes backwards.
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
        summary.ids.append(person_id)
        summary.repeats += len(row.lines) - 1


# Under the lock, the new ids of a batch are one range, and two imports of the same people create them once.
# Batches of two imports may alternate, so the ids of an import may be several ranges.
_WRITE_WITHOUT_ID = """
WITH sent AS MATERIALIZED (
    SELECT *, row_number() OVER (PARTITION BY first_name, last_name, company_name ORDER BY position) AS nth
      FROM unnest(%(first)s::text[], %(last)s::text[], %(company)s::text[], %(findable)s::boolean[])
           WITH ORDINALITY AS sent (first_name, last_name, company_name, findable, position)
),
known AS MATERIALIZED ( -- people with these names whom no earlier row of the file means
    SELECT id, first_name, last_name, company_name, findable,
           row_number() OVER (PARTITION BY first_name, last_name, company_name ORDER BY id) AS nth
      FROM persons_person
     WHERE company_name = ANY(%(companies)s) -- implied by the next line, but this one has an index
       AND (first_name, last_name, company_name) IN (SELECT first_name, last_name, company_name FROM sent)
       AND id NOT IN (SELECT unnest(%(taken)s::bigint[]))
),
person AS MATERIALIZED ( -- the inner query sorts: ids are assigned in the order of the rows
    SELECT coalesce(known_id, nextval(pg_get_serial_sequence('persons_person', 'id'))) AS id, ordered.*
      FROM (SELECT sent.*, known.id AS known_id,
                   coalesce(sent.findable <> known.findable, false) AS changes_findable
              FROM sent LEFT JOIN known USING (first_name, last_name, company_name, nth)
             ORDER BY position) AS ordered
),
created AS (
    INSERT INTO persons_person (id, first_name, last_name, company_name, findable)
    SELECT id, first_name, last_name, company_name, coalesce(findable, %(by_default)s)
      FROM person WHERE known_id IS NULL
),
updated AS (
    UPDATE persons_person SET findable = person.findable
      FROM person WHERE persons_person.id = known_id AND changes_findable AND %(update)s
)
SELECT id, known_id IS NULL, changes_findable FROM person ORDER BY position
"""


def _store_without_id(rows: list[tuple[Names, bool | None]], *, update: bool, summary: Summary) -> None:
    names, findable = zip(*rows, strict=True)
    first, last, company = zip(*names, strict=True)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK)
        cursor.execute(
            _WRITE_WITHOUT_ID,
            {
                "first": list(first),
                "last": list(last),
                "company": list(company),
                "companies": list(set(company)),
                "findable": list(findable),
                "taken": list(summary.ids),
                "by_default": settings.FINDABLE_BY_DEFAULT,
                "update": update,
            },
        )
        found = cursor.fetchall()
    summary.read += len(found)
    for person_id, is_new, changes_findable in found:
        summary.ids.append(person_id)
        (summary.assigned if is_new else summary.recognised).append(person_id)
        if is_new:
            summary.created += 1
        elif update and changes_findable:
            summary.updated += 1
        else:
            summary.repeats += 1
