"""What can be asked about locations: the defaults and bounds that every door shares."""

from datetime import datetime, timedelta

from django.conf import settings

from connect.errors import OutOfBounds

DISTANCE_M = 5.0
MAX_DISTANCE_M = 10_000  # and more than 0

WITHIN_S = 60.0  # of an encounter; of a connection any time counts unless it is given
MAX_WITHIN_S = 3_600

MAX_GAP_S = 75.0  # badge studies bridge that much
LONGEST_GAP_S = 86_400

LONGEST_S = 10_000_000_000  # longer than any range; beyond it nothing is left out any more

# What a person's own token may ask about others: least and most. Docs/privacy.md says why.
PERSON_BOUNDS: dict[str, tuple[float, float]] = {
    "distance_m": (0, 10),
    "within_s": (0, 60),
    "max_gap_s": (0, 120),
    "min_duration_s": (60, LONGEST_S),
}
BOUNDS: dict[str, tuple[float, float]] = {
    "distance_m": (0, MAX_DISTANCE_M),
    "within_s": (0, MAX_WITHIN_S),
    "max_gap_s": (0, LONGEST_GAP_S),
    "min_duration_s": (0, LONGEST_S),
}


def check_bounds(*, is_person: bool, **asked: float | None) -> None:
    """Raises OutOfBounds with every number that is not within its bounds; None is not checked."""
    errors = {}
    whose = " for a person's token" if is_person else ""
    for name, value in asked.items():
        least, most = (PERSON_BOUNDS if is_person else BOUNDS)[name]
        if value is None or (least <= value <= most and (value > 0 or name != "distance_m")):
            continue
        if value > most:
            errors[name] = [f"Must be at most {most:g}{whose}."]
        else:
            errors[name] = [
                f"Must be {'more than' if name == 'distance_m' else 'at least'} {least:g}{whose}."
            ]
    if errors:
        raise OutOfBounds(errors)


def too_long(start: datetime, end: datetime) -> str:
    """What is wrong with a range that is longer than MAX_RANGE_DAYS; empty where nothing is."""
    most = settings.MAX_RANGE_DAYS
    if not most or end - start <= timedelta(days=most):
        return ""
    return f"Must be at most {most} days after the start."
