"""What can be asked about locations: the defaults and bounds that every door shares."""

from datetime import datetime, timedelta

from django.conf import settings

MAX_LIMIT = 10_000  # rows of a page

DISTANCE_M = 5.0
MAX_DISTANCE_M = 10_000  # and more than 0

WITHIN_S = 60.0  # of an encounter; of a connection any time counts unless it is given
MAX_WITHIN_S = 3_600

MAX_GAP_S = 75.0  # badge studies bridge that much
LONGEST_GAP_S = 86_400

LONGEST_S = 10_000_000_000  # longer than any range; beyond it nothing is left out any more

# A person learns where others were only where they met: so near, in space and in time.
MET_DISTANCE_M = 25.0
MET_WITHIN_S = 300.0


def too_long(start: datetime, end: datetime) -> str:
    """What is wrong with a range that is longer than MAX_RANGE_DAYS; empty where nothing is."""
    most = settings.MAX_RANGE_DAYS
    if not most or end - start <= timedelta(days=most):
        return ""
    return f"Must be at most {most} days after the start."
