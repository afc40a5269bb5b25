"""`manage.py export_person`: writes all data about a person to an archive."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError
from tqdm import tqdm

from connect.errors import NeighbourUnavailable
from privacy import archive


class Command(BaseCommand):
    help = (
        "Writes all data about a person to a zip archive. Only the owner of the file may read it. Its README "
        "describes the files. If interrupted, it leaves no file. "
        "Exit status: 0 done; 1 there is no such person, the file cannot be written, or the database or a "
        "neighbour is out of reach; 130 interrupted."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("person_id", type=int, metavar="ID")
        parser.add_argument("--to", type=Path, metavar="FILE.zip", required=True)

    def handle(self, *, person_id: int, to: Path, **_: Any) -> None:
        try:
            self._write(person_id, to)
        except (OperationalError, InterfaceError, NeighbourUnavailable) as fault:
            raise CommandError(f"Out of reach: {fault}", returncode=1) from None
        except OSError as fault:
            raise CommandError(f"{to}: {fault.strerror}", returncode=1) from None
        except KeyboardInterrupt:
            self.stderr.write("Interrupted; nothing was written.")
            sys.exit(130)
        self.stdout.write(f"{to}: {to.stat().st_size:,} bytes")

    def _write(self, person_id: int, to: Path) -> None:
        chunks = archive.stream(person_id)
        if chunks is None:
            raise CommandError(f"There is no person {person_id}.", returncode=1)
        with NamedTemporaryFile(dir=to.parent, prefix=f".{to.name}-", delete=False) as file:  # mode 0600
            temporary = Path(file.name)
            try:
                with tqdm(unit="B", unit_scale=True, disable=None, leave=False) as progress:
                    for chunk in chunks:
                        file.write(chunk)
                        progress.update(len(chunk))
                file.flush()
                temporary.replace(to)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
