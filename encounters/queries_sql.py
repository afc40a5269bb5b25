"""The SQL statements of encounters.queries: lists, sums and the graph of stored encounters.

Sums need `start`, the two people and `end` only, which are in the primary key: it is scanned, not the table.
"""

from datetime import datetime, timedelta
from typing import Any

from locations import person_rows

Statement = tuple[str, dict[str, Any]]

KEY = "start, person_a_id, person_b_id"
_COLUMNS = f'{KEY}, "end", pings_b, min_distance_m, latitude_a, longitude_a, ongoing'
IN_RANGE = "start >= %(start)s AND start < %(end)s"
_SECONDS = """sum(date_part('epoch', "end" - start))"""
_QUARTER = "interval '15 minutes'"


def _begin_of(step: str, time: str) -> str:
    """The begin of the step that contains a time."""
    # The origin is before the first possible ping: date_bin of PostgreSQL 15 is wrong for some times before
    # its origin.
    return f"date_bin({step}, {time}, timestamptz '1900-01-01Z')"


# The pings in the range, of findable people: an index has all that sums need of them.
_PINGS = f"""creation_time >= %(start)s AND creation_time < %(end)s
       AND {person_rows.is_findable("person_id")}"""


def _rounded(seconds: str) -> str:
    """Rounded to the microsecond, so that the order of additions does not matter. As numeric it is slower."""
    return f"round({seconds} * 1e6::float8) / 1e6::float8"


def _values(start: datetime, end: datetime, min_duration_s: float) -> dict[str, Any]:
    return {"start": start, "end": end, "min_duration": timedelta(seconds=min_duration_s)}


def _where(*sides: str) -> str:
    """The conditions on the range, the duration, and that the people of these sides are findable."""
    return " AND ".join(
        [
            IN_RANGE,
            """"end" - start >= %(min_duration)s""",
            *(person_rows.is_findable(f"person_{side}_id") for side in sides),
        ]
    )


def list_sql(
    *,
    start: datetime,
    end: datetime,
    person_id: int | None,
    company: str | None,
    area: bytes | None,
    min_duration_s: float,
    after: tuple[datetime, int, int] | None,
    limit: int | None,
) -> Statement:
    """The encounters of a person are those of two indexes, one for each side."""
    values = _values(start, end, min_duration_s) | {"person_id": person_id, "company": company}
    conditions = [_where("a", "b")]
    source = "encounters_encounter"
    if company is not None:
        of_company = " OR ".join(person_rows.works_for(f"person_{side}_id") for side in "ab")
        conditions.append(f"({of_company})")
    if area is not None:
        # The box costs far less than ST_Covers, so PostgreSQL compares it first.
        source += " CROSS JOIN (SELECT ST_GeomFromWKB(%(area)s, 4326) AS area) AS zone"
        conditions += [
            "longitude_a >= ST_XMin(area) AND longitude_a <= ST_XMax(area)",
            "latitude_a >= ST_YMin(area) AND latitude_a <= ST_YMax(area)",
            "ST_Covers(area, ST_SetSRID(ST_MakePoint(longitude_a, latitude_a), 4326))",
        ]
        values["area"] = memoryview(area)
    if after is not None:
        # The second condition is redundant, but lets the planner prune the partitions of earlier pages.
        conditions.append(f"({KEY}) > (%(after_time)s, %(after_a)s, %(after_b)s)")
        conditions.append("start >= %(after_time)s")
        values |= dict(zip(("after_time", "after_a", "after_b"), after, strict=True))
    sides = [] if person_id is None else [f"person_{side}_id = %(person_id)s" for side in "ab"]
    sql = " UNION ALL ".join(
        f"SELECT {_COLUMNS} FROM {source} WHERE {' AND '.join([*conditions, *side])}"
        for side in ([[each] for each in sides] or [[]])
    )
    sql += f" ORDER BY {KEY}"
    if limit is not None:
        sql += " LIMIT %(limit)s"
        values["limit"] = limit
    return sql, values


