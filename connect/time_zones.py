"""The time zones that the API accepts."""

from functools import cache
from zoneinfo import available_timezones

# Files in the directory of time zones that are none: a placeholder, and the zone of the machine, which is not
# the same for every process and database.
_NO_TIME_ZONES = {"Factory", "localtime"}


def time_zone_error(name: str) -> str:
    """The error text for a name that is no IANA time zone; empty if it is one."""
    return "" if name in _names() else "Must be an IANA time zone such as Europe/Berlin."


@cache
def _names() -> frozenset[str]:
    return frozenset(available_timezones() - _NO_TIME_ZONES)
