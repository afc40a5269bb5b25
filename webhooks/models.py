"""Webhooks, and what was or will be delivered to them."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

MAX_URL = 2_000  # characters


class Webhook(models.Model):
    """An address that is told about encounters. A filter that is null lets everything through.

    The deliveries of a webhook go out one after another, so the time of the next attempt is the webhook's.
    """

    url = models.CharField(max_length=MAX_URL)
    events = ArrayField(models.CharField(max_length=30))
    person_id = models.BigIntegerField(null=True, help_text="Only encounters of this person.")
    company = models.CharField(  # noqa: DJ001 - as in the API, where null is no filter
        max_length=255,
        null=True,
        help_text="Only encounters of which at least one person is of this company.",
    )
    min_duration_s = models.FloatField(
        null=True, help_text="Only encounters that lasted at least so many seconds, once they have ended."
    )
    secret = models.CharField(max_length=100)
    created = models.DateTimeField()
    active = models.BooleanField(default=True)
    failures = models.IntegerField(default=0, help_text="Failed attempts since the last success.")
    next_attempt = models.DateTimeField(help_text="The earliest time of the next attempt.")

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(
                fields=["person_id"], name="webhook_person", condition=models.Q(person_id__isnull=False)
            )
        ]

    def __str__(self) -> str:
        return f"webhook {self.pk}: {self.url}"


class State(models.TextChoices):
    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given up"


class Delivery(models.Model):
    """One message to one webhook, identified by `message_id` (webhooks/messages.py).

    `content` is the encounter without the names of its people, which are fetched at each attempt; null once
    it is delivered. A trigger deletes the deliveries about a deleted person (migration 0001).
    """

    webhook = models.ForeignKey(Webhook, models.CASCADE, db_index=False)  # delivery_next serves it
    message_id = models.CharField(max_length=40, unique=True)
    event = models.CharField(max_length=30)
    person_a_id = models.BigIntegerField(help_text="The smaller id.")
    person_b_id = models.BigIntegerField(help_text="The larger id.")
    content = models.JSONField(null=True)
    occurred = models.DateTimeField(help_text="When the encounter was found to have started or ended.")
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    attempts = models.IntegerField(default=0)
    give_up_at = models.DateTimeField()
    last_status = models.IntegerField(null=True, help_text="The HTTP status of the last attempt.")
    last_reason = models.CharField(max_length=300, default="", blank=True)
    finished = models.DateTimeField(null=True, help_text="When it was delivered or given up.")

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "deliveries"
        indexes = [
            models.Index(fields=["webhook", "state", "id"], name="delivery_next"),
            models.Index(fields=["person_a_id"], name="delivery_person_a"),
            models.Index(fields=["person_b_id"], name="delivery_person_b"),
        ]

    def __str__(self) -> str:
        return f"{self.event} to webhook {self.webhook_id}"
