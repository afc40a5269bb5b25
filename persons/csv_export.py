"""Writes people as a CSV table, for the admin site and `manage.py import_persons --output`."""

import csv
import io
from collections.abc import Iterator
from itertools import islice

from django.db.models import QuerySet

from persons.csv_import import COLUMNS
from persons.models import Person

BLOCK = 2000  # rows that an export holds in memory


class _Buffer(io.StringIO):
    """A text buffer that reading empties."""

    def take(self) -> str:
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


def csv_blocks(people: QuerySet[Person]) -> Iterator[str]:
    """A table that import_rows can read, in blocks from one snapshot.

    Names are not changed, even if a spreadsheet would read them as formulas: an escape such as a leading
    apostrophe would be imported as part of the name. The import page explains how to open the file.
    """
    buffer = _Buffer()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    rows = people.order_by("id").values_list(*COLUMNS).iterator(chunk_size=BLOCK)
    while block := list(islice(rows, BLOCK)):
        writer.writerows([*names, "true" if findable else "false"] for *names, findable in block)
        yield buffer.take()
    if rest := buffer.take():
        yield rest
