"""`manage.py run_location_server`: the gRPC server of locations."""

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from connect import bind_check, gc_tuning, stop_signals
from grpc_server.server import SERVICE, LocationServer

GRACE_S = 60.0

_EPILOG = f"""
Serves {SERVICE}, with health and reflection. SIGTERM or
SIGINT stops it: it refuses new calls, finishes running work, and cancels the work that is left
after the grace period. A second signal stops it at once.

exit status: 0 stopped on request; 1 stopped, but some work was cancelled (it is not
acknowledged); 2 wrong arguments or settings, or the address is not available
"""


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 3600:
        raise ArgumentTypeError("must be a number of seconds from 0 to 3600")
    return value


class Command(BaseCommand):
    help = "Serves locations by gRPC."

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        return super().create_parser(
            *args, **kwargs, epilog=_EPILOG, formatter_class=RawDescriptionHelpFormatter
        )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--address",
            default=settings.GRPC_ADDRESS,
            metavar="HOST:PORT",
            help="address for neighbours; port 0 takes a free port (GRPC_ADDRESS, here %(default)s)",
        )
        parser.add_argument(
            "--public-address",
            default=settings.GRPC_PUBLIC_ADDRESS,
            metavar="HOST:PORT",
            help="address for clients; refuses service tokens (GRPC_PUBLIC_ADDRESS, here %(default)s)",
        )
        parser.add_argument(
            "--grace",
            type=seconds,
            default=GRACE_S,
            metavar="SECONDS",
            help="grace period for running work at shutdown (default: %(default)s)",
        )

    def handle(self, *, address: str, public_address: str, grace: float, **_: Any) -> None:
        for name in ("LOCATIONS_URL", "PINGS_URL"):
            if getattr(settings, name).startswith("grpc:"):
                raise CommandError(
                    f"{name} leads to a gRPC server: this server would call itself.", returncode=2
                )
        try:
            hosts = {each.rpartition(":")[0] for each in (address, public_address)}
            self.stdout.write(bind_check.check(sorted(hosts)))
        except ImproperlyConfigured as error:
            raise CommandError(str(error), returncode=2) from None
        try:
            server = LocationServer(address, public_address)
        except OSError as error:
            raise CommandError(str(error), returncode=2) from None
        stop_requested = stop_signals.stop_requested()
        server.start()
        host, public_host = address.rpartition(":")[0], public_address.rpartition(":")[0]
        self.stdout.write(f"Listening on {host}:{server.port}")
        self.stdout.write(f"Listening for clients on {public_host}:{server.public_port}")
        self.stdout.flush()
        with gc_tuning.raised_threshold():
            # A handler runs in the main thread, which a signal to another thread does not wake.
            while not stop_requested.wait(1.0):
                pass
        self.stdout.write("Stopping.")
        if not server.stop(grace):
            raise CommandError(f"Some work was not done within {grace:g} s.", returncode=1)
        self.stdout.write("Stopped.")
