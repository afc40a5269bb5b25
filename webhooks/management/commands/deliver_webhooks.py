"""`manage.py deliver_webhooks`: tells the receivers of webhooks about encounters."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings

from connect import stop_signals
from consumers import dependencies, state_file
from consumers.worker_command import WorkerCommand
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


class Command(WorkerCommand):
    help = "Tells the receivers of webhooks about encounters."
    worker = "process"
    epilog = _EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--alive", action="store_true", help="only report whether the process at WORKER_STATE_FILE lives"
        )

    def handle(self, *, alive: bool, **_: Any) -> None:
        if alive:
            self.report_alive()
        else:
            with self.exit_status():
                self._run()

    def _run(self) -> None:
        stop_requested = stop_signals.stop_requested()
        state = state_file.StateFile(settings.WORKER_STATE_FILE)
        if not dependencies.wait(stop_requested, state, _missing_dependency):
            return
        consumer, deliveries = Consumer(), Deliveries()
        self.stdout.write("Delivering.")
        self.stdout.flush()
        try:
            while not stop_requested.is_set():
                consumer.step()
                deliveries.step()
                state.update("delivering")
            self.stdout.write("Stopped.")
        finally:
            deliveries.stop()
            state.update("stopped", force=True)
            deliveries.close()
            consumer.close()


def _missing_dependency() -> str | None:
    return dependencies.missing(Delivery, settings.KAFKA_ENCOUNTERS_TOPIC)
