"""Deletes a person's tokens with the person, and removes the person's id from the audit log.

Tokens for the devices of an event, which have a range of ids, are kept.
"""

from django.db import migrations

FORGET = """
CREATE FUNCTION access_forget_persons() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM django_admin_log AS log USING gone, access_token AS token, django_content_type AS kind
     WHERE first_person_id = gone.id AND last_person_id = gone.id
       AND log.object_id = token.id AND log.content_type_id = kind.id
       AND (kind.app_label, kind.model) = ('access', 'token');
    DELETE FROM access_token USING gone WHERE first_person_id = gone.id AND last_person_id = gone.id;
    UPDATE access_question SET person_id = NULL FROM gone WHERE person_id = gone.id;
    RETURN NULL;
END $$;
CREATE TRIGGER access_forget_persons AFTER DELETE ON persons_person
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION access_forget_persons();
"""

UNDO = """
DROP TRIGGER access_forget_persons ON persons_person;
DROP FUNCTION access_forget_persons();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("access", "0001_initial"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("persons", "0001_initial"),
    ]
    operations = [migrations.RunSQL(FORGET, UNDO)]
