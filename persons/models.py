"""The table of people. Only persons writes it. A trigger deletes the pings of a deleted person."""

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models.functions import Upper


def findable_by_default() -> bool:
    """The value for a new person, until they or the organiser change it."""
    return settings.FINDABLE_BY_DEFAULT


class Person(models.Model):
    """A person at the event. The id comes from a sequence and is never reused."""

    first_name = models.CharField(max_length=255, help_text="1 to 255 characters after trimming.")
    last_name = models.CharField(max_length=255, help_text="1 to 255 characters after trimming.")
    company_name = models.CharField(max_length=255, help_text="1 to 255 characters after trimming.")
    findable = models.BooleanField(
        "may be found",
        default=findable_by_default,
        db_default=True,
        help_text="If off, all answers about others leave this person out, at once. Pings are still stored.",
    )
    decided_at = models.DateTimeField(
        null=True, editable=False, help_text="When this person last chose whether others may find them."
    )

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "people"
        indexes = [
            # On UPPER(column), because Django's icontains compares that.
            GinIndex(
                OpClass(Upper("first_name"), name="gin_trgm_ops"),
                OpClass(Upper("last_name"), name="gin_trgm_ops"),
                OpClass(Upper("company_name"), name="gin_trgm_ops"),
                name="person_names_trgm",
            ),
            models.Index(fields=["company_name", "id"], name="person_company"),
            # The few people who are not findable: locations.person_rows reads this index with every question.
            models.Index(fields=["id"], name="person_hidden", condition=models.Q(findable=False)),
        ]

    def __str__(self) -> str:
        return f"{self.first_name} {self.last_name}"
