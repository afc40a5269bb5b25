"""Stored encounters: each pair of people once per encounter, partitioned by the month of its start.

The table, its partitions and its indexes are SQL (migration 0001).
"""

from django.db import models


class Encounter(models.Model):
    """An uninterrupted time together of two people, found with the default parameters of locations/limits.py.

    `a` is the person with the smaller id, `b` the other one. What `/api/persons/{a}/encounters` answers has
    b's pings (`pings_b`) and a's position (`latitude_a`, `longitude_a`); b's answer has the opposite.
    People who are not findable are stored, too: a reader leaves them out.

    A pair has at most one encounter with a given start, because max_gap is at least within.
    """

    pk = models.CompositePrimaryKey("start", "person_a_id", "person_b_id")
    start = models.DateTimeField()
    person_a_id = models.BigIntegerField(help_text="The smaller id.")
    person_b_id = models.BigIntegerField(help_text="The larger id.")
    end = models.DateTimeField()
    last_pair = models.DateTimeField(
        help_text="The time of the last pair: the encounter goes on if another follows within max_gap."
    )
    pings_a = models.IntegerField(help_text="Distinct pings of the person with the smaller id.")
    pings_b = models.IntegerField(help_text="Distinct pings of the person with the larger id.")
    min_distance_m = models.FloatField(help_text="Metres, rounded to 2 decimals.")
    latitude_a = models.FloatField(help_text="WGS84 degrees, of a's ping that is nearest to b.")
    longitude_a = models.FloatField()
    latitude_b = models.FloatField(help_text="WGS84 degrees, of b's ping that is nearest to a.")
    longitude_b = models.FloatField()
    ongoing = models.BooleanField(help_text="Another pair may still follow: the row may change.")

    class Meta:
        ordering = ["start", "person_a_id", "person_b_id"]

    def __str__(self) -> str:
        return f"persons {self.person_a_id} and {self.person_b_id} from {self.start:%Y-%m-%d %H:%M:%S}"
