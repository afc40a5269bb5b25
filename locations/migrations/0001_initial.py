"""The locations table: monthly partitions, three B-trees, and a trigger that deletes a deleted person's pings."""

from django.contrib.postgres.operations import CreateExtension
from django.db import migrations, models

from locations import partitions

# Geocentric metres (WGS84): distances work the same everywhere, also at the poles and the antimeridian.
# sind and cosd are exact at whole right angles. A generated column cannot refer to another one.
_NORMAL = "(6378137.0 / sqrt(1 - 0.0066943799901413165 * sind(latitude) * sind(latitude)))"

TABLE = f"""
CREATE TABLE locations_location (
    person_id bigint NOT NULL,
    creation_time timestamptz NOT NULL,
    latitude double precision NOT NULL,
    longitude double precision NOT NULL,
    x double precision NOT NULL GENERATED ALWAYS AS
        ({_NORMAL} * cosd(latitude) * cosd(longitude)) STORED,
    y double precision NOT NULL GENERATED ALWAYS AS
        ({_NORMAL} * cosd(latitude) * sind(longitude)) STORED,
    z double precision NOT NULL GENERATED ALWAYS AS
        ({_NORMAL} * (1 - 0.0066943799901413165) * sind(latitude)) STORED,
    PRIMARY KEY (person_id, creation_time),
    CONSTRAINT locations_latitude CHECK (latitude BETWEEN -90 AND 90),
    CONSTRAINT locations_longitude CHECK (longitude BETWEEN -180 AND 180)
) PARTITION BY RANGE (creation_time);
"""

# The number of the cube that contains a point; the edge is a whole number of metres. Three signed 21-bit
# coordinates in one integer: with an edge of 7 m or more they cover the earth.
CELL = """
CREATE FUNCTION locations_cell(x double precision, y double precision, z double precision, edge_m double precision)
RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ((floor(x / edge_m)::bigint + 1048576) << 42)
         | ((floor(y / edge_m)::bigint + 1048576) << 21)
         |  (floor(z / edge_m)::bigint + 1048576)
$$;
"""

INDEXES = """
CREATE INDEX locations_time ON locations_location (creation_time, person_id);
CREATE INDEX locations_cell_time ON locations_location (locations_cell(x, y, z, 32), creation_time);
"""

# A trigger instead of a foreign key: one DELETE for all deleted persons, in whichever process, and no check
# per inserted row (storage.record locks the persons itself).
FORGET = """
CREATE FUNCTION locations_forget_persons() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM locations_location USING gone WHERE person_id = gone.id;
    RETURN NULL;
END $$;
CREATE TRIGGER locations_forget_persons AFTER DELETE ON persons_person
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION locations_forget_persons();
"""

UNDO = """
DROP TRIGGER locations_forget_persons ON persons_person;
DROP FUNCTION locations_forget_persons();
DROP TABLE locations_location;
DROP FUNCTION locations_cell(double precision, double precision, double precision, double precision);
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [("persons", "0001_initial")]

    operations = [
        CreateExtension("postgis"),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL([TABLE, CELL, INDEXES, *partitions.PARTITIONS.open_ended_sql, FORGET], UNDO)
            ],
            state_operations=[
                migrations.CreateModel(
                    name="Location",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "person_id",
                                "creation_time",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("person_id", models.BigIntegerField()),
                        ("creation_time", models.DateTimeField()),
                        ("latitude", models.FloatField(help_text="WGS84 degrees, as sent.")),
                        ("longitude", models.FloatField(help_text="WGS84 degrees, as sent.")),
                    ],
                    options={"ordering": ["creation_time", "person_id"]},
                )
            ],
        ),
    ]
