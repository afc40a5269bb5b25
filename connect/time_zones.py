"""The time zones that the API accepts."""

from functools import cache
from zoneinfo import available_timezones

# Files of the IANA database of Python that PostgreSQL does not know.
_UNKNOWN_TO_POSTGRESQL = {"Factory", "localtime"}


def time_zone_error(name: str) -> str:
    """The error text for a name that is no IANA time zone; empty if it is one."""
    return "" if name in _names() else "Must be an IANA time zone such as Europe/Berlin."


@cache
def _names() -> frozenset[str]:
    return frozenset(available_timezones() - _UNKNOWN_TO_POSTGRESQL)
