"""Refused points of phones, as counts: the points themselves are not kept."""

from django.db import models


class RefusedPoints(models.Model):
    """The number of refused points of one person's phone on a day (UTC), by app and reason.

    `person_id` is NULL for people that do not exist. The rows of a person are deleted with them.
    """

    day = models.DateField("day (UTC)")
    app = models.CharField(max_length=20)
    person_id = models.BigIntegerField(null=True, help_text="Empty: there is no such person.")
    reason = models.CharField(max_length=200)
    count = models.BigIntegerField("points")
    last_at = models.DateTimeField("last at (UTC)")

    class Meta:
        ordering = ["-last_at", "-id"]
        verbose_name = verbose_name_plural = "refused points"
        indexes = [models.Index(fields=["-last_at"], name="refused_last")]
        constraints = [
            models.UniqueConstraint(
                fields=["person_id", "day", "app", "reason"], name="refused_once", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return f"{self.app}, {self.day}: {self.reason}"
