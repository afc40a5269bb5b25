"""What is kept of somebody who was erased: that it was done, and how much went with them."""

from typing import Any

from django.db import models


class ErasureReceipt(models.Model):
    """One person, erased. A trigger writes it, in the transaction of the deletion, whoever deletes.

    Of the person it has nothing but the id, so that whoever asked for it can be told that it was done. An id
    can stand in several: an import that is told to may bring somebody back.
    """

    person_id = models.BigIntegerField()
    erased_at = models.DateTimeField()
    pings = models.BigIntegerField("stored pings")
    rejected_pings = models.BigIntegerField()
    tokens = models.BigIntegerField()
    topic_ends = models.JSONField(
        null=True,
        help_text="By partition, where the topic ended when it was first looked at after the deletion.",
    )
    passed_at = models.DateTimeField(
        null=True, help_text="When the writers were first seen to have passed these ends."
    )

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["person_id"], name="receipt_person"),
            models.Index(fields=["id"], name="receipt_open", condition=models.Q(passed_at=None)),
        ]

    def __str__(self) -> str:
        return f"erasure of person {self.person_id}"

    def as_json(self) -> dict[str, Any]:
        return {
            "person_id": self.person_id,
            "erased_at": self.erased_at,
            "pings": self.pings,
            "rejected_pings": self.rejected_pings,
            "tokens": self.tokens,
            "topic_ends": self.topic_ends,
            "passed_at": self.passed_at,
        }
