"""Where people were, as it is stored: one row per person and time, partitioned by month.

The table, its partitions and its indexes are SQL (migration 0001); docs/decisions/0001-locations-table.md
says why they are as they are.
"""

from django.contrib.gis.geos import Point
from django.db import models


class Location(models.Model):
    """A stored ping. What identifies it is the person and the time; nothing is minted."""

    pk = models.CompositePrimaryKey("person_id", "creation_time")
    person_id = models.BigIntegerField()
    creation_time = models.DateTimeField()
    latitude = models.FloatField(help_text="WGS84 degrees, as sent.")
    longitude = models.FloatField(help_text="WGS84 degrees, as sent.")

    class Meta:
        ordering = ["creation_time", "person_id"]

    def __str__(self) -> str:
        return f"person {self.person_id} at {self.creation_time:%Y-%m-%d %H:%M:%S}"

    @property
    def position(self) -> Point:
        return Point(self.longitude, self.latitude, srid=4326)
