"""`manage.py import_locations`: pings from files, through the door that the process, or --to, names."""

import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from connect import gc_tuning, neighbours
from connect.errors import NeighbourUnavailable
from locations.file_import import Summary, import_file
from locations.formats import Unreadable
from locations.pings import parse_person_id

DOORS = {"database": "local", "grpc": "grpc", "kafka": "kafka"}  # to the schemes of PINGS_URL

_EPILOG = """
CSV      a first line with the columns person_id, latitude, longitude, creation_time, in any order
GPX      the track points; a point without a time is refused
GeoJSON  a FeatureCollection of Point features with the properties person_id and creation_time

A ping that is there already is a repeat: it is always safe to run this again.

exit status: 0 every ping is taken; 1 some were refused, all others are taken; 2 a file could not be read
(to its end: what was read is taken), or the door is out of reach; 130 interrupted
"""


def person(text: str) -> int:
    try:
        return parse_person_id(text)
    except ValueError as fault:
        raise ArgumentTypeError(str(fault)) from None


@contextmanager
def through(door: str | None) -> Iterator[None]:
    """While it lasts, PINGS_URL leads to this door; the process's own one for None."""
    before = settings.PINGS_URL
    if door is not None:
        settings.PINGS_URL = _url(door)
    try:
        yield
    finally:
        settings.PINGS_URL = before


def _url(door: str) -> str:
    scheme = DOORS[door]
    if scheme not in neighbours.PINGS:
        open_doors = ", ".join(name for name, scheme in DOORS.items() if scheme in neighbours.PINGS)
        raise CommandError(f"--to {door} is not available here; there is: {open_doors}.", returncode=2)
    if settings.PINGS_URL.partition(":")[0] == scheme:
        return settings.PINGS_URL
    if scheme == "local":
        return "local:"
    raise CommandError(f"--to {door} needs its address: set PINGS_URL={scheme}://host:port.", returncode=2)


class Command(BaseCommand):
    help = "Imports pings from CSV, GPX and GeoJSON files, plain or gzip."

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        return super().create_parser(
            *args, **kwargs, epilog=_EPILOG, formatter_class=RawDescriptionHelpFormatter
        )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
        parser.add_argument("--to", choices=DOORS, help="the door; without it the one of PINGS_URL")
        parser.add_argument(
            "--person", type=person, metavar="ID", help="whose pings they are, where the file does not say"
        )

    def handle(self, *, files: list[Path], to: str | None, person: int | None, **_: Any) -> None:
        total = Summary()
        unread = 0
        with through(to), gc_tuning.raised_threshold():
            submit = neighbours.pings().submit
            for path in files:
                summary = Summary()
                try:
                    import_file(path, person_id=person, submit=submit, summary=summary)
                except Unreadable as fault:
                    unread += 1
                    self.stderr.write(f"{path}: {fault}.")
                except OSError as fault:
                    unread += 1
                    self.stderr.write(f"{path}: {fault.strerror}.")
                except (NeighbourUnavailable, OperationalError, InterfaceError) as fault:
                    self._report(str(path), summary)
                    raise CommandError(f"The door is out of reach: {fault}", returncode=2) from None
                except KeyboardInterrupt:
                    self._report(str(path), summary)
                    self.stderr.write("Interrupted; run it again for the rest.")
                    sys.exit(130)
                self._report(str(path), summary)
                total.add(summary)
        if len(files) > 1:
            self._report(f"{len(files)} files", total)
        if unread:
            raise CommandError(
                f"{unread} of {len(files)} files could not be read to the end; what came before is taken.",
                returncode=2,
            )
        if total.refused:
            raise CommandError(f"{total.refused:,} of {total.read:,} pings were refused.", returncode=1)

    def _report(self, name: str, summary: Summary) -> None:
        taken = (
            f"{summary.accepted:,} taken"
            if summary.stored is None
            else f"{summary.stored:,} stored, {summary.repeats:,} repeats"
        )
        self.stdout.write(f"{name}: {summary.read:,} read, {taken}, {summary.refused:,} refused")
        for text, reason in sorted(summary.reasons.items(), key=lambda each: -each[1].count):
            more = ", ..." if reason.count > len(reason.examples) else ""
            places = f"; {', '.join(reason.examples)}{more}" if reason.examples else ""
            self.stdout.write(f"  {reason.count:,} refused: {text}{places}")
