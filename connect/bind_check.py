"""Where a process may listen: with ACCESS=open on its own machine alone."""

from collections.abc import Iterable
from ipaddress import ip_address

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


def check(hosts: Iterable[str]) -> str:
    """What a process says at its start of who may ask it, as it listens on these addresses.

    Raises ImproperlyConfigured where anybody on the network could do everything.
    """
    if settings.ACCESS != "open":
        return "ACCESS=tokens: who calls has to show a token."
    for host in hosts:
        try:
            is_here = host == "localhost" or ip_address(host.strip("[]")).is_loopback
        except ValueError:
            is_here = False
        if not is_here:
            raise ImproperlyConfigured(f"ACCESS=open is for this machine alone, and {host} is not.")
    return "ACCESS=open: everybody on this machine may do everything; only 127.0.0.1 is listened on."
