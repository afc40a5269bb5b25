"""Receipts of erasures."""

from typing import Any

from django.db import models


class ErasureReceipt(models.Model):
    """The erasure of one person. A trigger writes it in the transaction of the deletion.

    It has only the id of the person, as proof of the erasure. An id can have several receipts, because
    `import_persons --restore-erased` can restore a person.
    """

    person_id = models.BigIntegerField()
    erased_at = models.DateTimeField()
    pings = models.BigIntegerField("stored pings")
    rejected_pings = models.BigIntegerField()
    tokens = models.BigIntegerField()
    topic_ends = models.JSONField(
        null=True,
        help_text="The topic's end offset per partition, at the first check after the deletion.",
    )
    passed_at = models.DateTimeField(
        null=True, help_text="The time of the first check at which the writers had passed these offsets."
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