_PAIRS = f"""
SELECT person_a_id AS a, person_b_id AS b, count(*) AS meetings, {_rounded(_SECONDS)} AS seconds
  FROM encounters_encounter WHERE {_where("a", "b")} GROUP BY a, b"""

_BY_PAIR = f"""
SELECT a, b, meetings, 2 AS people, seconds FROM ({_PAIRS}) AS pairs ORDER BY seconds DESC, a, b"""

_BY_PERSON = f"""
WITH pairs AS MATERIALIZED ({_PAIRS})
SELECT person_id, sum(meetings)::bigint AS meetings, sum(people)::bigint AS people,
       {_rounded("sum(seconds)")} AS seconds
  FROM (
    SELECT a AS person_id, sum(meetings) AS meetings, count(*) AS people, sum(seconds) AS seconds
      FROM pairs GROUP BY a
     UNION ALL
    SELECT b, sum(meetings), count(*), sum(seconds) FROM pairs GROUP BY b
  ) AS sides
 GROUP BY person_id ORDER BY seconds DESC, person_id"""


# Companies are numbers until the end, because comparing numbers is faster. The encounters are summed once, by
# pair: side b adds only its people. `person` is not materialized, because PostgreSQL knows no statistics of a
# materialized table and would sort the pairs instead of hashing them.
_BY_COMPANY = f"""
WITH person AS NOT MATERIALIZED (
    SELECT id, company_name, dense_rank() OVER (ORDER BY company_name COLLATE "C") AS company
      FROM ({person_rows.COMPANIES}) AS findable
),
company AS MATERIALIZED (
    SELECT DISTINCT company, company_name FROM person
),
pairs AS MATERIALIZED (
    SELECT a, b, least(first.company, second.company) AS one, greatest(first.company, second.company) AS two,
           meetings, seconds
      FROM (
        SELECT person_a_id AS a, person_b_id AS b, count(*) AS meetings, {_SECONDS} AS seconds
          FROM encounters_encounter WHERE {_where()} GROUP BY a, b
      ) AS sums JOIN person AS first ON first.id = a JOIN person AS second ON second.id = b
),
members AS (
    SELECT one, two, a AS person_id, count(*) AS pairs, sum(meetings) AS meetings, sum(seconds) AS seconds
      FROM pairs GROUP BY one, two, a
     UNION ALL
    SELECT one, two, b, 0, 0, 0 FROM pairs GROUP BY one, two, b
),
cells AS (
    SELECT one, two, sum(meetings)::bigint AS meetings, count(*) AS people,
           {_rounded("sum(seconds)")} AS seconds, sum(pairs)::bigint AS pairs
      FROM (
        SELECT one, two, sum(meetings) AS meetings, sum(seconds) AS seconds, sum(pairs) AS pairs
          FROM members GROUP BY one, two, person_id
      ) AS people
     GROUP BY one, two
)
SELECT first.company_name, second.company_name, meetings, people, seconds, pairs
  FROM cells JOIN company AS first ON first.company = one JOIN company AS second ON second.company = two
 ORDER BY seconds DESC, one, two"""


def _hour_side(side: str, *, sums: str) -> str:
    hour = _begin_of("interval '1 hour'", "start")
    return f"""
    SELECT {hour} AS hour, person_{side}_id AS person_id, {sums}
      FROM encounters_encounter WHERE {_where("a", "b")} GROUP BY hour, person_{side}_id"""


_BY_HOUR = f"""
SELECT hour, sum(meetings)::bigint, count(DISTINCT person_id), {_rounded("sum(seconds)")}
  FROM ({_hour_side("a", sums=f"count(*) AS meetings, {_SECONDS} AS seconds")}
     UNION ALL {_hour_side("b", sums="0, 0::float8")}
  ) AS sides
 GROUP BY hour ORDER BY hour"""

