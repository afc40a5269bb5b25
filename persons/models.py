"""People, as they are stored. Written by persons only; a trigger lets their pings go with them."""

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models.functions import Upper


def findable_by_default() -> bool:
    """For a new person, until they or the organiser say otherwise."""
    return settings.FINDABLE_BY_DEFAULT


class Person(models.Model):
    """Someone at the event. The id comes from a sequence and is never given again."""

    first_name = models.CharField(max_length=255, help_text="1 to 255 characters after trimming.")
    last_name = models.CharField(max_length=255, help_text="1 to 255 characters after trimming.")
    company_name = models.CharField(max_length=255, help_text="1 to 255 characters after trimming.")
    findable = models.BooleanField(
        "may be found",
        default=findable_by_default,
        db_default=True,
        help_text="Off: in no answer about others any more, at once. Pings are still stored.",
    )
    decided_at = models.DateTimeField(
        null=True, editable=False, help_text="When this person last chose whether others may find them."
    )

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "people"
        indexes = [
            # Django's icontains compares UPPER(column), so that is what the trigrams are of.
            GinIndex(
                OpClass(Upper("first_name"), name="gin_trgm_ops"),
                OpClass(Upper("last_name"), name="gin_trgm_ops"),
                OpClass(Upper("company_name"), name="gin_trgm_ops"),
                name="person_names_trgm",
            ),
            models.Index(fields=["company_name", "id"], name="person_company"),
            # Those few who are left out of answers: locations.person_rows reads it with every question.
            models.Index(fields=["id"], name="person_hidden", condition=models.Q(findable=False)),
        ]

    def __str__(self) -> str:
        return f"{self.first_name} {self.last_name}"
