"""Questions about everybody's stored encounters: lists, sums, a graph, and cascades.

One SQL statement for each answer. People who are not findable are in none. A range has the encounters that
start in it, each as a whole.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from connect.database import stream_blocks
from encounters import cascade_sql, queries_sql

BY = tuple(queries_sql.SUMMARIES)  # what encounters can be summed by


class StoredEncounter(NamedTuple):
    """An encounter as the person with the smaller id, a, sees it: b's pings, and a's position."""

    start: datetime
    person_a_id: int
    person_b_id: int
    end: datetime
    pings: int
    min_distance_m: float
    latitude: float
    longitude: float
    ongoing: bool

    @property
    def person_ids(self) -> tuple[int, int]:
        return self.person_a_id, self.person_b_id

    @property
    def duration_s(self) -> float:
        return (self.end - self.start).total_seconds()


class Sum(NamedTuple):
    """The encounters of a group. `key` identifies it; `more` has what only groups of this kind have."""

    key: tuple[Any, ...]
    meetings: int
    people: int
    seconds: float
    more: dict[str, Any]


class Element(NamedTuple):
    """A node or an edge of the graph. A node has only `person_a_id`."""

    person_a_id: int
    person_b_id: int | None
    meetings: int | None
    seconds: float | None


class Step(NamedTuple):
    """An encounter of a path, from its start to its end, and the time at which it reached the person."""

    person_id: int
    start: datetime
    end: datetime
    time: datetime


class Reached(NamedTuple):
    """A person that a cascade reaches: the earliest time, and how."""

    person_id: int
    time: datetime
    generation: int
    path: list[Step]


def encounters(
    *,
    start: datetime,
    end: datetime,
    person_id: int | None = None,
    company: str | None = None,
    area: bytes | None = None,
    min_duration_s: float = 0,
    after: tuple[datetime, int, int] | None = None,
    limit: int | None = None,
) -> Iterator[StoredEncounter]:
    """The encounters of each pair, ordered by start, person a, person b.

    `company`: at least one of the two belongs to it. `area` (WKB of a polygon, in degrees of longitude and
    latitude): it covers the position, border included.
    """
    sql, values = queries_sql.list_sql(
        start=start,
        end=end,
        person_id=person_id,
        company=company,
        area=area,
        min_duration_s=min_duration_s,
        after=after,
        limit=limit,
    )
    for block in stream_blocks(sql, values):
        yield from map(StoredEncounter._make, block)


def summary(
    *, by: str, start: datetime, end: datetime, min_duration_s: float = 0, limit: int | None = None
) -> Iterator[Sum]:
    """The sums by pair, person, attendee or company, the longest time first, or by time, in order.

    An encounter belongs to the UTC hour of its start, but to each quarter of an hour that it touches, with
    its part of the seconds. `people` counts distinct people: those whom a person met, else those who took
    part. Attendees are the people with a ping in the range. `more` has by attendee the times of the `first`
    and the `last` ping, by company the number of `pairs` of people, and by quarter of an hour the number of
    people `present`, that is with a ping in it, and of those who `arrived`: without an earlier one.
    """
    sql, values = queries_sql.summary_sql(
        by=by, start=start, end=end, min_duration_s=min_duration_s, limit=limit
    )
    names = queries_sql.MORE.get(by, ())
    for block in stream_blocks(sql, values):
        for row in block:
            key, more = row[: -3 - len(names)], row[len(row) - len(names) :]
            meetings, people, seconds = row[len(key) : len(key) + 3]
            yield Sum(tuple(key), meetings, people, seconds, dict(zip(names, more, strict=True)))


def graph(*, start: datetime, end: datetime, min_duration_s: float = 0) -> Iterator[Element]:
    """People who met as nodes, ordered by id; then their time together as edges, ordered by the two ids."""
    sql, values = queries_sql.graph_sql(start=start, end=end, min_duration_s=min_duration_s)
    for block in stream_blocks(sql, values):
        yield from map(Element._make, block)


def cascade(
    *, person_id: int, start: datetime, end: datetime, depth: int, min_duration_s: float
) -> Iterator[Reached]:
    """The people whom something that `person_id` has at `start` can reach, ordered by time, person.

    It passes from one to the other when they have been together for `min_duration_s` since the later of the
    start of the encounter and the time at which the first one got it; the encounter must last that long. Each
    person is reached once, at the earliest time over all paths of at most `depth` encounters, and of several
    such paths by one with the fewest encounters: their number is the generation.
    """
    sql, values = cascade_sql.cascade_sql(
        person_id=person_id, start=start, end=end, depth=depth, min_duration_s=min_duration_s
    )
    for block in stream_blocks(sql, values):
        for reached_id, time, generation, *steps in block:
            yield Reached(reached_id, time, generation, list(map(Step, *steps)))
