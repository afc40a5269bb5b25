"""Whether others may find a person; everybody who is there already may be, and so may who is made by older code."""

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
                help_text="Off: in no answer about others any more, at once. Pings are still stored.",
                verbose_name="may be found",
            ),
        ),
        migrations.AddIndex(
            model_name="person",
            index=models.Index(condition=models.Q(("findable", False)), fields=["id"], name="person_hidden"),
        ),
        # Until the planner knows that next to nobody is hidden it would look for them among everybody.
        migrations.RunSQL("ANALYZE persons_person", migrations.RunSQL.noop),
    ]
