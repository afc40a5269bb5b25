"""Encounters that tests store without pings, and the people in them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection

from encounters.models import Encounter
from encounters.partitions import PARTITIONS
from locations.models import Location
from locations.partitions import PARTITIONS as LOCATION_PARTITIONS
from persons.models import Person

NINE = datetime(2026, 5, 11, 9, tzinfo=UTC)


@dataclass(frozen=True)
class Met:
    """An encounter of a and b, in seconds after nine."""

    a: int
    b: int
    at: float
    lasts: float
    latitude: float = 52.5
    longitude: float = 13.4
    ongoing: bool = False

    @property
    def start(self) -> datetime:
        return NINE + timedelta(seconds=self.at)

    @property
    def end(self) -> datetime:
        return self.start + timedelta(seconds=self.lasts)

    @property
    def key(self) -> tuple[datetime, int, int]:
        return self.start, self.a, self.b


def store(encounters: Iterable[Met]) -> None:
    """Replaces all stored encounters."""
    PARTITIONS.ensure([(2026, 5)])
    Encounter.objects.all().delete()
    Encounter.objects.bulk_create(
        Encounter(
            start=each.start,
            person_a_id=each.a,
            person_b_id=each.b,
            end=each.end,
            last_pair=each.end,
            pings_a=2,
            pings_b=3,
            min_distance_m=1.25,
            latitude_a=each.latitude,
            longitude_a=each.longitude,
            latitude_b=0,
            longitude_b=0,
            ongoing=each.ongoing,
        )
        for each in encounters
    )


def store_pings(pings: Iterable[tuple[int, datetime]]) -> None:
    """Replaces all pings: the person and the time of each; all are in one place."""
    LOCATION_PARTITIONS.ensure([(2026, 5)])
    Location.objects.all().delete()
    Location.objects.bulk_create(
        Location(person_id=person_id, creation_time=time, latitude=52.5, longitude=13.4)
        for person_id, time in pings
    )


def people(companies: Mapping[int, str], hidden: Iterable[int] = ()) -> None:
    """Replaces all people: by id the company."""
    Person.objects.all().delete()
    Person.objects.bulk_create(
        Person(
            id=each, first_name=f"P{each}", last_name="Q", company_name=company, findable=each not in hidden
        )
        for each, company in companies.items()
    )


_CROWD = """
INSERT INTO encounters_encounter
SELECT start, 1 + least(one, two), 1 + greatest(one, two), start + lasts, start + lasts, 3, 3, 5 * random(),
       52.5 + 0.002 * random(), 13.4 + 0.004 * random(), 52.5, 13.4, false
  FROM (
    SELECT %(first)s + interval '1 day' * mod(nth, %(days)s) + interval '8 h' * random() AS start,
           interval '-5 min' * ln(random() + 1e-9) AS lasts, one, mod(one + step, 1000) AS two
      FROM (
        SELECT nth, floor(1000 * random())::int AS one, 1 + floor(999 * random())::int AS step
          FROM generate_series(1, %(count)s) AS nth
      ) AS numbers
  ) AS met
 ORDER BY start"""


def store_crowd(count: int, *, days: int) -> None:
    """Stores `count` encounters of 1,000 people of 40 companies, in eight hours of each day; 20 are hidden.

    They last five minutes on average. The tables are vacuumed, as autovacuum does within a minute.
    """
    PARTITIONS.ensure([(2026, 5)])
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO persons_person (id, first_name, last_name, company_name, findable) "
            "SELECT id, 'A', 'B', 'Company ' || mod(id, 40), mod(id, 50) <> 0 "
            "  FROM generate_series(1, 1000) AS id"
        )
        cursor.execute("SELECT setseed(0.5)")
        cursor.execute(_CROWD, {"first": NINE, "days": days, "count": count})
        cursor.execute("VACUUM ANALYZE encounters_encounter, persons_person")
