"""`manage.py make_certificate`: a certificate for this machine, from an authority that phones can trust."""

import re
import socket
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from access.certificates import Authority, NotPermitted

ALWAYS = ("localhost", "127.0.0.1", "locations")  # locations is the name that neighbours expect
_NAME = re.compile(r"[0-9A-Za-z.:-]{1,253}", re.ASCII)
DOCUMENTATION = "192.0.2.1"  # an address that nobody has; no packet is sent to it


def own_address() -> str:
    """The address of this machine in its network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((DOCUMENTATION, 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


class Command(BaseCommand):
    help = (
        "Makes a certificate for this machine, and an authority that phones can trust. docs/run.md says how."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "host",
            nargs="*",
            metavar="HOST",
            help="names and addresses of this machine that phones use (default: its address in the network)",
        )

    def handle(self, *, host: list[str], **_: Any) -> None:
        hosts = host or [own_address()]
        for name in hosts:
            if not _NAME.fullmatch(name):
                raise CommandError(f"{name!r} is no host name and no address.")
        try:
            authority = Authority(settings.STATE_DIR / "tls", hosts)
            authority.certify(*dict.fromkeys([*hosts, *ALWAYS]))
        except NotPermitted as fault:
            folder = authority.file.parent
            raise CommandError(
                f"{fault} Remove the folder {folder} for a new authority, which each phone must trust anew."
            ) from None
        except (OSError, ValueError) as fault:
            raise CommandError(str(fault)) from None
        first = f"[{hosts[0]}]" if ":" in hosts[0] else hosts[0]
        found = authority.settings() | {
            "ALLOWED_HOSTS": ",".join(hosts),
            "API_URL": f"https://{first}:30001",
            "APP_URL": f"https://{first}:30000",
        }
        self.stdout.write(
            f"The certificate is valid until {authority.ends:%Y-%m-%d}. Start the system with it:\n\n"
            f"  make up ACCESS=tokens {' '.join(f'{name}={value}' for name, value in found.items())}\n\n"
            f"Install {authority.file} on each phone: docs/run.md, Let phones in.\n"
            "Then open this address on the phone, in the same network:\n\n"
            f"  {found['APP_URL']}/share"
        )
