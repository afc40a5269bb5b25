"""`manage.py simulate`: fills the system, or a file, with a believable event."""

import gzip
import io
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError
from tqdm import tqdm

from connect import neighbours
from connect.errors import NeighbourUnavailable
from connect.wire_format import format_degrees, format_time
from locations.pings import EARLIEST, LATEST, MAX_BATCH, Ping
from locations.prefetch import prefetched
from persons.csv_import import import_rows
from simulation.event import Event
from simulation.people import FIRST_ID, Person, invited

_EPILOG = """
People get the ids from 1000001. The same options and seed give the same event, and running it again stores
nothing twice; more --people extend the ones that are there.

exit status: 0 all is stored; 1 some was refused, such as people who exist under other names; 2 wrong
options, or what it needs is out of reach; 130 interrupted

A crowded hall with a million pings: --people 1000 --interval 52
"""


def at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise ArgumentTypeError(f"must be a whole number from {least}")
        return int(text)

    return number


class Command(BaseCommand):
    help = "Simulates an event: people who walk between booths, talks and tables, and their pings."

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        return super().create_parser(
            *args, **kwargs, epilog=_EPILOG, formatter_class=RawDescriptionHelpFormatter
        )

    def add_arguments(self, parser: ArgumentParser) -> None:
        def option(name: str, help: str, **how: Any) -> None:  # noqa: A002
            parser.add_argument(name, help=f"{help}; default: %(default)s", **how)

        option("--people", "how many come", type=at_least(1), default=200)
        option("--days", "of eight hours each", type=at_least(1), default=2)
        option("--interval", "seconds from one ping of a person to the next", type=at_least(1), default=60)
        option("--halls", "of 300 x 200 m each", type=at_least(1), default=1)
        option("--start", "the first day", type=date.fromisoformat, default=date(2026, 5, 11), metavar="DATE")
        option("--seed", "another one makes another event", type=at_least(0), default=1)
        parser.add_argument(
            "--to",
            type=Path,
            metavar="FILE.csv[.gz]",
            help="write the pings to this file, and the people to one beside it, instead of storing them",
        )

    def handle(
        self, *, people: int, days: int, start: date, seed: int, to: Path | None, **options: Any
    ) -> None:
        first = datetime.combine(start, time(), UTC)
        if not EARLIEST <= first < LATEST - timedelta(min(days, 100_000)):
            raise CommandError("--start, --days: must be from 1900-01-01 to before 2100-01-01.", returncode=2)
        guests = list(invited(people, seed=seed))
        event = Event(
            guests, start=start, days=days, interval_s=options["interval"], halls=options["halls"], seed=seed
        )
        last = start + timedelta(days=days - 1)
        self.stdout.write(f"{people:,} people, {days} days from {start} to {last}, seed {seed}")
        batches = _batches(event.pings())
        try:
            with tqdm(desc="pings", unit="", unit_scale=True, disable=None) as bar:
                if to is None:
                    self._store(guests, batches, bar)
                else:
                    self._write(to, guests, batches, bar)
        except (NeighbourUnavailable, OperationalError, InterfaceError) as fault:
            raise CommandError(f"The door is out of reach: {fault}", returncode=2) from None
        except KeyboardInterrupt:
            self.stderr.write("Interrupted; run it again for the rest.")
            sys.exit(130)
        self.stdout.write(
            "Somebody who met many, once it is stored:\n"
            f"  {settings.API_URL}/api/persons/{FIRST_ID}/encounters"
            f"?start_date={start}&end_date={start}&min_duration=120"
        )

    def _store(self, guests: list[Person], batches: Iterator[list[Ping]], bar: "tqdm[Any]") -> None:
        invitation = import_rows(_people_table(guests))
        if invitation.refused_count:
            raise CommandError(
                f"{invitation.refused_count:,} of the people exist under other names, from another event: "
                "delete them, or give its seed.",
                returncode=1,
            )
        submit = neighbours.pings().submit
        sent = refused = 0
        stored: int | None = 0
        for batch in prefetched(batches):
            receipt = submit(batch)
            sent += len(batch)
            refused += len(receipt.refused)
            stored = None if receipt.stored is None or stored is None else stored + receipt.stored
            bar.update(len(batch))
        fate = "taken" if stored is None else f"{stored:,} stored, {sent - refused - stored:,} repeats"
        self.stdout.write(f"{sent:,} pings: {fate}, {refused:,} refused")
        if refused:
            raise CommandError(
                f"{refused:,} pings were refused: people were deleted meanwhile.", returncode=1
            )

    def _write(self, to: Path, guests: list[Person], batches: Iterator[list[Ping]], bar: "tqdm[Any]") -> None:
        stem, dot, packed = to.name.rpartition(".csv")
        if not dot or packed not in {"", ".gz"}:
            raise CommandError(f"--to {to}: the name must end in .csv or .csv.gz.", returncode=2)
        beside = to.with_name(f"{stem}.persons.csv{packed}")
        written = 0
        try:
            with _open(beside) as file:
                file.writelines(_people_table(guests))
            with _open(to) as file:
                file.write("person_id,latitude,longitude,creation_time\n")
                for batch in batches:
                    file.writelines(map(_line, batch))
                    written += len(batch)
                    bar.update(len(batch))
        except OSError as fault:
            raise CommandError(f"{fault.filename}: {fault.strerror}", returncode=2) from None
        self.stdout.write(f"{written:,} pings in {to}, {len(guests):,} people in {beside}")


def _batches(pings: Iterator[Ping]) -> Iterator[list[Ping]]:
    while batch := list(islice(pings, MAX_BATCH)):
        yield batch


def _people_table(guests: Iterable[Person]) -> Iterator[str]:
    """They can be found, whatever FINDABLE_BY_DEFAULT says: a demonstration of nobody is of no use."""
    yield "id,first_name,last_name,company_name,findable\n"
    for guest in guests:
        yield f"{guest.id},{guest.first_name},{guest.last_name},{guest.company_name},true\n"


def _line(ping: Ping) -> str:
    return (
        f"{ping.person_id},{format_degrees(ping.latitude)},{format_degrees(ping.longitude)},"
        f"{format_time(ping.creation_time)}\n"
    )


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path, "wb", compresslevel=5), "utf-8")
    return path.open("w", encoding="utf-8")
