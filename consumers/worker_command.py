"""The base of the commands of workers: help, report to probes, exit status."""

from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from connect.errors import NeighbourUnavailable
from consumers import state_file
from consumers.topic import BrokerRefused


class WorkerCommand(BaseCommand):
    """`worker` names the process in messages; `epilog` is the text after the options in the help."""

    worker: str
    epilog: str

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        return super().create_parser(
            *args, **kwargs, epilog=self.epilog, formatter_class=RawDescriptionHelpFormatter
        )

    def report_alive(self) -> None:
        """Describes the state file of the worker. Raises CommandError if the worker is not alive."""
        try:
            self.stdout.write(state_file.check(settings.WORKER_STATE_FILE, self.worker))
        except state_file.NotAlive as error:
            raise CommandError(str(error), returncode=1) from None

    @contextmanager
    def exit_status(self) -> Iterator[None]:
        """Gives the errors that end a worker their text and exit status.

        1: a supervisor starts it again, and it waits for what is out of reach. 2: somebody must change a
        setting or a right.
        """
        try:
            yield
        except BrokerRefused as error:
            text = f"The broker refuses this {self.worker}, nothing is lost: {error}"
            raise CommandError(text, returncode=2) from None
        except (NeighbourUnavailable, OperationalError, InterfaceError) as error:
            raise CommandError(f"Out of reach, nothing is lost: {error}", returncode=1) from None
        except ImproperlyConfigured as error:
            raise CommandError(str(error), returncode=2) from None
