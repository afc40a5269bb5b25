"""Set-aside pings, and a trigger that lets a person's go with it."""

from django.db import migrations, models

# As locations does it: whichever process deletes the person, in its transaction, and without a foreign key,
# because a rejected ping is often one of nobody.
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
                ("person_id", models.BigIntegerField(help_text="Where it could be read.", null=True)),
                ("key", models.BinaryField(null=True)),
                ("value", models.BinaryField(null=True)),
                ("partition", models.IntegerField()),
                ("offset", models.BigIntegerField()),
                (
                    "sent_ms",
                    models.BigIntegerField(
                        help_text="As the message says: milliseconds since 1970.", verbose_name="sent"
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
