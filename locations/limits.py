"""The defaults and bounds of questions about locations, for every interface."""

from datetime import datetime, timedelta

from django.conf import settings

from connect.errors import OutOfBounds

DISTANCE_M = 5.0
MAX_DISTANCE_M = 10_000  # and more than 0

WITHIN_S = 60.0  # for encounters; connections have no default, so that any time counts
MAX_WITHIN_S = 3_600

MAX_GAP_S = 75.0  # the default of `max_gap`; badge studies use it
LONGEST_GAP_S = 86_400  # the bound of `max_gap`

MAX_DURATION_S = 10_000_000_000  # longer than any range, so a larger `min_duration` means the same

# (minimum, maximum) for a person's own token: docs/privacy.md.
PERSON_BOUNDS: dict[str, tuple[float, float]] = {
    "distance_m": (0, 10),
    "within_s": (0, 60),
    "max_gap_s": (0, 120),
    "min_duration_s": (60, MAX_DURATION_S),
}
BOUNDS: dict[str, tuple[float, float]] = {
    "distance_m": (0, MAX_DISTANCE_M),
    "within_s": (0, MAX_WITHIN_S),
    "max_gap_s": (0, LONGEST_GAP_S),
    "min_duration_s": (0, MAX_DURATION_S),
}


def check_bounds(*, is_person: bool, **asked: float | None) -> None:
    """Raises OutOfBounds with every number that is out of its bounds; None is not checked."""
    errors = {}
    scope = " for a person's token" if is_person else ""
    for name, value in asked.items():
        minimum, maximum = (PERSON_BOUNDS if is_person else BOUNDS)[name]
        if value is None or (minimum <= value <= maximum and (value > 0 or name != "distance_m")):
            continue
        if value > maximum:
            errors[name] = [f"Must be at most {maximum:g}{scope}."]
        else:
            errors[name] = [
                f"Must be {'more than' if name == 'distance_m' else 'at least'} {minimum:g}{scope}."
            ]
    if errors:
        raise OutOfBounds(errors)


def range_error(start: datetime, end: datetime) -> str:
    """The error text for a range longer than MAX_RANGE_DAYS; empty if it is not. 0 days mean no limit."""
    max_days = settings.MAX_RANGE_DAYS
    if not max_days or end - start <= timedelta(days=max_days):
        return ""
    return f"Must be at most {max_days} days after the start."
