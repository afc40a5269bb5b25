"""The seam: the only module that selects the implementation of a neighbour.

Each neighbour has one URL, and its scheme selects the implementation, as in DATABASE_URL. All implementations
have the same verbs, take plain arguments, return dataclasses and raise the same exceptions. An unreachable
neighbour raises NeighbourUnavailable. Unused implementations are not imported.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from types import ModuleType
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

# For each neighbour: URL scheme -> module whose functions are its verbs.
PERSONS = {"local": "persons.services", "http": "persons.http_client"}  # get_many, findable
LOCATIONS = {
    "local": "locations.storage",
    "http": "locations.http_client",
    "grpc": "grpc_server.client",
}  # get, list_between, connections, encounters, days, positions, heat, visits
PINGS = {"local": "locations.storage", "grpc": "grpc_server.client", "kafka": "consumers.producer"}  # submit
# Each remote module also has `is_alive(url)`, which returns within 2 s (connect/needs.py).
# The persons process stores the tokens, so PERSONS_URL selects both.
ACCESS = {
    "local": "access.services",
    "http": "access.http_client",
}  # identify_tokens, token_changes, identify_session, note
# It also stores the counts of refused points.
PHONES = {"local": "phones.refusals", "http": "phones.http_client"}  # count
# Only a process with the database finds everybody's encounters.
PING_COLUMNS = {"local": "locations.columns"}  # read, first_time, people, person_minutes, near

# The neighbours that each app calls. PERSONS_URL is also needed to check tokens and, for the producer, to
# check that a person exists before it sends a ping to the topic. The web app calls none; every other app uses
# the database.
_NEIGHBOUR_SETTINGS: dict[str, tuple[str, ...]] = {
    "connections": ("PERSONS_URL", "LOCATIONS_URL"),
    "locations": ("LOCATIONS_URL", "PINGS_URL", "PERSONS_URL"),
    # The process has the database, and so LOCATIONS_URL=local: as the process that finds encounters.
    "encounters": ("LOCATIONS_URL", "PERSONS_URL"),
    # It asks locations only about a person's own encounters, and reads the topics of PINGS_URL.
    "live": ("PERSONS_URL", "LOCATIONS_URL", "PINGS_URL"),
    "webapp": (),
}


def neighbour_settings(app: str) -> tuple[str, ...] | None:
    """The settings with the URLs of the neighbours that an app calls; None if it uses the database."""
    return _NEIGHBOUR_SETTINGS.get(app)


# For each app that reads the lag of consumer groups: need -> function of consumers.group_watch.
_WATCHED_GROUPS = {
    "admin": {"writer": "writers_work"},
    "encounters": {"finder": "finders_work", "webhooks": "webhooks_work"},
}


def watched_groups(app: str, urls: Mapping[str, str]) -> dict[str, Callable[[], bool]]:
    """The checks of the consumer groups that an app with these neighbour URLs needs, by name."""
    if not urls["PINGS_URL"].startswith("kafka:"):
        return {}
    return {name: partial(_is_at_work, check) for name, check in _WATCHED_GROUPS.get(app, {}).items()}


def _is_at_work(check: str) -> bool:
    return bool(getattr(import_module("consumers.group_watch"), check)())


def liveness_probe(setting: str, url: str) -> tuple[str, Callable[[], bool]]:
    """The name of a remote neighbour and its liveness check."""
    scheme = url.partition(":")[0]
    name = "broker" if scheme == "kafka" else {"PERSONS_URL": "persons"}.get(setting, "locations")
    return name, partial(_implementation(setting, url).is_alive, url)


def persons() -> ModuleType:
    return _implementation("PERSONS_URL", settings.PERSONS_URL)


def locations() -> ModuleType:
    return _implementation("LOCATIONS_URL", settings.LOCATIONS_URL)


def ping_columns() -> ModuleType:
    return _implementation("LOCATIONS_URL", settings.LOCATIONS_URL, "ping_columns")


def pings() -> ModuleType:
    return _implementation("PINGS_URL", settings.PINGS_URL)


def access() -> ModuleType:
    return _implementation("PERSONS_URL", settings.PERSONS_URL, "access")


def zone_area(zone_id: int) -> bytes | None:
    """The polygon of a zone as WKB; None if there is no such zone. For processes with the database."""
    area: bytes | None = import_module("venue.storage").area(zone_id)
    return area


def phones() -> ModuleType:
    return _implementation("PERSONS_URL", settings.PERSONS_URL, "phones")


_SCHEMES = {"PERSONS_URL": PERSONS, "LOCATIONS_URL": LOCATIONS, "PINGS_URL": PINGS}
# What the persons process stores besides, and pings in columns.
_OTHERS = {"access": ACCESS, "phones": PHONES, "ping_columns": PING_COLUMNS}


@cache
def _implementation(setting: str, url: str, other: str = "") -> ModuleType:
    scheme = url.partition(":")[0]
    schemes = _OTHERS[other] if other else _SCHEMES[setting]
    if scheme not in schemes:
        raise ImproperlyConfigured(f"{setting}={url!r}: the scheme must be one of {sorted(schemes)}.")
    if scheme in ("http", "grpc"):
        address(setting, url)
    elif scheme != "local" and not urlsplit(url).hostname:
        raise ImproperlyConfigured(f"{setting}={url!r}: the URL has no host.")
    return import_module(schemes[scheme])


def address(setting: str, url: str) -> tuple[str, int]:
    """Host and port of an http: or grpc: URL; http: defaults to port 80. Raises ImproperlyConfigured."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port is None and parts.scheme == "http":
        port = 80
    if not parts.hostname:
        raise ImproperlyConfigured(f"{setting}={url!r}: the URL has no host.")
    if not port:
        expected = f"{parts.scheme}://host:port, with a port from 1 to 65535"
        raise ImproperlyConfigured(f"{setting}={url!r}: the URL must be {expected}.")
    return parts.hostname, port


def check() -> None:
    """Checks the URLs at startup instead of at the first call. Raises ImproperlyConfigured."""
    persons(), locations(), pings()
    calls_remote = any(getattr(settings, name).startswith(("http:", "grpc:")) for name in _SCHEMES)
    if calls_remote and settings.ACCESS == "tokens" and not settings.SERVICE_TOKEN:
        raise ImproperlyConfigured(
            "SERVICE_TOKEN is empty, so neighbours would refuse the calls of this process."
        )
