"""The encounters table: monthly partitions, three B-trees, and a trigger that deletes a deleted person's rows."""

from django.db import migrations, models

from encounters.partitions import PARTITIONS

# The primary key serves ranges of time and pages of them. It includes the end, so that sums of durations read it
# alone: four times as fast as from the table.
TABLE = """
CREATE TABLE encounters_encounter (
    start timestamptz NOT NULL,
    person_a_id bigint NOT NULL,
    person_b_id bigint NOT NULL,
    "end" timestamptz NOT NULL,
    last_pair timestamptz NOT NULL,
    pings_a integer NOT NULL,
    pings_b integer NOT NULL,
    min_distance_m double precision NOT NULL,
    latitude_a double precision NOT NULL,
    longitude_a double precision NOT NULL,
    latitude_b double precision NOT NULL,
    longitude_b double precision NOT NULL,
    ongoing boolean NOT NULL,
    PRIMARY KEY (start, person_a_id, person_b_id) INCLUDE ("end"),
    CONSTRAINT encounters_order CHECK (person_a_id < person_b_id AND start <= "end")
) PARTITION BY RANGE (start);
"""

# Whom a person met, when and how long; a cascade reads them alone.
INDEXES = """
CREATE INDEX encounters_person_a ON encounters_encounter (person_a_id, start, person_b_id) INCLUDE ("end");
CREATE INDEX encounters_person_b ON encounters_encounter (person_b_id, start, person_a_id) INCLUDE ("end");
CREATE INDEX encounters_ongoing ON encounters_encounter (last_pair) WHERE ongoing;
"""

# A trigger instead of foreign keys, as for locations: one DELETE for all deleted persons, and no check per
# inserted row (storage.save locks the persons itself). Pings are at most three days old when they come, and
# the topic keeps messages for a day: hence the five days.
FORGET = """
-- Pairs that the topic of encounters may still contain: the finder sends tombstones and empties the table.
-- Where no finder runs, the next deletion after two days empties it.
CREATE TABLE encounters_forgotten (
    person_a_id bigint NOT NULL,
    person_b_id bigint NOT NULL,
    deleted timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (person_a_id, person_b_id)
);
CREATE FUNCTION encounters_forget_persons() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM encounters_forgotten WHERE deleted < now() - interval '2 days';
    INSERT INTO encounters_forgotten
    SELECT DISTINCT person_a_id, person_b_id FROM encounters_encounter, gone
     WHERE person_a_id = gone.id AND start > now() - interval '5 days'
    UNION
    SELECT DISTINCT person_a_id, person_b_id FROM encounters_encounter, gone
     WHERE person_b_id = gone.id AND start > now() - interval '5 days'
        ON CONFLICT DO NOTHING;
    DELETE FROM encounters_encounter USING gone WHERE person_a_id = gone.id;
    DELETE FROM encounters_encounter USING gone WHERE person_b_id = gone.id;
    RETURN NULL;
END $$;
CREATE TRIGGER encounters_forget_persons AFTER DELETE ON persons_person
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION encounters_forget_persons();
"""

UNDO = """
DROP TRIGGER encounters_forget_persons ON persons_person;
DROP FUNCTION encounters_forget_persons();
DROP TABLE encounters_forgotten;
DROP TABLE encounters_encounter;
"""

_A, _B = (
    "WGS84 degrees, of a's ping that is nearest to b.",
    "WGS84 degrees, of b's ping that is nearest to a.",
)


class Migration(migrations.Migration):
    initial = True

    dependencies = [("persons", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL([TABLE, INDEXES, *PARTITIONS.open_ended_sql, FORGET], UNDO)
            ],
            state_operations=[
                migrations.CreateModel(
                    name="Encounter",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "start",
                                "person_a_id",
                                "person_b_id",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("start", models.DateTimeField()),
                        ("person_a_id", models.BigIntegerField(help_text="The smaller id.")),
                        ("person_b_id", models.BigIntegerField(help_text="The larger id.")),
                        ("end", models.DateTimeField()),
                        (
                            "last_pair",
                            models.DateTimeField(
                                help_text="The time of the last pair: the encounter goes on if another follows within max_gap."
                            ),
                        ),
                        (
                            "pings_a",
                            models.IntegerField(
                                help_text="Distinct pings of the person with the smaller id."
                            ),
                        ),
                        (
                            "pings_b",
                            models.IntegerField(help_text="Distinct pings of the person with the larger id."),
                        ),
                        ("min_distance_m", models.FloatField(help_text="Metres, rounded to 2 decimals.")),
                        ("latitude_a", models.FloatField(help_text=_A)),
                        ("longitude_a", models.FloatField()),
                        ("latitude_b", models.FloatField(help_text=_B)),
                        ("longitude_b", models.FloatField()),
                        (
                            "ongoing",
                            models.BooleanField(
                                help_text="Another pair may still follow: the row may change."
                            ),
                        ),
                    ],
                    options={"ordering": ["start", "person_a_id", "person_b_id"]},
                )
            ],
        ),
    ]
