"""The SQL statement of encounters.queries.cascade: one generation after another, all in one statement."""

from datetime import datetime, timedelta

from encounters.queries_sql import IN_RANGE, Statement
from locations import person_rows

# The encounters of a person that something can spread in, from both indexes of people.
_MEETINGS = " UNION ALL ".join(
    f'SELECT person_{other}_id AS person_id, start, "end" FROM encounters_encounter '
    f"WHERE person_{own}_id = carrier.person_id AND {IN_RANGE} "
    'AND "end" >= greatest(start, carrier.time) + %(min_duration)s'
    for own, other in ("ab", "ba")
)

_FIRST = f"""
generation_0 AS MATERIALIZED (
    SELECT person_id, %(start)s::timestamptz AS time, '{{}}'::bigint[] AS people,
           '{{}}'::timestamptz[] AS starts, '{{}}'::timestamptz[] AS ends, '{{}}'::timestamptz[] AS times
      FROM (SELECT %(person_id)s::bigint AS person_id) AS source
     WHERE {person_rows.is_findable("person_id")}
),
known_0 AS MATERIALIZED (
    SELECT person_id, time, 0 AS generation, people, starts, ends, times FROM generation_0
)"""


def _next(nth: int) -> str:
    """Those who get it earlier in this generation than in all before, and everybody's earliest time so far.

    Only carriers of the generation before can pass on something new: what others can pass on is known.
    """
    return f"""
generation_{nth} AS MATERIALIZED (
    SELECT found.person_id, found.time, people || found.person_id AS people, starts || start AS starts,
           ends || "end" AS ends, times || found.time AS times
      FROM (
        SELECT DISTINCT ON (reached.person_id) reached.*
          FROM (
            SELECT meeting.person_id, greatest(start, carrier.time) + %(min_duration)s AS time,
                   carrier.person_id AS carrier_id, start, "end"
              FROM generation_{nth - 1} AS carrier CROSS JOIN LATERAL ({_MEETINGS}) AS meeting
             WHERE {person_rows.is_findable("meeting.person_id")}
          ) AS reached LEFT JOIN known_{nth - 1} AS known USING (person_id)
         WHERE known.time IS NULL OR reached.time < known.time
         ORDER BY reached.person_id, reached.time, carrier_id, start
      ) AS found JOIN generation_{nth - 1} AS carrier ON carrier.person_id = carrier_id
),
known_{nth} AS MATERIALIZED (
    SELECT person_id, time, {nth} AS generation, people, starts, ends, times FROM generation_{nth}
     UNION ALL
    SELECT * FROM known_{nth - 1} WHERE person_id NOT IN (SELECT person_id FROM generation_{nth})
)"""


def cascade_sql(
    *, person_id: int, start: datetime, end: datetime, depth: int, min_duration_s: float
) -> Statement:
    """The rows are (person_id, time, generation, and of each step of the path: person, start, end, time)."""
    tables = ",".join([_FIRST, *map(_next, range(1, depth + 1))])
    sql = f"""
WITH {tables}
SELECT person_id, time, generation, people, starts, ends, times
  FROM known_{depth} WHERE generation > 0 ORDER BY time, person_id"""
    values = {
        "person_id": person_id,
        "start": start,
        "end": end,
        "min_duration": timedelta(seconds=min_duration_s),
    }
    return sql, values
