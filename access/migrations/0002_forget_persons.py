"""A person's tokens go with the person, as its pings do; the range of an event's devices is nobody's own."""

from django.db import migrations

FORGET = """
CREATE FUNCTION access_forget_persons() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM access_token USING gone WHERE first_person_id = gone.id AND last_person_id = gone.id;
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
    dependencies = [("access", "0001_initial"), ("persons", "0001_initial")]
    operations = [migrations.RunSQL(FORGET, UNDO)]
