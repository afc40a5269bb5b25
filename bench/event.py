"""The event of the bench: two simulated days in a crowded hall, and the questions about one person's day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management import call_command
from django.db import connection

from locations import limits, proximity_sql

INTERVAL_S = 52  # of 1,000 people on two days of eight hours this makes a million pings
DISTANCE_M = 5
WITHIN_S = limits.WITHIN_S

Statement = tuple[str, Any]
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Event:
    share: float  # of the whole bench
    person_ids: Sequence[int]
    pings: int
    start: datetime  # of its first day
    end: datetime
    pings_that_day: int
    person_id: int  # the person with most pings that day
    own: int  # their pings

    def scaled(self, whole: int, least: int) -> int:
        """As many as in the whole bench, or fewer in a trial."""
        return max(least, int(whole * min(1.0, self.share)))

    def question(self) -> dict[str, Any]:
        """That person's day, as arguments of `proximity`."""
        return {"start": self.start, "end": self.end, "distance_m": DISTANCE_M}

    def connections(self, within_s: float | None) -> Statement:
        return proximity_sql.connections_sql(
            self.person_id, **self.question(), within_s=within_s, after=None, limit=None
        )

    def encounters(self) -> Statement:
        return proximity_sql.encounters_sql(
            self.person_id,
            **self.question(),
            within_s=WITHIN_S,
            max_gap_s=limits.MAX_GAP_S,
            min_duration_s=0,
            after=None,
            limit=None,
        )


def store(people: int, share: float) -> Event:
    """Migrates the empty database of the settings and stores the event in it."""
    call_command("migrate", verbosity=0)
    call_command("simulate", people=people, interval=INTERVAL_S, verbosity=0)
    rows("VACUUM ANALYZE locations_location")
    person_ids = [person_id for (person_id,) in rows("SELECT id FROM persons_person ORDER BY id")]
    [(first, pings)] = rows("SELECT min(creation_time), count(*) FROM locations_location")
    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    end = start + timedelta(days=1)
    [(person_id, own, that_day)] = rows(
        "SELECT person_id, count(*), sum(count(*)) OVER () FROM locations_location "
        "WHERE creation_time >= %s AND creation_time < %s GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1",
        [start, end],
    )
    return Event(share, person_ids, pings, start, end, int(that_day), person_id, own)


def rows(sql: str, values: Any = None) -> Rows:
    """All rows of a statement; none of one that returns nothing."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall()) if cursor.description else []
