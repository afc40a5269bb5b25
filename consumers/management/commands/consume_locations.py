"""`manage.py consume_locations`: the writer, which stores the topic's pings in the database."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from connect import gc_tuning, stop_signals
from connect.errors import NeighbourUnavailable
from consumers import dependencies, state_file
from consumers.lag import Observer
from consumers.worker_command import WorkerCommand
from consumers.writer import Writer, WriterLoop, missing_dependency

_EPILOG = f"""
Writes the pings of the topic at PINGS_URL to the database, one transaction per batch. It sets
rejected pings aside (see replay_rejected) and drops pings of deleted persons. SIGTERM or SIGINT
stops it after the current batch. A second signal stops it at once, without loss.

It waits while the broker is unavailable, during a rebalance and during other transient Kafka
errors. When the database fails, it ends with status 1 and expects a supervisor to start it again.
At start it waits for the database and the broker. Any number of writers can share the partitions.

exit status: 0 stopped on request, or --until-empty is done; 1 database out of reach, the
topic deleted, or --check found no live writer; 2 wrong settings, or the broker rejects the
credentials or the access rights of the writer

--check needs neither database nor broker: it reads WORKER_STATE_FILE, which a writer updates
continually. A writer that has not updated it for {state_file.STUCK_S:g} s is stuck.
"""


class Command(WorkerCommand):
    help = "Writes the topic's pings to the database."
    worker = "writer"
    epilog = _EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        instead = parser.add_mutually_exclusive_group()
        instead.add_argument(
            "--until-empty", action="store_true", help="end when everything in the topic is written"
        )
        instead.add_argument("--check", action="store_true", help="only report whether the writer is alive")
        instead.add_argument("--status", action="store_true", help="only report the lag of the writers")

    def handle(self, *, until_empty: bool, check: bool, status: bool, **_: Any) -> None:
        if check:
            self.report_alive()
        elif status:
            self._status()
        else:
            with gc_tuning.raised_threshold(), self.exit_status():
                self._write(until_empty=until_empty)

    def _status(self) -> None:
        try:
            observer = Observer()
            self.stdout.write(str(observer.look()))
            observer.close()
        except NeighbourUnavailable as error:
            raise CommandError(f"The brokers are out of reach: {error}", returncode=1) from None

    def _write(self, *, until_empty: bool) -> None:
        stop_requested = stop_signals.stop_requested()
        state = state_file.StateFile(settings.WORKER_STATE_FILE)
        if until_empty:
            if missing := missing_dependency():
                raise CommandError(f"Out of reach: {missing}", returncode=1)
        elif not dependencies.wait(stop_requested, state, missing_dependency):
            return
        writer = Writer()
        loop = WriterLoop(writer, state)
        self.stdout.write("Writing.")
        self.stdout.flush()
        try:
            if not until_empty:
                loop.until_stopped(stop_requested)
                self.stdout.write("Stopped.")
            elif loop.until_empty(stop_requested):
                self.stdout.write("Everything is written.")
            else:
                self.stdout.write("Stopped before everything was written.")
        finally:
            loop.close()
            writer.close()
            self.stdout.write(f"{writer.total}")
