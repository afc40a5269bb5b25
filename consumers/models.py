"""What the writer could not store, kept as it came: until it is recorded after all, or its person deleted."""

from datetime import UTC, datetime, timedelta

from django.db import models

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RejectedPing(models.Model):
    """A message of the topic, and why it was set aside.

    Partition and offset say where it stood, and with the time of sending that it is the same one when it is
    delivered again: a topic that was deleted and made anew counts its offsets from 0.
    """

    reason = models.TextField()
    person_id = models.BigIntegerField(null=True, help_text="Where it could be read.")
    key = models.BinaryField(null=True)
    value = models.BinaryField(null=True)
    partition = models.IntegerField()
    offset = models.BigIntegerField()
    sent_ms = models.BigIntegerField("sent", help_text="As the message says: milliseconds since 1970.")
    rejected_at = models.DateTimeField()

    class Meta:
        db_table = "rejected_pings"
        ordering = ["-id"]
        verbose_name = "rejected ping"
        indexes = [models.Index(fields=["person_id"], name="rejected_person")]
        constraints = [
            models.UniqueConstraint(fields=["partition", "offset", "sent_ms"], name="rejected_once"),
        ]

    def __str__(self) -> str:
        return f"message {self.offset} of partition {self.partition}"

    @property
    def sent(self) -> datetime | None:
        """None for a time that there is not: whoever sends a message can write into it what they like."""
        try:
            return _EPOCH + timedelta(milliseconds=self.sent_ms)
        except OverflowError:
            return None
