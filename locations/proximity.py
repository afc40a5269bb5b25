"""The spatial question: who was near whom, when and for how long. One SQL statement for each answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from connect.database import stream_blocks
from locations import proximity_sql
from locations.pings import Ping


@dataclass(frozen=True, slots=True)
class Encounter:
    """An uninterrupted time together. The position is that of the own ping nearest to the other person."""

    person_id: int
    start: datetime
    end: datetime
    pings: int
    min_distance_m: float
    latitude: float
    longitude: float
    nth: int  # counts the encounters with this person; tells apart two with the same start

    @property
    def duration_s(self) -> float:
        return (self.end - self.start).total_seconds()


def connections(
    person_id: int,
    *,
    start: datetime,
    end: datetime,
    distance_m: float,
    within_s: float | None = None,
    max_accuracy_m: float | None = None,
    after: tuple[datetime, int] | None = None,
    limit: int | None = None,
) -> Iterator[Ping]:
    """Locations of others in [start, end) near an own one, each once, ordered by creation_time, person."""
    sql, values = proximity_sql.connections_sql(
        person_id,
        start=start,
        end=end,
        distance_m=distance_m,
        within_s=within_s,
        max_accuracy_m=max_accuracy_m,
        after=after,
        limit=limit,
    )
    for block in stream_blocks(sql, values):
        yield from map(Ping._make, block)


def encounters(
    person_id: int,
    *,
    start: datetime,
    end: datetime,
    distance_m: float,
    within_s: float,
    max_gap_s: float,
    min_duration_s: float = 0,
    max_accuracy_m: float | None = None,
    plausible_only: bool = False,
    after: tuple[datetime, int, int] | None = None,
    limit: int | None = None,
) -> Iterator[Encounter]:
    """A person's encounters in [start, end), ordered by start, person; `after` is (start, person, nth).

    `plausible_only` is for a person's own token: proximity_sql says which own pings then count.
    """
    sql, values = proximity_sql.encounters_sql(
        person_id,
        start=start,
        end=end,
        distance_m=distance_m,
        within_s=within_s,
        max_gap_s=max_gap_s,
        min_duration_s=min_duration_s,
        max_accuracy_m=max_accuracy_m,
        max_speed_m_s=settings.MAX_SPEED_M_S if plausible_only else None,
        after=after,
        limit=limit,
    )
    for block in stream_blocks(sql, values):
        for row in block:
            yield Encounter(*row)
