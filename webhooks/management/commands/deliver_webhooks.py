"""`manage.py deliver_webhooks`: tells the receivers of webhooks about encounters."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from connect import stop_signals
from connect.errors import NeighbourUnavailable
from consumers import dependencies, state_file
from consumers.topic import BrokerRefused
from webhooks.consumer import Consumer
from webhooks.deliveries import Deliveries
from webhooks.models import Delivery

_EPILOG = f"""
Reads the topic KAFKA_ENCOUNTERS_TOPIC at PINGS_URL, stores a delivery for each webhook that a
message passes, and sends the deliveries. SIGTERM or SIGINT stops it after the running attempts,
at most 20 s later. A second signal stops it at once: what was under way is sent again, with the
same id.

It waits while the broker is unavailable, and sends nothing while persons is. When the database fails,
or persons is away when a webhook asks for a company, it ends with status 1 and expects a supervisor
to start it again. At start it waits for the database and the broker. Any number of processes can
share the work.

exit status: 0 stopped on request; 1 database or persons out of reach, the topic deleted, or --alive
found no live process; 2 wrong settings, or the broker rejects the credentials or the access rights

--alive needs neither database nor broker: it reads WORKER_STATE_FILE, which the process updates
continually. A process that has not updated it for {state_file.STUCK_S:g} s is stuck.
"""


class Command(BaseCommand):
    help = "Tells the receivers of webhooks about encounters."

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        return super().create_parser(
            *args, **kwargs, epilog=_EPILOG, formatter_class=RawDescriptionHelpFormatter
        )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--alive", action="store_true", help="only report whether the process at WORKER_STATE_FILE lives"
        )

    def handle(self, *, alive: bool, **_: Any) -> None:
        if alive:
            try:
                self.stdout.write(state_file.check(settings.WORKER_STATE_FILE, "process"))
            except state_file.NotAlive as error:
                raise CommandError(str(error), returncode=1) from None
        else:
            self._run()

    def _run(self) -> None:
        stop_requested = stop_signals.stop_requested()
        state = state_file.StateFile(settings.WORKER_STATE_FILE)
        try:
            if not dependencies.wait(stop_requested, state, _missing_dependency):
                return
        except BrokerRefused as error:
            raise _refused(error) from None
        consumer, deliveries = Consumer(), Deliveries()
        self.stdout.write("Delivering.")
        self.stdout.flush()
        try:
            while not stop_requested.is_set():
                consumer.step()
                deliveries.step()
                state.update("delivering")
            self.stdout.write("Stopped.")
        except BrokerRefused as error:
            raise _refused(error) from None
        except (NeighbourUnavailable, OperationalError, InterfaceError) as error:
            raise CommandError(f"Out of reach, nothing is lost: {error}", returncode=1) from None
        finally:
            deliveries.stop()
            state.update("stopped", force=True)
            deliveries.close()
            consumer.close()


def _missing_dependency() -> str | None:
    return dependencies.missing(Delivery, settings.KAFKA_ENCOUNTERS_TOPIC)


def _refused(error: BrokerRefused) -> CommandError:
    return CommandError(f"The broker refuses this process, nothing is lost: {error}", returncode=2)
