"""Stored locations: one row per person and time, partitioned by month.

The table, its partitions and its indexes are SQL (migration 0001). Reasons:
docs/decisions/0001-locations-table.md.
"""

from django.contrib.gis.geos import Point
from django.db import models


class Location(models.Model):
    """A stored ping, identified by its person and time. It has no other id."""

    pk = models.CompositePrimaryKey("person_id", "creation_time")
    person_id = models.BigIntegerField()
    creation_time = models.DateTimeField()
    latitude = models.FloatField(help_text="WGS84 degrees, as sent.")
    longitude = models.FloatField(help_text="WGS84 degrees, as sent.")
    accuracy = models.FloatField(help_text="The radius of the fix in metres.", null=True)

    class Meta:
        ordering = ["creation_time", "person_id"]

    def __str__(self) -> str:
        return f"person {self.person_id} at {self.creation_time:%Y-%m-%d %H:%M:%S}"

    @property
    def position(self) -> Point:
        return Point(self.longitude, self.latitude, srid=4326)
