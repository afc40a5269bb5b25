"""With ACCESS=open a process may bind only to loopback addresses."""

from collections.abc import Iterable
from ipaddress import ip_address

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


def check(hosts: Iterable[str]) -> str:
    """The log line about access for a process that listens on these addresses.

    Raises ImproperlyConfigured if ACCESS=open and an address is not loopback.
    """
    if settings.ACCESS != "open":
        return "ACCESS=tokens: every caller needs a token."
    for host in hosts:
        try:
            is_loopback = host == "localhost" or ip_address(host.strip("[]")).is_loopback
        except ValueError:
            is_loopback = False
        if not is_loopback:
            raise ImproperlyConfigured(f"ACCESS=open allows only loopback addresses, and {host} is not one.")
    return "ACCESS=open: everybody on this machine may do everything. The process listens on loopback only."
