"""Adds the one-time codes of sign-in links. They are deleted with their person."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import access.models

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
    RETURN NULL;
END $$;
"""

UNDO = """
CREATE OR REPLACE FUNCTION access_forget_persons() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
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
    dependencies = [
        ("access", "0002_forget_persons"),
    ]

    operations = [
        migrations.CreateModel(
            name="SignInCode",
            fields=[
                (
                    "id",
                    models.CharField(
                        editable=False, max_length=150, primary_key=True, serialize=False, unique=True
                    ),
                ),
                ("prefix", models.CharField(editable=False, max_length=8, unique=True)),
                ("hashed_key", models.CharField(editable=False, max_length=150)),
                ("created", models.DateTimeField(auto_now_add=True, db_index=True)),
                (
                    "name",
                    models.CharField(
                        default=None,
                        help_text="A free-form name for the API key. Need not be unique. 50 characters max.",
                        max_length=50,
                    ),
                ),
                (
                    "revoked",
                    models.BooleanField(
                        blank=True,
                        default=False,
                        help_text="If the API key is revoked, clients cannot use it anymore. (This cannot be undone.)",
                    ),
                ),
                (
                    "person_id",
                    models.BigIntegerField(
                        validators=[django.core.validators.MinValueValidator(1)], verbose_name="person"
                    ),
                ),
                (
                    "expiry_date",
                    models.DateTimeField(
                        default=access.models.in_a_month, help_text="UTC.", verbose_name="expires"
                    ),
                ),
                ("used_at", models.DateTimeField(editable=False, null=True, verbose_name="used")),
                (
                    "made_with",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="access.token",
                    ),
                ),
            ],
            options={
                "verbose_name": "sign-in link",
                "verbose_name_plural": "sign-in links",
                "ordering": ("-created",),
                "abstract": False,
                "indexes": [models.Index(fields=["person_id"], name="sign_in_code_person")],
            },
        ),
        migrations.RunSQL(FORGET, UNDO),
    ]
