"""Creates the counts of refused points, and the trigger that deletes those of a deleted person."""

from django.db import migrations, models

FORGET = """
CREATE FUNCTION phones_forget_persons() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM phones_refusedpoints USING gone WHERE person_id = gone.id;
    RETURN NULL;
END $$;
CREATE TRIGGER phones_forget_persons AFTER DELETE ON persons_person
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION phones_forget_persons();
"""

UNDO = """
DROP TRIGGER phones_forget_persons ON persons_person;
DROP FUNCTION phones_forget_persons();
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [("persons", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="RefusedPoints",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("day", models.DateField(verbose_name="day (UTC)")),
                ("app", models.CharField(max_length=20)),
                ("person_id", models.BigIntegerField(help_text="Empty: there is no such person.", null=True)),
                ("reason", models.CharField(max_length=200)),
                ("count", models.BigIntegerField(verbose_name="points")),
                ("last_at", models.DateTimeField(verbose_name="last at (UTC)")),
            ],
            options={
                "verbose_name": "refused points",
                "verbose_name_plural": "refused points",
                "ordering": ["-last_at", "-id"],
                "indexes": [models.Index(fields=["-last_at"], name="refused_last")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("person_id", "day", "app", "reason"),
                        name="refused_once",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        migrations.RunSQL(FORGET, UNDO),
    ]
