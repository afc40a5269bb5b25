"""`manage.py simulate`: writes a simulated event into the system or into files."""

import gzip
import io
import signal
import sys
import threading
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError
from tqdm import tqdm

from connect import neighbours
from connect.errors import NeighbourUnavailable
from connect.wire_format import format_degrees, format_time
from locations.pings import EARLIEST, LATEST, MAX_BATCH, Ping
from locations.prefetch import prefetched
from persons.csv_import import import_rows
from simulation import venue
from simulation.event import OPENING_HOURS, OPENING_TIME, Event
from simulation.live import run
from simulation.people import FIRST_ID, Person, make_people
from venue.models import validate_time_zone

_EPILOG = """
The ids of people start at 1000001. The same options and seed give the same event; a second run stores
nothing twice. A larger --people adds people to the existing ones.

The event and its floor plan (halls, booths, stages, food, entrances) are stored, too. They replace what an
earlier simulation stored, never an event or zones of an organiser.

exit status: 0 everything is stored; 1 something was refused, such as people who exist under other names;
2 wrong options, or a database or service is unreachable; 130 interrupted

A crowded hall with a million pings: --people 1000 --interval 52
An event that takes place now: --live --interval 10
"""


def _int_from(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < minimum:
            raise ArgumentTypeError(f"must be a whole number of at least {minimum}")
        if maximum is not None and int(text) > maximum:
            raise ArgumentTypeError(f"must be at most {maximum}")
        return int(text)

    return parse


def _time_zone(name: str) -> ZoneInfo:
    try:
        validate_time_zone(name)
    except ValidationError as fault:
        raise ArgumentTypeError(fault.message) from None
    return ZoneInfo(name)


class Command(BaseCommand):
    help = "Simulate an event: people walk between booths, talks and tables, and their phones send pings."

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        return super().create_parser(
            *args, **kwargs, epilog=_EPILOG, formatter_class=RawDescriptionHelpFormatter
        )

    def add_arguments(self, parser: ArgumentParser) -> None:
        def option(name: str, help: str, **kwargs: Any) -> None:  # noqa: A002
            parser.add_argument(name, help=f"{help}; default: %(default)s", **kwargs)

        option("--people", "number of people", type=_int_from(1), default=200)
        option("--days", "number of days, of eight hours each", type=_int_from(1), default=2)
        option("--interval", "seconds between two pings of a person", type=_int_from(1), default=60)
        option(
            "--halls", "number of halls, of 300 x 200 m each", type=_int_from(1, venue.MAX_HALLS), default=1
        )
        option("--start", "the first day", type=date.fromisoformat, default=date(2026, 5, 11), metavar="DATE")
        option(
            "--time-zone",
            "the time zone of the event, for display; opening hours are from 9 to 17 UTC",
            type=_time_zone,
            default=ZoneInfo("Europe/Berlin"),
            metavar="ZONE",
        )
        option("--seed", "a different seed gives a different event", type=_int_from(0), default=1)
        parser.add_argument(
            "--live",
            action="store_true",
            help="send pings in real time from now on until it is stopped; ignores --start and --days",
        )
        parser.add_argument(
            "--to",
            type=Path,
            metavar="FILE.csv[.gz]",
            help="write pings to this file and people to FILE.persons.csv[.gz] instead of storing them",
        )

    def handle(
        self,
        *,
        people: int,
        days: int,
        start: date,
        seed: int,
        live: bool,
        to: Path | None,
        **options: Any,
    ) -> None:
        if live and to is not None:
            raise CommandError("--live sends pings; it cannot write a file.", returncode=2)
        first = datetime.combine(start, time(), UTC)
        if not EARLIEST <= first < LATEST - timedelta(min(days, 100_000)):
            raise CommandError("--start, --days: must be from 1900-01-01 to before 2100-01-01.", returncode=2)
        guests = list(make_people(people, seed=seed))
        event = Event(
            guests, start=start, days=days, interval_s=options["interval"], halls=options["halls"], seed=seed
        )
        opening = datetime.now(UTC) if live else datetime.combine(start, OPENING_TIME, UTC)
        store_venue = partial(
            venue.store,
            opening=opening,
            closing=opening if live else opening + timedelta(days=days - 1, hours=OPENING_HOURS),
            time_zone=options["time_zone"],
            halls=options["halls"],
        )
        if live:
            rate = people / options["interval"]
            self._live(event, guests, store_venue, options["time_zone"], rate)
            return
        last = start + timedelta(days=days - 1)
        self.stdout.write(f"{people:,} people, {days} days from {start} to {last}, seed {seed}")
        batches = _batches(event.pings())
        try:
            with tqdm(desc="pings", unit="", unit_scale=True, disable=None) as bar:
                if to is None:
                    if refused := import_rows(_people_csv(guests)).refused_count:
                        raise CommandError(
                            f"{refused:,} of the people were deleted or exist under other names, for example "
                            "from an event with another seed. Delete them or use that seed.",
                            returncode=1,
                        )
                    self._store_venue(store_venue)
                    self._store(batches, bar)
                else:
                    self._write(to, guests, batches, bar)
        except (NeighbourUnavailable, OperationalError, InterfaceError) as error:
            raise CommandError(f"Cannot reach the database or a service: {error}", returncode=2) from None
        except KeyboardInterrupt:
            self.stderr.write("Interrupted. Run the command again to store the rest.")
            sys.exit(130)
        self.stdout.write(
            "A person with many encounters (once the pings are stored):\n"
            f"  {settings.API_URL}/api/persons/{FIRST_ID}/encounters"
            f"?start_date={start}&end_date={start}&min_duration=120"
        )

    def _live(
        self,
        event: Event,
        guests: list[Person],
        store_venue: Callable[[], bool],
        time_zone: ZoneInfo,
        rate: float,
    ) -> None:
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        try:
            refused = import_rows(_people_csv(guests)).refused_count
            self._store_venue(store_venue)
        except (OperationalError, InterfaceError) as error:
            raise CommandError(f"Cannot reach the database: {error}", returncode=2) from None
        if refused:  # the others go on
            self.stdout.write(f"{refused:,} of the people were deleted or have other names.")
        self.stdout.write(f"{len(guests):,} people, about {rate:.3g} pings per second. Stop it with Ctrl+C.")
        self.stdout.write(f"Stopped after {run(event, time_zone, stopped):,} pings.")

    def _store_venue(self, store_venue: Callable[[], bool]) -> None:
        if not store_venue():
            self.stdout.write("The event and the zones of the organiser stay.")

    def _store(self, batches: Iterator[list[Ping]], bar: "tqdm[Any]") -> None:
        submit = neighbours.pings().submit
        sent = refused = 0
        stored: int | None = 0
        for batch in prefetched(batches):
            receipt = submit(batch)
            sent += len(batch)
            refused += len(receipt.refused)
            stored = None if receipt.stored is None or stored is None else stored + receipt.stored
            bar.update(len(batch))
        outcome = "accepted" if stored is None else f"{stored:,} stored, {sent - refused - stored:,} repeats"
        self.stdout.write(f"{sent:,} pings: {outcome}, {refused:,} refused")
        if refused:
            raise CommandError(
                f"{refused:,} pings were refused, because people were deleted in the meantime.", returncode=1
            )

    def _write(self, to: Path, guests: list[Person], batches: Iterator[list[Ping]], bar: "tqdm[Any]") -> None:
        stem, dot, compression = to.name.rpartition(".csv")
        if not dot or compression not in {"", ".gz"}:
            raise CommandError(f"--to {to}: the name must end in .csv or .csv.gz.", returncode=2)
        people_file = to.with_name(f"{stem}.persons.csv{compression}")
        written = 0
        try:
            with _open(people_file) as file:
                file.writelines(_people_csv(guests))
            with _open(to) as file:
                file.write("person_id,latitude,longitude,creation_time\n")
                for batch in batches:
                    file.writelines(map(_ping_csv, batch))
                    written += len(batch)
                    bar.update(len(batch))
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}", returncode=2) from None
        self.stdout.write(f"{written:,} pings in {to}, {len(guests):,} people in {people_file}")


def _batches(pings: Iterator[Ping]) -> Iterator[list[Ping]]:
    while batch := list(islice(pings, MAX_BATCH)):
        yield batch


def _people_csv(guests: Iterable[Person]) -> Iterator[str]:
    """CSV lines. All people are findable, whatever FINDABLE_BY_DEFAULT says, for demonstrations."""
    yield "id,first_name,last_name,company_name,findable\n"
    for guest in guests:
        yield f"{guest.id},{guest.first_name},{guest.last_name},{guest.company_name},true\n"


def _ping_csv(ping: Ping) -> str:
    return (
        f"{ping.person_id},{format_degrees(ping.latitude)},{format_degrees(ping.longitude)},"
        f"{format_time(ping.creation_time)}\n"
    )


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path, "wb", compresslevel=5), "utf-8")
    return path.open("w", encoding="utf-8")
