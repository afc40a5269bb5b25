"""`manage.py import_persons`: imports people from a CSV file and keeps their ids."""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from connect.files import Source
from persons.csv_import import Summary, WrongColumns, import_rows

_EPILOG = """
Ids are kept, and new people get ids after them. A row with the id and names of an existing person is a
repeat. A row with an existing id and other names is refused, unless --update is given. A row with the id of
an erased person is refused, unless --restore-erased is given. It is always safe to run this again.

The column findable (true or false) sets whether others may find a new person. If the column is missing or
the cell is empty, FINDABLE_BY_DEFAULT applies. An existing person's value changes only with --update.

exit status: 0 all rows are stored; 1 some rows were refused, all others are stored; 2 the file could not be
read to its end (the rows before are stored), has the wrong columns, or the database is out of reach;
130 interrupted
"""


class Command(BaseCommand):
    help = (
        "Imports people from a CSV file (plain or gzip; columns id,first_name,last_name,company_name and "
        "optionally findable)."
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

    def handle(self, *, file: Path, update: bool, restore_erased: bool, **_: Any) -> None:
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
        if source.fault:
            raise CommandError(f"{file}: {source.fault}. The rows before are stored.", returncode=2)
        if summary.refused_count:
            raise CommandError(f"{file}: {summary.refused_count:,} rows were refused.", returncode=1)

    def _report(self, summary: Summary) -> None:
        self.stdout.write(
            f"{summary.read:,} read: {summary.created:,} created, {summary.updated:,} updated, "
            f"{summary.repeats:,} repeats, {summary.refused_count:,} refused"
        )
        for line, reason in summary.refused:
            self.stdout.write(f"  line {line}: {reason}")
        if (more := summary.refused_count - len(summary.refused)) > 0:
            self.stdout.write(f"  and {more:,} more")
