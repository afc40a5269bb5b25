"""Adds `findable`. It is true for existing people and for people made by older code."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("persons", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="person",
            name="findable",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="If off, all answers about others leave this person out, at once. Pings are still stored.",
                verbose_name="may be found",
            ),
        ),
        migrations.AddIndex(
            model_name="person",
            index=models.Index(condition=models.Q(("findable", False)), fields=["id"], name="person_hidden"),
        ),
        # Without statistics the planner does not know that hidden people are rare, and scans the whole table.
        migrations.RunSQL("ANALYZE persons_person", migrations.RunSQL.noop),
    ]
