"""Adds the accuracy of a ping. Old processes still work: they name their columns, so theirs stays NULL.

It reads and rewrites no rows: the column has no default, and the constraint is checked for new rows only. (All
others have NULL, which it allows.) It needs an exclusive lock on the table. While it waits for the lock, all
other statements wait behind it: hence many short tries.
"""

from django.db import migrations, models

from locations import partitions

ADD = (
    "ALTER TABLE locations_location ADD COLUMN accuracy double precision, "
    "ADD CONSTRAINT locations_accuracy CHECK (accuracy > 0 AND accuracy <= 100000) NOT VALID"
)
DROP = "ALTER TABLE locations_location DROP COLUMN accuracy"  # and the constraint with it
TRIES = 750  # five minutes


def add(*_: object) -> None:
    partitions.execute_with_retries(ADD, tries=TRIES)


def drop(*_: object) -> None:
    partitions.execute_with_retries(DROP, tries=TRIES)


class Migration(migrations.Migration):
    dependencies = [("locations", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(add, drop)],
            state_operations=[
                migrations.AddField(
                    "location",
                    "accuracy",
                    models.FloatField(help_text="The radius of the fix in metres.", null=True),
                )
            ],
        )
    ]
