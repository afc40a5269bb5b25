"""The seam: the only file that picks how a neighbour is reached.

One URL per neighbour, its scheme picks the implementation, as DATABASE_URL does. All implementations of a
neighbour have the same verbs, take plain arguments, give dataclasses and raise the same exceptions; a
neighbour that cannot be reached is NeighbourUnavailable. One that is not used is not imported.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from types import ModuleType
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

# For each neighbour: the scheme of its URL, and the module whose functions are its verbs.
PERSONS = {"local": "persons.services", "http": "persons.http_client"}  # get_many
LOCATIONS = {
    "local": "locations.storage",
    "http": "locations.http_client",
    "grpc": "grpc_server.client",
}  # get, list_between, connections, encounters
PINGS = {"local": "locations.storage", "grpc": "grpc_server.client", "kafka": "consumers.producer"}  # submit
# Each of these that is remote also has `is_alive(url)`; it answers within a second or two (connect/needs.py).
# Tokens are kept where persons are: the same URL says where.
ACCESS = {
    "local": "access.services",
    "http": "access.http_client",
}  # identify_tokens, token_changes, identify_session, note

# Whom the apps ask along the seam: persons also whose tokens they are shown, and a door to a topic, which
# refuses nobody, whose pings it is to take. The page asks nobody, and every other app asks the database.
_ASKED: dict[str, tuple[str, ...]] = {
    "connections": ("PERSONS_URL", "LOCATIONS_URL"),
    "locations": ("LOCATIONS_URL", "PINGS_URL", "PERSONS_URL"),
    "webapp": (),
}


def asked(app: str) -> tuple[str, ...] | None:
    """The settings that name those whom an app asks; None for one that asks the database."""
    return _ASKED.get(app)


def watches(app: str, urls: Mapping[str, str]) -> bool:
    """Whether an app, so wired, asks the topic's brokers how far its writers are."""
    return app == "admin" and urls["PINGS_URL"].startswith("kafka:")


def probe(setting: str, url: str) -> tuple[str, Callable[[], bool]]:
    """The name of a remote neighbour, and how it is asked whether it is alive."""
    scheme = url.partition(":")[0]
    name = "broker" if scheme == "kafka" else {"PERSONS_URL": "persons"}.get(setting, "locations")
    return name, partial(_implementation(setting, url).is_alive, url)


def writer_is_at_work() -> bool:
    """Whether the pings in the topic get stored."""
    return bool(import_module("consumers.writer_watch").is_at_work())


def persons() -> ModuleType:
    return _implementation("PERSONS_URL", settings.PERSONS_URL)


def locations() -> ModuleType:
    return _implementation("LOCATIONS_URL", settings.LOCATIONS_URL)


def pings() -> ModuleType:
    return _implementation("PINGS_URL", settings.PINGS_URL)


def access() -> ModuleType:
    return _implementation("PERSONS_URL", settings.PERSONS_URL, tokens=True)


_SCHEMES = {"PERSONS_URL": PERSONS, "LOCATIONS_URL": LOCATIONS, "PINGS_URL": PINGS}


@cache
def _implementation(setting: str, url: str, *, tokens: bool = False) -> ModuleType:
    scheme = url.partition(":")[0]
    schemes = ACCESS if tokens else _SCHEMES[setting]
    if scheme not in schemes:
        raise ImproperlyConfigured(f"{setting}={url!r}: the scheme must be one of {sorted(schemes)}.")
    if scheme in ("http", "grpc"):
        address(setting, url)
    elif scheme != "local" and not urlsplit(url).hostname:
        raise ImproperlyConfigured(f"{setting}={url!r}: there is no host in it.")
    return import_module(schemes[scheme])


def address(setting: str, url: str) -> tuple[str, int]:
    """Host and port of an http: or grpc: URL. HTTP has a default port. Raises ImproperlyConfigured."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port is None and parts.scheme == "http":
        port = 80
    if not parts.hostname:
        raise ImproperlyConfigured(f"{setting}={url!r}: there is no host in it.")
    if not port:
        wanted = f"{parts.scheme}://host:port, with a port from 1 to 65535"
        raise ImproperlyConfigured(f"{setting}={url!r}: it must be {wanted}.")
    return parts.hostname, port


def check() -> None:
    """Raises ImproperlyConfigured now, at start, rather than at the first question."""
    persons(), locations(), pings()
    asks = any(getattr(settings, name).startswith(("http:", "grpc:")) for name in _SCHEMES)
    if asks and settings.ACCESS == "tokens" and not settings.SERVICE_TOKEN:
        raise ImproperlyConfigured(
            "SERVICE_TOKEN is empty, and neighbours would answer this process nothing."
        )
