"""Adds the number of people, the range and the outcome to the audit log; lets service tokens never expire.

Processes of the version before still work: they leave the new columns empty.
"""

from datetime import UTC, datetime

from django.db import migrations, models

NEVER = datetime(9999, 12, 31, tzinfo=UTC)

FORGET = """
CREATE OR REPLACE FUNCTION access_forget_persons() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM django_admin_log AS log USING gone, access_signincode AS code, django_content_type AS kind
     WHERE code.person_id = gone.id
       AND log.object_id = code.id AND log.content_type_id = kind.id
       AND (kind.app_label, kind.model) = ('access', 'signincode');
    DELETE FROM access_signincode AS code USING gone WHERE code.person_id = gone.id;
    DELETE FROM django_admin_log AS log USING gone, access_token AS token, django_content_type AS kind
     WHERE first_person_id = gone.id AND last_person_id = gone.id
       AND log.object_id = token.id AND log.content_type_id = kind.id
       AND (kind.app_label, kind.model) = ('access', 'token');
    DELETE FROM access_token USING gone WHERE first_person_id = gone.id AND last_person_id = gone.id;
    UPDATE access_question SET person_id = NULL FROM gone WHERE person_id = gone.id;
    UPDATE access_question SET first_person_id = NULL FROM gone
     WHERE first_person_id = gone.id AND people > 500;
    UPDATE access_question SET last_person_id = NULL FROM gone
     WHERE last_person_id = gone.id AND people > 500;
    RETURN NULL;
END $$;
"""
BEFORE = """
CREATE OR REPLACE FUNCTION access_forget_persons() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM django_admin_log AS log USING gone, access_signincode AS code, django_content_type AS kind
     WHERE code.person_id = gone.id
       AND log.object_id = code.id AND log.content_type_id = kind.id
       AND (kind.app_label, kind.model) = ('access', 'signincode');
    DELETE FROM access_signincode AS code USING gone WHERE code.person_id = gone.id;
    DELETE FROM django_admin_log AS log USING gone, access_token AS token, django_content_type AS kind
     WHERE first_person_id = gone.id AND last_person_id = gone.id
       AND log.object_id = token.id AND log.content_type_id = kind.id
       AND (kind.app_label, kind.model) = ('access', 'token');
    DELETE FROM access_token USING gone WHERE first_person_id = gone.id AND last_person_id = gone.id;
    UPDATE access_question SET person_id = NULL FROM gone WHERE person_id = gone.id;
    RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("access", "0003_sign_in_codes")]

    operations = [
        migrations.AddField(
            "question",
            "people",
            models.IntegerField(help_text="The number of people asked about; 0 means everybody.", null=True),
        ),
        migrations.AddField(
            "question", "first_person_id", models.BigIntegerField(null=True, verbose_name="from person")
        ),
        migrations.AddField(
            "question", "last_person_id", models.BigIntegerField(null=True, verbose_name="to person")
        ),
        migrations.AddField("question", "range_start", models.DateTimeField(null=True, verbose_name="from")),
        migrations.AddField("question", "range_end", models.DateTimeField(null=True, verbose_name="to")),
        migrations.AddField(
            "question",
            "outcome",
            models.CharField(db_default="", help_text="The HTTP or gRPC status.", max_length=20),
        ),
        migrations.AddIndex(
            "question",
            models.Index(
                condition=models.Q(("people__gt", 500)),
                fields=["first_person_id", "last_person_id"],
                name="question_people",
            ),
        ),
        migrations.RunSQL(FORGET, BEFORE),
        migrations.AddConstraint(
            "token",
            models.CheckConstraint(
                condition=models.Q(("expiry_date__lt", NEVER))
                | models.Q(("expiry_date", NEVER), ("kind", "service")),
                name="token_expires_unless_configured",
            ),
        ),
    ]
