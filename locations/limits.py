"""The defaults and bounds of pings and of questions about them, for every interface."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.conf import settings

from connect.errors import OutOfBounds

MIN_ACCURACY_M = 0.001  # smaller values are raised to it: single precision cannot hold all of them
MAX_ACCURACY_M = 100_000

DISTANCE_M = 5.0
WITHIN_S = 60.0  # for encounters; connections have no default, so that any time counts
MAX_GAP_S = 75.0  # badge studies use it


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a question takes. Everything else about it derives from this row.

    `name` is the keyword of the use cases and the gRPC field; REST leaves out the unit. The bounds for a
    person's own token are narrower where given: docs/privacy.md.
    """

    name: str
    description: str
    maximum: float
    minimum: float = 0
    default: float | None = None
    person_minimum: float | None = None
    person_maximum: float | None = None
    excludes_minimum: bool = False
    clamps: bool = False  # a larger value means the maximum
    has_unit_in_rest: bool = False
    without: str = ""  # what happens without it, if there is no default
    example: float = 1

    @property
    def rest_name(self) -> str:
        return self.name if self.has_unit_in_rest else self.name.rpartition("_")[0]

    def bounds(self, *, is_person: bool) -> tuple[float, float]:
        if not is_person:
            return self.minimum, self.maximum
        minimum = self.minimum if self.person_minimum is None else self.person_minimum
        return minimum, self.maximum if self.person_maximum is None else self.person_maximum

    def default_for(self, *, is_person: bool) -> float | None:
        """The default, or the minimum of a person's token if that is more."""
        if self.default is None or not is_person:
            return self.default
        return max(self.default, self.bounds(is_person=True)[0])

    def allows(self, value: float, *, is_person: bool = False) -> bool:
        minimum, maximum = self.bounds(is_person=is_person)
        return minimum <= value <= maximum and not (self.excludes_minimum and value == minimum)

    def error(self, value: float, *, is_person: bool) -> str:
        """The error text of a value that is not allowed."""
        minimum, maximum = self.bounds(is_person=is_person)
        scope = " for a person's token" if is_person else ""
        if value > maximum:
            return f"Must be at most {maximum:g}{scope}."
        return f"Must be {'more than' if self.excludes_minimum else 'at least'} {minimum:g}{scope}."

    def parse(self, value: float) -> float:
        """A double of a request, clamped. Raises ValueError outside the widest bounds."""
        if self.clamps:
            if not (math.isfinite(value) and value >= self.minimum):
                raise ValueError(f"Must be a finite number, at least {self.minimum:g}.")
            return min(value, self.maximum)
        if not self.allows(value):
            above = (
                f"more than {self.minimum:g} and at most"
                if self.excludes_minimum
                else f"from {self.minimum:g} to"
            )
            raise ValueError(f"Must be {above} {self.maximum}.")
        return value

    @property
    def help_text(self) -> str:
        """The description, the bounds and the default in words."""
        least = f"more than {self.minimum:g}" if self.excludes_minimum else f"{self.minimum:g}"
        if self.clamps:
            bounds = f"{least} or more"
        else:
            bounds = f"{least}{', at most ' if self.excludes_minimum else ' to '}{self.maximum:,}"
        default, persons = self.default, ""
        if self.person_minimum is not None:
            persons = f" (at least {self.person_minimum:g} for a person's token)"
        if self.person_maximum is not None:
            persons = f" ({self.person_maximum:g} for a person's token)"
        if default is None:
            return f"{self.description}: {bounds}{persons}; {self.without}."
        own = self.default_for(is_person=True)
        own_default = "" if own == default else f", for a person's token {own:g}"
        return f"{self.description}: {bounds}{persons}; default {default:g}{own_default}."


