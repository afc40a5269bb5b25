"""`manage.py import_persons`: imports people from a CSV file, with or without ids."""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from connect import atomic_file
from connect.files import Source
from persons import person_ranges
from persons.csv_export import csv_blocks
from persons.csv_import import Summary, WrongColumns, import_rows

_EPILOG = """
The first line names the columns. Case does not matter, spaces and hyphens count as underscores, and company
is the same as company_name. Commas, semicolons or tabs separate the columns. The text is UTF-8.

Ids are kept, and new people get ids after them. A row with the id and names of an existing person is a
repeat. A row with an existing id and other names is refused, unless --update is given. A row with the id of
an erased person is refused, unless --restore-erased is given. It is always safe to run this again.

The column id may be missing, and its cells may be empty. Rows without an id are stored after the others, in
their order. The first row with certain names means the existing person with these names, the second row
another person with the same names; if there is none, the person is created and gets the next id. --output
writes the ids. If a person was erased, remove their row: without an id, the command cannot recognise them.

The column findable (true or false) sets whether others may find a new person. If the column is missing or
the cell is empty, FINDABLE_BY_DEFAULT applies. An existing person's value changes only with --update.

exit status: 0 all rows are stored; 1 some rows were refused, all others are stored; 2 the file could not be
read to its end (the rows before are stored), has the wrong columns, the output could not be written, or the
database is out of reach; 130 interrupted
"""


class Command(BaseCommand):
    help = (
        "Imports people from a CSV file (plain or gzip; columns first_name,last_name,company_name and "
        "optionally id and findable)."
    )

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        return super().create_parser(
            *args, **kwargs, epilog=_EPILOG, formatter_class=RawDescriptionHelpFormatter
        )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path)
        parser.add_argument(
            "--update", action="store_true", help="update the names and findable of existing people"
        )
        parser.add_argument(
            "--restore-erased",
            action="store_true",
            help="also import people who were erased; use it only if they agree",
        )
        parser.add_argument(
            "--output",
            metavar="FILE2",
            type=Path,
            help="write the people of this import with their ids to this CSV file (mode 600)",
        )

    def handle(
        self, *, file: Path, update: bool, restore_erased: bool, output: Path | None, **_: Any
    ) -> None:
        summary = Summary()
        try:
            with Source(file) as source:
                import_rows(source, update=update, restore_erased=restore_erased, summary=summary)
        except OSError as fault:
            raise CommandError(f"{file}: {fault.strerror}", returncode=2) from None
        except WrongColumns as fault:
            raise CommandError(f"{file}: {source.fault or fault}", returncode=2) from None
        except (OperationalError, InterfaceError) as fault:
            self._report(summary)
            raise CommandError(f"The database is out of reach: {fault}", returncode=2) from None
        except KeyboardInterrupt:
            self._report(summary)
            self.stderr.write("Interrupted; run it again for the rest.")
            sys.exit(130)
        self._report(summary)
        if output:
            self._write(output, summary)
        if source.fault:
            raise CommandError(f"{file}: {source.fault}. The rows before are stored.", returncode=2)
        if summary.refused_count:
            raise CommandError(f"{file}: {summary.refused_count:,} rows were refused.", returncode=1)

    def _report(self, summary: Summary) -> None:
        self.stdout.write(
            f"{summary.read:,} read: {summary.created:,} created, {summary.updated:,} updated, "
            f"{summary.repeats:,} repeats, {summary.refused_count:,} refused"
        )
        for ids, what in (
            (summary.assigned, "ids assigned"),
            (summary.recognised, "people recognised by their names"),
        ):
            if ids:
                self.stdout.write(f"{len(ids):,} {what}: {person_ranges.summary(ids)}")
        for line, reason in summary.refused:
            self.stdout.write(f"  line {line}: {reason}")
        if (more := summary.refused_count - len(summary.refused)) > 0:
            self.stdout.write(f"  and {more:,} more")

    def _write(self, output: Path, summary: Summary) -> None:
        people = person_ranges.people(person_ranges.of(summary.ids))
        try:
            atomic_file.write(output, "".join(csv_blocks(people)), sync=False)
        except (OSError, OperationalError, InterfaceError) as fault:
            raise CommandError(
                f"{output}: {fault}. The people are stored; run this again to write the file.", returncode=2
            ) from None
        self.stdout.write(f"{output}: the people of this import with their ids")
