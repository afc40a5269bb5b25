"""Rejected pings, and a trigger that deletes a person's rejected pings with the person."""

from django.db import migrations, models

# As in locations: it works for every process that deletes a person, within that transaction. A foreign key is
# not possible, because rejected pings often have the id of no person.
FORGET = """
CREATE FUNCTION consumers_forget_persons() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM rejected_pings USING gone WHERE person_id = gone.id;
    RETURN NULL;
END $$;
CREATE TRIGGER consumers_forget_persons AFTER DELETE ON persons_person
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION consumers_forget_persons();
"""

UNDO = """
DROP TRIGGER consumers_forget_persons ON persons_person;
DROP FUNCTION consumers_forget_persons();
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [("persons", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="RejectedPing",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("reason", models.TextField()),
                (
                    "person_id",
                    models.BigIntegerField(help_text="Empty if the message has no readable id.", null=True),
                ),
                ("key", models.BinaryField(null=True)),
                ("value", models.BinaryField(null=True)),
                ("partition", models.IntegerField()),
                ("offset", models.BigIntegerField()),
                (
                    "sent_ms",
                    models.BigIntegerField(
                        help_text="The message's timestamp, in milliseconds since 1970.", verbose_name="sent"
                    ),
                ),
                ("rejected_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "rejected ping",
                "db_table": "rejected_pings",
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["person_id"], name="rejected_person")],
                "constraints": [
                    models.UniqueConstraint(fields=("partition", "offset", "sent_ms"), name="rejected_once")
                ],
            },
        ),
        migrations.RunSQL(FORGET, UNDO),
    ]