# An encounter is in each quarter of an hour from that of its start to that of its end, with its part of the
# time.
_BY_QUARTER_HOUR = f"""
WITH met AS MATERIALIZED (
    SELECT quarter_hour, person_a_id AS a, person_b_id AS b,
           date_part('epoch', least("end", quarter_hour + {_QUARTER}) - greatest(start, quarter_hour))
               AS seconds
      FROM encounters_encounter
     CROSS JOIN LATERAL generate_series({_begin_of(_QUARTER, "start")}, "end", {_QUARTER}) AS quarter_hour
     WHERE {_where("a", "b")}
),
sides AS (
    SELECT quarter_hour, a AS person_id, count(*) AS meetings, sum(seconds) AS seconds
      FROM met GROUP BY quarter_hour, a
     UNION ALL
    SELECT quarter_hour, b, 0, 0 FROM met GROUP BY quarter_hour, b
),
together AS (
    SELECT quarter_hour, sum(meetings)::bigint AS meetings, count(DISTINCT person_id) AS people,
           {_rounded("sum(seconds)")} AS seconds
      FROM sides GROUP BY quarter_hour
),
seen AS (
    SELECT {_begin_of(_QUARTER, "creation_time")} AS quarter_hour, person_id
      FROM locations_location WHERE {_PINGS} GROUP BY quarter_hour, person_id
),
present AS (
    SELECT quarter_hour, count(*) AS present, count(*) FILTER (WHERE is_first) AS arrived
      FROM (
        SELECT quarter_hour, quarter_hour = min(quarter_hour) OVER (PARTITION BY person_id) AS is_first
          FROM seen
      ) AS seen_again
     GROUP BY quarter_hour
)
SELECT quarter_hour, coalesce(meetings, 0), coalesce(people, 0), coalesce(seconds, 0), coalesce(present, 0),
       coalesce(arrived, 0)
  FROM together FULL JOIN present USING (quarter_hour) ORDER BY quarter_hour"""

# Everybody who was there, also those who met nobody.
_BY_ATTENDEE = f"""
WITH attendee AS (
    SELECT person_id, min(creation_time) AS first, max(creation_time) AS last
      FROM locations_location WHERE {_PINGS} GROUP BY person_id
)
SELECT person_id, coalesce(meetings, 0), coalesce(people, 0), coalesce(seconds, 0) AS seconds, first, last
  FROM attendee LEFT JOIN ({_BY_PERSON}) AS sums USING (person_id)
 ORDER BY seconds DESC, person_id"""

SUMMARIES = {
    "pair": _BY_PAIR,
    "person": _BY_PERSON,
    "attendee": _BY_ATTENDEE,
    "company": _BY_COMPANY,
    "hour": _BY_HOUR,
    "quarter_hour": _BY_QUARTER_HOUR,
}
# What a group has besides its key, meetings, people and seconds: columns after these.
MORE = {"attendee": ("first", "last"), "company": ("pairs",), "quarter_hour": ("present", "arrived")}


def summary_sql(
    *, by: str, start: datetime, end: datetime, min_duration_s: float, limit: int | None = None
) -> Statement:
    sql, values = SUMMARIES[by], _values(start, end, min_duration_s)
    if limit is None:
        return sql, values
    return f"{sql} LIMIT %(limit)s", values | {"limit": limit}


_GRAPH = f"""
WITH edges AS MATERIALIZED ({_PAIRS})
SELECT a, b, meetings, seconds
  FROM (
    SELECT person_id AS a, NULL::bigint AS b, NULL::bigint AS meetings, NULL::float8 AS seconds
      FROM (SELECT a AS person_id FROM edges UNION SELECT b FROM edges) AS people
     UNION ALL
    SELECT a, b, meetings, seconds FROM edges
  ) AS elements
 ORDER BY b IS NOT NULL, a, b"""


def graph_sql(*, start: datetime, end: datetime, min_duration_s: float) -> Statement:
    """The nodes by id, then the edges by their two ids. A node has only `a`."""
    return _GRAPH, _values(start, end, min_duration_s)
