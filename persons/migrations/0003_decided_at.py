"""Adds `decided_at`. It is empty for existing people and for people made by older code."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("persons", "0002_consent"),
    ]

    operations = [
        migrations.AddField(
            model_name="person",
            name="decided_at",
            field=models.DateTimeField(
                editable=False,
                help_text="When this person last chose whether others may find them.",
                null=True,
            ),
        ),
    ]
