"""Creates the event and the zones."""

import django.contrib.gis.db.models.fields
import django.contrib.postgres.fields
from django.db import migrations, models

import venue.models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Event",
            fields=[
                (
                    "id",
                    models.SmallIntegerField(default=1, editable=False, primary_key=True, serialize=False),
                ),
                ("name", models.CharField(max_length=255)),
                (
                    "time_zone",
                    models.CharField(
                        default="UTC",
                        help_text="An IANA time zone, such as Europe/Berlin. The app shows times and days in it.",
                        max_length=64,
                        validators=[venue.models.validate_time_zone],
                    ),
                ),
                ("first_day", models.DateField(help_text="In the time zone of the event.")),
                (
                    "last_day",
                    models.DateField(help_text="In the time zone of the event; not before the first day."),
                ),
                (
                    "bounds",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.FloatField(),
                        blank=True,
                        help_text="What maps show first: west, south, east, north. Empty: the extent of the zones.",
                        null=True,
                        size=4,
                        validators=[venue.models.validate_bounds],
                    ),
                ),
                ("is_simulated", models.BooleanField(default=False, editable=False)),
            ],
            options={
                "verbose_name_plural": "event",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("id", 1)), name="venue_one_event"),
                    models.CheckConstraint(
                        condition=models.Q(("first_day__lte", models.F("last_day"))),
                        name="venue_days_in_order",
                        violation_error_message="The first day must not be after the last day.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Zone",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=255)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("hall", "Hall"),
                            ("stage", "Stage"),
                            ("booth", "Booth"),
                            ("food", "Food"),
                            ("entrance", "Entrance"),
                            ("other", "Other"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "company",
                    models.CharField(
                        blank=True, help_text="The company of a booth; may be empty.", max_length=255
                    ),
                ),
                ("area", django.contrib.gis.db.models.fields.PolygonField(srid=4326)),
            ],
            options={
                "ordering": ["id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("kind__in", ["hall", "stage", "booth", "food", "entrance", "other"])
                        ),
                        name="venue_zone_kind",
                    )
                ],
            },
        ),
    ]
