"""`manage.py import_locations`: submits pings from files to PINGS_URL, or to the target of --to."""

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
from locations.pings import OPTIONAL_FIELDS, REQUIRED_FIELDS, parse_person_id

TARGETS = {"database": "local", "grpc": "grpc", "kafka": "kafka"}  # --to: the scheme of PINGS_URL

_EPILOG = f"""
CSV      a first line with the columns {", ".join(REQUIRED_FIELDS)},
         in any order; it may also name {", ".join(OPTIONAL_FIELDS)}
GPX      the track points; a point without a time is refused; hdop is ignored, as it is no accuracy in metres
GeoJSON  a FeatureCollection of Point features with the properties person_id and creation_time, and optionally
         {", ".join(OPTIONAL_FIELDS)}

A ping that is stored already is a repeat, so it is safe to run this command again.

exit status: 0 all pings are accepted; 1 some pings are refused, the others accepted; 2 a file is not readable
to its end (the pings before that place are accepted), or the target is unavailable; 130 interrupted
"""


def person(text: str) -> int:
    try:
        return parse_person_id(text)
    except ValueError as fault:
        raise ArgumentTypeError(str(fault)) from None


@contextmanager
def override_target(target: str | None) -> Iterator[None]:
    """Sets PINGS_URL to this target until the block ends; None changes nothing."""
    before = settings.PINGS_URL
    if target is not None:
        settings.PINGS_URL = _url(target)
    try:
        yield
    finally:
        settings.PINGS_URL = before


def _url(target: str) -> str:
    scheme = TARGETS[target]
    if scheme not in neighbours.PINGS:
        available = ", ".join(name for name, scheme in TARGETS.items() if scheme in neighbours.PINGS)
        raise CommandError(f"--to {target} is not available here; available: {available}.", returncode=2)
    if settings.PINGS_URL.partition(":")[0] == scheme:
        return settings.PINGS_URL
    if scheme == "local":
        return "local:"
    raise CommandError(f"--to {target} needs an address: set PINGS_URL={scheme}://host:port.", returncode=2)


class Command(BaseCommand):
    help = "Imports pings from CSV, GPX and GeoJSON files, plain or gzip."

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        return super().create_parser(
            *args, **kwargs, epilog=_EPILOG, formatter_class=RawDescriptionHelpFormatter
        )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
        parser.add_argument("--to", choices=TARGETS, help="the target; by default PINGS_URL")
        parser.add_argument(
            "--person",
            type=person,
            metavar="ID",
            help="the person of pings that have no person_id in the file",
        )

    def handle(self, *, files: list[Path], to: str | None, person: int | None, **_: Any) -> None:
        total = Summary()
        unreadable = 0
        with override_target(to), gc_tuning.raised_threshold():
            submit = neighbours.pings().submit
            for path in files:
                summary = Summary()
                try:
                    import_file(path, person_id=person, submit=submit, summary=summary)
                except Unreadable as fault:
                    unreadable += 1
                    self.stderr.write(f"{path}: {fault}.")
                except OSError as fault:
                    unreadable += 1
                    self.stderr.write(f"{path}: {fault.strerror}.")
                except (NeighbourUnavailable, OperationalError, InterfaceError) as fault:
                    self._report(str(path), summary)
                    raise CommandError(f"The target is unavailable: {fault}", returncode=2) from None
                except KeyboardInterrupt:
                    self._report(str(path), summary)
                    self.stderr.write("Interrupted. Run the command again for the rest.")
                    sys.exit(130)
                self._report(str(path), summary)
                total.add(summary)
        if len(files) > 1:
            self._report(f"{len(files)} files", total)
        if unreadable:
            raise CommandError(
                f"{unreadable} of {len(files)} files could not be read to the end; "
                "the pings before that place are accepted.",
                returncode=2,
            )
        if total.refused:
            raise CommandError(f"{total.refused:,} of {total.read:,} pings were refused.", returncode=1)

    def _report(self, name: str, summary: Summary) -> None:
        result = (
            f"{summary.accepted:,} accepted"
            if summary.stored is None
            else f"{summary.stored:,} stored, {summary.repeats:,} repeats"
        )
        self.stdout.write(f"{name}: {summary.read:,} read, {result}, {summary.refused:,} refused")
        for text, reason in sorted(summary.reasons.items(), key=lambda each: -each[1].count):
            more = ", ..." if reason.count > len(reason.examples) else ""
            places = f"; {', '.join(reason.examples)}{more}" if reason.examples else ""
            self.stdout.write(f"  {reason.count:,} refused: {text}{places}")
