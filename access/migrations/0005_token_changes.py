"""Counts changes of tokens, so that one question tells a process whether all its cached tokens still hold.

The count changes at the end of the transaction that changes a token. Recording the day of the last use does
not count.
"""

from django.db import migrations

COUNT = """
CREATE TABLE access_token_changes (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    number bigint NOT NULL DEFAULT 0
);
INSERT INTO access_token_changes DEFAULT VALUES;
CREATE FUNCTION access_count_token_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE access_token_changes SET number = number + 1;
    RETURN NULL;
END $$;
-- Deferred: the row of the count is locked only at the end of a transaction, so that two deletions of many
-- persons cannot deadlock.
CREATE CONSTRAINT TRIGGER access_count_token_change
AFTER UPDATE OF hashed_key, revoked, expiry_date, kind, first_person_id, last_person_id, user_id OR DELETE
ON access_token DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION access_count_token_change();
"""

UNDO = """
DROP TRIGGER access_count_token_change ON access_token;
DROP FUNCTION access_count_token_change();
DROP TABLE access_token_changes;
"""


class Migration(migrations.Migration):
    dependencies = [("access", "0004_question_people_and_outcome")]
    operations = [migrations.RunSQL(COUNT, UNDO)]
