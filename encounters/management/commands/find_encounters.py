"""`manage.py find_encounters`: finds and stores encounters, of a range of time or as pings arrive."""

import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import InterfaceError, OperationalError
from rest_framework.exceptions import ValidationError
from tqdm import tqdm

from connect import gc_tuning, stop_signals
from connect.web.query_parameters import RangeBound
from connect.wire_format import format_time
from consumers import dependencies, state_file
from consumers.worker_command import WorkerCommand
from consumers.writer import missing_dependency

MAX_LINES = 20  # differences that are printed; the others are counted
_EPILOG = """
Without --from and --to it is the finder: it reads the topic of pings at PINGS_URL, finds encounters as pings
arrive, stores them and sends them to the topic of encounters. Any number of finders share the work. SIGTERM
or SIGINT stops it. At its first start it also finds those of the day before; find earlier ones with --from
and --to.
Pings that come more than ENCOUNTERS_LATENESS_S late cost more, and nothing is lost.

A date is a whole UTC day, as in the API: --from 2026-05-11 --to 2026-05-12 are two days. An instant such as
2026-05-11T09:00:00Z is itself; the range ends before --to.

It replaces the stored encounters that start in the range, one hour in one transaction. It can be interrupted
and run again, with the same result as one run. Encounters that cross an end of the range are whole: it reads
the pings around the range, too.

--check changes nothing. It asks the question about each person by SQL and prints what differs.

exit status: 0 done, no differences, stopped on request; 1 differences, or the finder lost the database or
the broker, or --alive found no live finder; 2 wrong options or settings, the broker rejects the finder, or
--from and --to cannot reach the database; 130 interrupted
"""


def _moment(*, is_end: bool) -> Callable[[str], datetime]:
    def parse(text: str) -> datetime:
        try:
            return RangeBound(is_end=is_end).to_internal_value(text)
        except ValidationError as error:
            raise ArgumentTypeError(str(next(iter(error.detail)))) from None

    return parse


class Command(WorkerCommand):
    help = "Finds the encounters of everybody in the stored pings and stores them."
    worker = "finder"
    epilog = _EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        for name, dest, is_end in (("--from", "start", False), ("--to", "end", True)):
            parser.add_argument(
                name,
                dest=dest,
                type=_moment(is_end=is_end),
                metavar="DATE",
                help=f"the {dest} of the range",
            )
        parser.add_argument("--check", action="store_true", help="only compare with the question by SQL")
        parser.add_argument("--alive", action="store_true", help="only report whether the finder is alive")

    def handle(
        self, *, start: datetime | None, end: datetime | None, check: bool, alive: bool, **_: Any
    ) -> None:
        if alive:
            self.report_alive()
        elif start is None and end is None and not check:
            with gc_tuning.raised_threshold(), self.exit_status():
                self._find_live()
        elif start is None or end is None:
            raise CommandError("Give both --from and --to.", returncode=2)
        else:
            self._in_range(start, end, check=check)

    def _find_live(self) -> None:
        from encounters.stream import Stream  # noqa: PLC0415 - loads SciPy, which --alive does not need

        stop_requested = stop_signals.stop_requested()
        state = state_file.StateFile(settings.WORKER_STATE_FILE)
        try:
            if not dependencies.wait(stop_requested, state, missing_dependency):
                return
            self.stdout.write("Finding.")
            self.stdout.flush()
            with closing(Stream(state.update)) as stream:
                while not stop_requested.is_set():
                    stream.step()
            self.stdout.write("Stopped.")
        finally:
            state.update("stopped", force=True)

    def _in_range(self, start: datetime, end: datetime, *, check: bool) -> None:
        if start > end:
            raise CommandError("--from must not be after --to.", returncode=2)
        try:
            if check:
                self._check(start, end)
            else:
                self._find(start, end)
        except ImproperlyConfigured as fault:  # LOCATIONS_URL names another process
            raise CommandError(str(fault), returncode=2) from None
        except (OperationalError, InterfaceError) as fault:
            raise CommandError(f"The database is out of reach: {fault}", returncode=2) from None

    def _find(self, start: datetime, end: datetime) -> None:
        from encounters import backfill  # noqa: PLC0415 - loads SciPy, which --alive does not need

        progress = backfill.Progress(start, 0, 0)
        try:
            with tqdm(total=_hours(start, end), unit="h", disable=None, leave=False) as bar:
                for progress in backfill.find(start=start, end=end):
                    bar.update(_hours(start, progress.until) - bar.n)
        except KeyboardInterrupt:
            self.stderr.write(f"Interrupted after {format_time(progress.until)}; run it again.")
            sys.exit(130)
        self.stdout.write(f"{progress.pings:,} pings read, {progress.found:,} encounters found")

    def _check(self, start: datetime, end: datetime) -> None:
        from encounters import backfill  # noqa: PLC0415 - loads SciPy, which --alive does not need

        people = backfill.people(start=start, end=end)
        total = 0
        try:
            for person_id in tqdm(people, unit=" people", disable=None, leave=False):
                for each in backfill.differences(person_id, start=start, end=end):
                    total += 1
                    if total <= MAX_LINES:
                        self.stdout.write(str(each))
        except KeyboardInterrupt:
            self.stderr.write(f"Interrupted; {total:,} differences so far.")
            sys.exit(130)
        said = f"{len(people):,} people asked, {total:,} differences"
        if total:
            raise CommandError(said, returncode=1)
        self.stdout.write(said)


def _hours(start: datetime, end: datetime) -> float:
    return round((end - start).total_seconds() / 3600, 2)
