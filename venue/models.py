"""The event and the zones of its floor plan."""

from django.contrib.gis.db.models import PolygonField
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q

from connect.time_zones import time_zone_error

EVENT_ID = 1


def validate_time_zone(name: str) -> None:
    if error := time_zone_error(name):
        raise ValidationError(error)


def validate_bounds(bounds: list[float]) -> None:
    if len(bounds) != 4:
        raise ValidationError("Must be four numbers: west, south, east, north.")
    west, south, east, north = bounds
    if not (abs(west) <= 180 and abs(east) <= 180 and abs(south) <= 90 and abs(north) <= 90):
        raise ValidationError("Must be west, south, east, north in degrees: -180 to 180 and -90 to 90.")
    if south > north:
        raise ValidationError("The south must not be north of the north.")


class Event(models.Model):
    """The event. The table has at most one row."""

    id = models.SmallIntegerField(primary_key=True, default=EVENT_ID, editable=False)
    name = models.CharField(max_length=255)
    time_zone = models.CharField(
        max_length=64,
        default="UTC",
        validators=[validate_time_zone],
        help_text="An IANA time zone, such as Europe/Berlin. The app shows times and days in it.",
    )
    first_day = models.DateField(help_text="In the time zone of the event.")
    last_day = models.DateField(help_text="In the time zone of the event; not before the first day.")
    bounds = ArrayField(
        models.FloatField(),
        size=4,
        null=True,
        blank=True,
        validators=[validate_bounds],
        help_text="What maps show first: west, south, east, north. Empty: the extent of the zones.",
    )
    is_simulated = models.BooleanField(default=False, editable=False)  # made by `manage.py simulate`

    class Meta:
        verbose_name_plural = "event"
        constraints = [
            models.CheckConstraint(condition=Q(id=EVENT_ID), name="venue_one_event"),
            models.CheckConstraint(
                condition=Q(first_day__lte=F("last_day")),
                name="venue_days_in_order",
                violation_error_message="The first day must not be after the last day.",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Kind(models.TextChoices):
    HALL = "hall"
    STAGE = "stage"
    BOOTH = "booth"
    FOOD = "food"
    ENTRANCE = "entrance"
    OTHER = "other"


class Zone(models.Model):
    """A named area of the venue. Zones may overlap: a booth is inside a hall."""

    name = models.CharField(max_length=255)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    company = models.CharField(max_length=255, blank=True, help_text="The company of a booth; may be empty.")
    area = PolygonField(srid=4326)

    class Meta:
        ordering = ["id"]
        constraints = [models.CheckConstraint(condition=Q(kind__in=Kind.values), name="venue_zone_kind")]

    def __str__(self) -> str:
        return self.name
