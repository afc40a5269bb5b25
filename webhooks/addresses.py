"""The addresses that webhooks may lead to. Others than public ones need WEBHOOKS_ALLOW_PRIVATE."""

import ipaddress
import re
import socket
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from django.conf import settings

from webhooks.models import MAX_URL

_PRINTABLE = re.compile(r"[!-~]+", re.ASCII)
# Unicast addresses of the internet. Other blocks of IPv6 are special, mapped IPv4 addresses among them.
_IPV6_UNICAST = ipaddress.IPv6Network("2000::/3")
# Prefixes within it that carry an IPv4 address, which may be private: 6to4, Teredo.
_IPV6_TUNNELS = (ipaddress.IPv6Network("2002::/16"), ipaddress.IPv6Network("2001::/32"))
_IPV4_PROTOCOLS = ipaddress.IPv4Network(
    "192.0.0.0/24"
)  # `is_global` of older Pythons knows only a part of it

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Forbidden(ValueError):
    """The URL or its address may not be used. The text says why."""


class Target(NamedTuple):
    """The parts of a URL that a request needs. `host` has no brackets."""

    is_tls: bool
    host: str
    port: int
    path: str  # with the query
    authority: str  # the header Host


def parse(url: str) -> Target:
    """Raises Forbidden. It does not resolve the name, but refuses a literal address that is not public."""
    if len(url) > MAX_URL or not _PRINTABLE.fullmatch(url):
        raise Forbidden(f"Must have at most {MAX_URL:,} characters, only visible ASCII. Encode all others.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as fault:
        raise Forbidden(f"Must be a URL: {fault}.") from None
    if parts.scheme not in ("http", "https"):
        raise Forbidden("Must begin with https:// or http://.")
    if not host or port == 0:
        raise Forbidden("Must have a host, and a port from 1 to 65535 if it has one.")
    if "@" in parts.netloc or "\\" in url or "#" in url:
        raise Forbidden("Must have no user name, backslash or fragment.")
    try:
        _check(ipaddress.ip_address(host))
    except Forbidden:
        raise
    except ValueError:
        if not re.fullmatch(r"[a-z0-9_.-]+", host):
            raise Forbidden("Must have the name of a host or an IP address.") from None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    is_tls = parts.scheme == "https"
    return Target(is_tls, host, port or (443 if is_tls else 80), path, parts.netloc)


def resolve(target: Target) -> list[str]:
    """The addresses of the host in the order of the resolver. Raises Forbidden if any of them is not allowed.

    Connect to one of them, not to the name: the name may resolve differently the next time.
    """
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as fault:
        raise OSError(f"The name {target.host} is not resolved: {fault}") from None
    addresses = list(dict.fromkeys(_without_scope(str(each[4][0])) for each in found))
    for address in addresses:
        _check(ipaddress.ip_address(address))
    return addresses


def _without_scope(address: str) -> str:
    return address.partition("%")[0]


def _check(address: Address) -> None:
    if not settings.WEBHOOKS_ALLOW_PRIVATE and not is_public(address):
        raise Forbidden(f"The address {address} is not public. WEBHOOKS_ALLOW_PRIVATE would allow it.")


def is_public(address: Address) -> bool:
    """Whether it is a unicast address of the internet."""
    return not any(_reasons(address))


def _reasons(address: Address) -> Iterator[bool]:
    yield not address.is_global
    yield address.is_multicast or address.is_reserved
    if isinstance(address, ipaddress.IPv4Address):
        yield address in _IPV4_PROTOCOLS
    else:
        yield address not in _IPV6_UNICAST
        yield any(address in network for network in _IPV6_TUNNELS)
