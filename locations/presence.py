"""Questions about presence: days with pings, positions at an instant, a heat map, visits of areas.

One SQL statement for each answer. Without `person_id` only findable people count.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from connect.database import stream_blocks
from locations import presence_sql
from locations.bounds import Bounds
from locations.person_rows import may_exist
from locations.pings import Ping

Area = tuple[int, bytes]  # the id of an area and its polygon as WKB, in degrees of longitude and latitude


@dataclass(frozen=True, slots=True)
class Day:
    """A day that has pings, with the times of the first and the last of them."""

    day: date
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class HeatCell:
    """A cell of the grid with its centre. `person_minutes` counts the pairs of person and minute."""

    latitude: float
    longitude: float
    person_minutes: int
    people: int


@dataclass(frozen=True, slots=True)
class AreaVisits:
    """The visits of an area. Without visits the sums are 0 and the stays None."""

    area_id: int
    people: int
    visits: int
    person_seconds: float
    median_stay_s: float | None
    longest_stay_s: float | None


def days(*, person_id: int | None = None, time_zone: str = "UTC") -> Iterator[Day]:
    """The days of an IANA time zone that have pings, in order."""
    if not may_exist(person_id):
        return
    for block in stream_blocks(*presence_sql.days_sql(person_id=person_id, time_zone=time_zone)):
        for row in block:
            yield Day(*row)


def positions(
    *, at: datetime, max_age_s: float, bounds: Bounds | None = None, person_id: int | None = None
) -> Iterator[Ping]:
    """The newest location of each person in (at - max_age_s, at], ordered by person.

    With `bounds` without the people whose newest location is outside.
    """
    if not may_exist(person_id):
        return
    sql, values = presence_sql.positions_sql(at=at, max_age_s=max_age_s, bounds=bounds, person_id=person_id)
    for block in stream_blocks(sql, values):
        yield from map(Ping._make, block)


def heat(
    *, start: datetime, end: datetime, cell_m: float, person_id: int | None = None
) -> Iterator[HeatCell]:
    """The cells that have pings in [start, end), ordered by latitude, then longitude.

    presence_sql describes the grid.
    """
    if not may_exist(person_id):
        return
    sql, values = presence_sql.heat_sql(start=start, end=end, cell_m=cell_m, person_id=person_id)
    for block in stream_blocks(sql, values):
        for row in block:
            yield HeatCell(*row)


def visits(
    *,
    areas: Sequence[Area],
    start: datetime,
    end: datetime,
    max_gap_s: float,
    min_duration_s: float,
    person_id: int | None = None,
) -> Iterator[AreaVisits]:
    """The visits of each area in [start, end), ordered by the id of the area; ids must be distinct.

    A visit: the pings of one person that the area covers, border included, in order of time, while the step
    from one to the next is at most `max_gap_s`. It lasts from the first to the last. Visits shorter than
    `min_duration_s` are left out.
    """
    if not areas:
        return
    sql, values = presence_sql.visits_sql(
        areas=areas,
        start=start,
        end=end,
        max_gap_s=max_gap_s,
        min_duration_s=min_duration_s,
        person_id=person_id if may_exist(person_id) else 0,
    )
    for block in stream_blocks(sql, values):
        for row in block:
            yield AreaVisits(*row)
