"""Creates the table of erasure receipts, and the trigger that writes them."""

from django.db import migrations, models

# Triggers of one kind fire in the order of their names, so this one counts the rows before the others delete
# them. It also deletes the person's entries in the admin log, because they have the name.
ACCOUNT = """
CREATE FUNCTION privacy_account_for_the_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO privacy_erasurereceipt (person_id, erased_at, pings, rejected_pings, tokens)
    SELECT id, now(),
           (SELECT count(*) FROM locations_location WHERE person_id = gone.id),
           (SELECT count(*) FROM rejected_pings WHERE person_id = gone.id),
           (SELECT count(*) FROM access_token WHERE first_person_id = gone.id AND last_person_id = gone.id)
      FROM gone ORDER BY id;
    DELETE FROM django_admin_log AS log USING gone, django_content_type AS kind
     WHERE log.object_id = gone.id::text AND log.content_type_id = kind.id
       AND (kind.app_label, kind.model) = ('persons', 'person');
    RETURN NULL;
END $$;
CREATE TRIGGER a_receipt_for_the_erased AFTER DELETE ON persons_person
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION privacy_account_for_the_erased();
"""

UNDO = """
DROP TRIGGER a_receipt_for_the_erased ON persons_person;
DROP FUNCTION privacy_account_for_the_erased();
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("access", "0001_initial"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("persons", "0001_initial"),
        ("locations", "0001_initial"),
        ("consumers", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="ErasureReceipt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("person_id", models.BigIntegerField()),
                ("erased_at", models.DateTimeField()),
                ("pings", models.BigIntegerField(verbose_name="stored pings")),
                ("rejected_pings", models.BigIntegerField()),
                ("tokens", models.BigIntegerField()),
                (
                    "topic_ends",
                    models.JSONField(
                        help_text="The topic's end offset per partition, at the first check after the deletion.",
                        null=True,
                    ),
                ),
                (
                    "passed_at",
                    models.DateTimeField(
                        help_text="The time of the first check at which the writers had passed these offsets.",
                        null=True,
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["person_id"], name="receipt_person"),
                    models.Index(fields=["id"], name="receipt_open", condition=models.Q(passed_at=None)),
                ],
            },
        ),
        migrations.RunSQL(ACCOUNT, UNDO),
    ]