DISTANCE = Parameter(
    "distance_m",
    "Maximum geodesic distance of the two pings in metres",
    maximum=10_000,
    default=DISTANCE_M,
    example=DISTANCE_M,
    person_maximum=10,
    excludes_minimum=True,
)
WITHIN = Parameter(
    "within_s",
    "Maximum time between the two pings of a pair in seconds",
    maximum=3_600,
    default=WITHIN_S,
    example=WITHIN_S,
    person_maximum=60,
)
MAX_GAP = Parameter(
    "max_gap_s",
    "Maximum time between two pairs of an encounter in seconds",
    maximum=86_400,
    default=MAX_GAP_S,
    example=MAX_GAP_S,
    person_maximum=120,
)
MIN_DURATION = Parameter(
    "min_duration_s",
    "Minimum duration in seconds; shorter encounters are left out",
    maximum=10_000_000_000,  # longer than any range
    default=0.0,
    example=300,
    person_minimum=60,
    clamps=True,
)
MAX_ACCURACY = Parameter(
    "max_accuracy_m",
    "Leaves out the pings of either person whose accuracy is worse, that is, a larger radius in metres",
    maximum=MAX_ACCURACY_M,
    example=20,
    excludes_minimum=True,
    without="by default all pings count, and an unknown accuracy always counts as good",
)

ENCOUNTERS = (DISTANCE, WITHIN, MAX_GAP, MIN_DURATION, MAX_ACCURACY)
# Connections are not for a person's token.
CONNECTIONS = (
    replace(DISTANCE, person_maximum=None),
    replace(WITHIN, default=None, person_maximum=None, without="by default any time in the range"),
    MAX_ACCURACY,
)

MAX_AGE = Parameter(
    "max_age_s",
    "Maximum age of a position in seconds",
    maximum=3_600,
    default=120.0,
    example=120,
    excludes_minimum=True,
)
CELL = Parameter(
    "cell_m",
    "Height and width of a cell in metres",
    minimum=1,
    maximum=1_000,
    default=5.0,
    example=5,
    has_unit_in_rest=True,
)
POSITIONS = (MAX_AGE,)
HEAT = (CELL,)
VISITS = (
    Parameter(
        "max_gap_s",
        "Maximum time between two pings of a visit in seconds",
        maximum=86_400,
        default=120.0,
        example=120,
    ),
    Parameter(
        "min_duration_s",
        "Minimum duration in seconds; shorter visits are left out",
        maximum=10_000_000_000,
        default=60.0,
        example=60,
        clamps=True,
    ),
)
# Of everybody's stored encounters. They are not for a person's token.
STORED_ENCOUNTERS = (replace(MIN_DURATION, person_minimum=None),)
CASCADE = (
    replace(
        MIN_DURATION,
        description="Time together in seconds after which something passes from one person to the other",
        default=900.0,
        example=900,
        person_minimum=None,
    ),
)
DEPTH, MAX_DEPTH = 2, 5  # of a cascade: encounters from the first person to the last
MAX_HEAT_DAYS = 31
# Of a question about visits. As WKB in hexadecimal digits so many points still fit the body of a request.
MAX_AREAS = 10_000
MAX_AREA_POINTS = 100_000


def complete(
    parameters: Iterable[Parameter], asked: Mapping[str, float | None], *, is_person: bool = False
) -> dict[str, float | None]:
    """All parameters of a question: those asked for, the others with their defaults.

    Raises OutOfBounds with every number that is out of its bounds, TypeError for an unknown parameter.
    """
    by_name = {each.name: each for each in parameters}
    if unknown := asked.keys() - by_name.keys():
        raise TypeError(f"unknown parameters: {', '.join(sorted(unknown))}")
    errors = {}
    values: dict[str, float | None] = {}
    for name, each in by_name.items():
        value = asked.get(name)
        values[name] = each.default_for(is_person=is_person) if value is None else value
        if value is not None and not each.allows(value, is_person=is_person):
            errors[name] = [each.error(value, is_person=is_person)]
    if errors:
        raise OutOfBounds(errors)
    return values


def range_error(start: datetime, end: datetime, *, max_days: int | None = None) -> str:
    """The error text for a range longer than `max_days`; empty if it is not. 0 days mean no limit.

    The default is the setting MAX_RANGE_DAYS.
    """
    if max_days is None:
        max_days = settings.MAX_RANGE_DAYS
    if not max_days or end - start <= timedelta(days=max_days):
        return ""
    return f"Must be at most {max_days} days after the start."
