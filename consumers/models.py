"""Rejected pings: messages that the writer could not store, kept until a replay or the person's deletion."""

from datetime import UTC, datetime, timedelta

from django.db import models

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RejectedPing(models.Model):
    """A rejected message of the topic with the reason.

    Partition, offset and send time identify a message that is delivered again. The send time is part of that
    because a recreated topic counts its offsets from 0.
    """

    reason = models.TextField()
    person_id = models.BigIntegerField(null=True, help_text="Empty if the message has no readable id.")
    key = models.BinaryField(null=True)
    value = models.BinaryField(null=True)
    partition = models.IntegerField()
    offset = models.BigIntegerField()
    sent_ms = models.BigIntegerField("sent", help_text="The message's timestamp, in milliseconds since 1970.")
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
        """None if out of the range of datetime: a producer can send any timestamp."""
        try:
            return _EPOCH + timedelta(milliseconds=self.sent_ms)
        except OverflowError:
            return None
