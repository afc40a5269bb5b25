"""The event that the bench asks about: two simulated days in a crowded hall, stored once."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management import call_command
from django.db import connection

WHOLE = 1000  # people of the whole bench; with fewer everything is smaller and over sooner
INTERVAL_S = 52  # of 1,000 people on two days of eight hours this makes a million pings


@dataclass(frozen=True)
class Event:
    people: int
    pings: int
    start: datetime  # of its first day
    end: datetime
    pings_that_day: int
    person_id: int  # who has most pings that day
    own: int

    def question(self, distance_m: float = 5) -> dict[str, Any]:
        """That person's day, as `proximity` takes it."""
        return {"start": self.start, "end": self.end, "distance_m": distance_m}


def store(people: int) -> Event:
    """Migrates the settings' database, which is empty, and stores the event in it."""
    call_command("migrate", verbosity=0)
    call_command("simulate", people=people, interval=INTERVAL_S, verbosity=0)
    vacuum("locations_location")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT min(creation_time), count(*), count(DISTINCT person_id) FROM locations_location"
        )
        first, pings, people = cursor.fetchone()
        start = datetime(first.year, first.month, first.day, tzinfo=UTC)
        end = start + timedelta(days=1)
        cursor.execute(
            "SELECT person_id, count(*), sum(count(*)) OVER () FROM locations_location "
            "WHERE creation_time >= %s AND creation_time < %s GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1",
            [start, end],
        )
        person_id, own, that_day = cursor.fetchone()
    return Event(people, pings, start, end, int(that_day), person_id, own)


def clear() -> None:
    """Makes room for another event."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(relname, ', ') FROM pg_class WHERE relname LIKE 'bench%' AND relkind = 'r'"
        )
        [beside] = cursor.fetchone()
        cursor.execute("TRUNCATE persons_person, locations_location CASCADE")
        cursor.execute(f"DROP TABLE {beside}")


def vacuum(table: str) -> None:
    """As autovacuum leaves a table some minutes after it was written."""
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {table}")
