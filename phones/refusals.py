"""The `local:` implementation of the phones seam: counts refused points in the database."""

from collections.abc import Mapping

from django.db import connection

MAX_REASON = 200

# A person is locked against deletion until the commit, so no row outlives them. Rows are locked in one order,
# so two processes cannot wait for each other.
_COUNT = """
WITH given AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(reasons)s::text[], %(counts)s::bigint[])
        AS given (person_id, reason, points)
), known AS (
    SELECT id FROM persons_person WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id FOR KEY SHARE
)
INSERT INTO phones_refusedpoints AS stored (day, app, person_id, reason, count, last_at)
SELECT (now() AT TIME ZONE 'UTC')::date, %(app)s, known.id, reason, sum(points), now()
  FROM given LEFT JOIN known ON known.id = given.person_id
 GROUP BY known.id, reason ORDER BY known.id, reason
    ON CONFLICT (person_id, day, app, reason)
    DO UPDATE SET count = stored.count + excluded.count, last_at = excluded.last_at
"""


def count(app: str, refused: Mapping[tuple[int | None, str], int]) -> None:
    """Adds the numbers of refused points, by person and reason, to the counts of today (UTC)."""
    rows = [(person_id, reason[:MAX_REASON], number) for (person_id, reason), number in refused.items()]
    ids, reasons, counts = map(list, zip(*rows, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, {"app": app, "ids": ids, "reasons": reasons, "counts": counts})
