"""`manage.py consume_locations`: the process that writes the topic's pings to the database."""

import signal
import threading
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from connect import gc_tuning
from connect.errors import NeighbourUnavailable
from consumers import state_file
from consumers.lag import Observer
from consumers.topic import BrokerRefused
from consumers.writer import Run, Writer, wait_for_world, what_is_missing

_EPILOG = f"""
Writes the pings of the topic at PINGS_URL to the database, a batch in a transaction. What it
cannot store it sets aside (see replay_rejected); pings of deleted persons it drops. SIGTERM or
SIGINT stops it after the batch in hand. A second one stops it at once; nothing is lost by that.

It waits out a broker that is away, a rebalance and other Kafka errors that pass. When the
database fails, it ends with status 1, to be started again by whoever keeps it; started, it waits
for both. Any number can run at once and share the partitions.

exit status: 0 stopped when asked to, or --until-empty is done; 1 database out of reach, the
topic deleted, or --check found no live writer; 2 wrong settings, or the broker rejects the
credentials or the access rights of the writer

--check needs neither: it reads WRITER_STATE_FILE, which a writer renews at every step. After
{state_file.STUCK_S:g} s without that a writer is stuck.
"""


class Command(BaseCommand):
    help = "Writes the topic's pings to the database."

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        return super().create_parser(
            *args, **kwargs, epilog=_EPILOG, formatter_class=RawDescriptionHelpFormatter
        )

    def add_arguments(self, parser: ArgumentParser) -> None:
        instead = parser.add_mutually_exclusive_group()
        instead.add_argument(
            "--until-empty", action="store_true", help="end when everything that was there is written"
        )
        instead.add_argument("--check", action="store_true", help="only say whether the writer lives")
        instead.add_argument("--status", action="store_true", help="only say what is not yet written")

    def handle(self, *, until_empty: bool, check: bool, status: bool, **_: Any) -> None:
        if check:
            self._check()
        elif status:
            self._status()
        else:
            with gc_tuning.raised_threshold():
                self._write(until_empty=until_empty)

    def _check(self) -> None:
        said = state_file.read(settings.WRITER_STATE_FILE)
        if said is None:
            raise CommandError(f"No writer has written {settings.WRITER_STATE_FILE} yet.", returncode=1)
        if not said.is_alive:
            raise CommandError(f"The writer has said nothing for {said.age_s:.0f} s.", returncode=1)
        self.stdout.write(f"{said.doing}, said {said.age_s:.1f} s ago")

    def _status(self) -> None:
        try:
            observer = Observer()
            self.stdout.write(str(observer.look()))
            observer.close()
        except NeighbourUnavailable as fault:
            raise CommandError(f"The brokers are out of reach: {fault}", returncode=1) from None

    def _write(self, *, until_empty: bool) -> None:
        asked = threading.Event()

        def stop(*_: Any) -> None:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            asked.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        state = state_file.StateFile(settings.WRITER_STATE_FILE)
        try:
            if until_empty:
                if missing := what_is_missing():
                    raise CommandError(f"Out of reach: {missing}", returncode=1)
            elif not wait_for_world(asked, state):
                return
        except BrokerRefused as fault:
            raise _refused(fault) from None
        writer = Writer()
        run = Run(writer, state)
        self.stdout.write("Writing.")
        self.stdout.flush()
        try:
            if not until_empty:
                run.until_stopped(asked)
                self.stdout.write("Stopped.")
            elif run.until_empty(asked):
                self.stdout.write("Everything is written.")
            else:
                self.stdout.write("Stopped before everything was written.")
        except BrokerRefused as fault:
            raise _refused(fault) from None
        except (NeighbourUnavailable, OperationalError, InterfaceError) as fault:
            raise CommandError(f"Out of reach, nothing is lost: {fault}", returncode=1) from None
        finally:
            run.close()
            writer.close()
            self.stdout.write(f"{writer.total}")


def _refused(fault: BrokerRefused) -> CommandError:
    return CommandError(f"The broker refuses this writer, nothing is lost: {fault}", returncode=2)
