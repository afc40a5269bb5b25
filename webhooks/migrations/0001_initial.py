"""Creates the webhooks and their deliveries, and the trigger that deletes those of a deleted person."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

# The webhooks are locked first, as by everything that changes many deliveries: webhooks/storage.py.
FORGET = """
CREATE FUNCTION webhooks_forget_persons() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM webhooks_webhook ORDER BY id FOR UPDATE;
    DELETE FROM webhooks_delivery USING gone WHERE person_a_id = gone.id;
    DELETE FROM webhooks_delivery USING gone WHERE person_b_id = gone.id;
    DELETE FROM webhooks_delivery USING webhooks_webhook AS webhook, gone
     WHERE webhook_id = webhook.id AND webhook.person_id = gone.id;
    DELETE FROM webhooks_webhook USING gone WHERE person_id = gone.id;
    RETURN NULL;
END $$;
CREATE TRIGGER webhooks_forget_persons AFTER DELETE ON persons_person
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION webhooks_forget_persons();
"""

UNDO = """
DROP TRIGGER webhooks_forget_persons ON persons_person;
DROP FUNCTION webhooks_forget_persons();
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [("persons", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Webhook",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("url", models.CharField(max_length=2000)),
                (
                    "events",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=30), size=None
                    ),
                ),
                ("person_id", models.BigIntegerField(help_text="Only encounters of this person.", null=True)),
                (
                    "company",
                    models.CharField(
                        help_text="Only encounters of which at least one person is of this company.",
                        max_length=255,
                        null=True,
                    ),
                ),
                (
                    "min_duration_s",
                    models.FloatField(
                        help_text="Only encounters that lasted at least so many seconds, once they have ended.",
                        null=True,
                    ),
                ),
                ("secret", models.CharField(max_length=100)),
                ("created", models.DateTimeField()),
                ("active", models.BooleanField(default=True)),
                (
                    "failures",
                    models.IntegerField(default=0, help_text="Failed attempts since the last success."),
                ),
                ("next_attempt", models.DateTimeField(help_text="The earliest time of the next attempt.")),
            ],
            options={
                "ordering": ["id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("person_id__isnull", False)),
                        fields=["person_id"],
                        name="webhook_person",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("message_id", models.CharField(max_length=40, unique=True)),
                ("event", models.CharField(max_length=30)),
                ("person_a_id", models.BigIntegerField(help_text="The smaller id.")),
                ("person_b_id", models.BigIntegerField(help_text="The larger id.")),
                ("content", models.JSONField(null=True)),
                (
                    "occurred",
                    models.DateTimeField(help_text="When the encounter was found to have started or ended."),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("delivered", "Delivered"),
                            ("given up", "Given Up"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("attempts", models.IntegerField(default=0)),
                ("give_up_at", models.DateTimeField()),
                (
                    "last_status",
                    models.IntegerField(help_text="The HTTP status of the last attempt.", null=True),
                ),
                ("last_reason", models.CharField(blank=True, default="", max_length=300)),
                ("finished", models.DateTimeField(help_text="When it was delivered or given up.", null=True)),
                (
                    "webhook",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, to="webhooks.webhook"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "ordering": ["id"],
                "indexes": [
                    models.Index(fields=["webhook", "state", "id"], name="delivery_next"),
                    models.Index(fields=["person_a_id"], name="delivery_person_a"),
                    models.Index(fields=["person_b_id"], name="delivery_person_b"),
                ],
            },
        ),
        migrations.RunSQL(FORGET, UNDO),
    ]
