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
    people: int
    share: float  # of the whole bench
    days: Sequence[int]  # of the larger databases
    pings: int
    start: datetime  # of its first day
    end: datetime
    pings_that_day: int
    person_id: int  # the person with most pings that day
    own: int  # their pings

    def question(self, distance_m: float = DISTANCE_M) -> dict[str, Any]:
        """That person's day, as arguments of `proximity`."""
        return {"start": self.start, "end": self.end, "distance_m": distance_m}

    def connections(
        self, within_s: float | None, distance_m: float = DISTANCE_M, person_id: int = 0
    ) -> Statement:
        return proximity_sql.connections_sql(
            person_id or self.person_id,
            **self.question(distance_m),
            within_s=within_s,
            after=None,
            limit=None,
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

    def statements(self) -> dict[str, Statement]:
        return {
            "`connection`, within 60 s": self.connections(WITHIN_S),
            "`connection`, any time": self.connections(None),
            "`encounters`": self.encounters(),
        }


def store(people: int, share: float, days: Sequence[int]) -> Event:
    """Migrates the empty database of the settings and stores the event in it."""
    call_command("migrate", verbosity=0)
    call_command("simulate", people=people, interval=INTERVAL_S, verbosity=0)
    rows("VACUUM ANALYZE locations_location")
    [(first, pings)] = rows("SELECT min(creation_time), count(*) FROM locations_location")
    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    end = start + timedelta(days=1)
    [(person_id, own, that_day)] = rows(
        "SELECT person_id, count(*), sum(count(*)) OVER () FROM locations_location "
        "WHERE creation_time >= %s AND creation_time < %s GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1",
        [start, end],
    )
    return Event(people, share, days, pings, start, end, int(that_day), person_id, own)


def rows(sql: str, values: Any = None, on: Any = connection) -> Rows:
    """All rows of a statement; none of one that returns nothing."""
    with on.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall()) if cursor.description else []
