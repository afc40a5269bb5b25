"""Reads and writes locations in PostGIS: `local:` of PINGS_URL and LOCATIONS_URL. `record` alone writes."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from operator import itemgetter

from django.db import IntegrityError, connection, transaction

from connect.database import stream_blocks
from locations import bulk_insert, partitions, person_rows
from locations.bounds import Bounds
from locations.models import Location
from locations.person_rows import MAX_ID, may_exist
from locations.pings import COLUMNS, Ping, Refusal, unknown_person
from locations.presence import days, heat, positions, visits
from locations.proximity import connections, encounters

__all__ = [
    "MAX_ID",
    "Bounds",
    "Prepared",
    "Receipt",
    "connections",
    "days",
    "encounters",
    "get",
    "heat",
    "list_between",
    "positions",
    "prepare",
    "record",
    "record_prepared",
    "submit",
    "visits",
]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of a batch: all pings but the refused are durable. `stored` is None if not known yet."""

    stored: int | None
    refused: list[Refusal] = field(default_factory=list)


# --- writing -------------------------------------------------------------------------------------

_TIME_THEN_PERSON = itemgetter(1, 0)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch of pings with all that is computed before the database is needed."""

    pings: Sequence[Ping]  # in the caller's order
    # By time: the heap stays in time order, and two writers of the same pings wait instead of deadlocking.
    in_order: list[Ping]
    person_ids: set[int]
    months: set[partitions.Month]
    rows: bytes | None = None  # the input of COPY, if it is packed already

    @property
    def uses_copy(self) -> bool:
        return len(self.pings) >= bulk_insert.COPY_FROM

    def with_rows(self) -> "Prepared":
        """The same with `rows`, if COPY is used and all ids fit a bigint."""
        if self.uses_copy and min(self.person_ids) > 0 and max(self.person_ids) <= MAX_ID:
            return replace(self, rows=bulk_insert.pack_rows(self.in_order))
        return self


def prepare(pings: Sequence[Ping]) -> Prepared:
    """The first step of `record`. It makes no query, so it can run while another batch is stored."""
    return Prepared(
        pings,
        sorted(pings, key=_TIME_THEN_PERSON),
        set(map(itemgetter(0), pings)),
        partitions.months_of(map(itemgetter(1), pings)),
    )


def record(pings: Sequence[Ping]) -> Receipt:
    """Stores a batch in one transaction. Idempotent: the position stored first stays.

    Pings of unknown persons are refused; the others are stored.
    """
    batch = prepare(pings)
    partitions.ensure(batch.months)
    return record_prepared(batch)


def record_prepared(batch: Prepared) -> Receipt:
    """`record` for a caller that has ensured the partitions of the months, outside of any transaction."""
    if not batch.pings:
        return Receipt(stored=0)
    try:
        return _record(batch, by_copy=batch.uses_copy)
    except IntegrityError as fault:
        if partitions.is_missing(fault):  # retention dropped one meanwhile
            partitions.ensure(batch.months)
        elif not bulk_insert.is_repeat(fault):
            raise
    return _record(batch, by_copy=False)


def _record(batch: Prepared, *, by_copy: bool) -> Receipt:
    with transaction.atomic():
        known = person_rows.lock_existing(batch.person_ids)
        good, rows = batch.in_order, batch.rows
        if not batch.person_ids <= known:
            good, rows = [ping for ping in good if ping.person_id in known], None
        if not good:
            stored = 0
        elif by_copy:
            stored = bulk_insert.copy(good, rows)
        else:
            stored = bulk_insert.insert(good)
    refused = []
    if len(good) < len(batch.pings):
        refused = [
            unknown_person(i, p.person_id) for i, p in enumerate(batch.pings) if p.person_id not in known
        ]
    return Receipt(stored, refused)


submit = record  # the verb of PINGS_URL: with `local:` a submitted ping is stored at once


# --- reading -------------------------------------------------------------------------------------


def get(person_id: int, creation_time: datetime) -> Ping | None:
    """The stored location of this person at this time."""
    if not may_exist(person_id):
        return None
    row = (
        Location.objects.filter(person_id=person_id, creation_time=creation_time)
        .values_list(*COLUMNS)
        .first()
    )
    return Ping(*row) if row else None


def list_between(
    *,
    person_id: int | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    bounds: Bounds | None = None,
    after: tuple[datetime, int] | None = None,
    limit: int | None = None,
    newest_first: bool = False,
) -> Iterator[Ping]:
    """Locations in [start, end), ordered by creation_time, then person, all from one snapshot.

    With `newest_first` the order is reversed, and `after` is a key in that order. Without `person_id` only
    findable people are included.
    """
    if not may_exist(person_id):
        return
    sql, values = list_between_sql(
        person_id=person_id,
        start=start,
        end=end,
        bounds=bounds,
        after=after,
        limit=limit,
        newest_first=newest_first,
    )
    for block in stream_blocks(sql, values):
        yield from map(Ping._make, block)


def list_between_sql(
    *,
    person_id: int | None,
    start: datetime | None,
    end: datetime | None,
    bounds: Bounds | None,
    after: tuple[datetime, int] | None,
    limit: int | None,
    newest_first: bool,
) -> tuple[str, dict[str, object]]:
    """The statement of `list_between` and its parameters."""
    conditions: list[str] = []
    values: dict[str, object] = {}

    def where(condition: str, **parameters: object) -> None:
        conditions.append(condition)
        values.update(parameters)

    if person_id is not None:
        where("person_id = %(person_id)s", person_id=person_id)
    else:
        where(person_rows.is_findable("person_id"))
    if start is not None:
        where("creation_time >= %(start)s", start=start)
    if end is not None:
        where("creation_time < %(end)s", end=end)
    if bounds is not None:
        where(bounds.condition, **asdict(bounds))
    if after is not None:
        # The second condition is redundant, but lets the planner prune the partitions of earlier pages.
        behind = "<" if newest_first else ">"
        where(
            f"(creation_time, person_id) {behind} (%(after_time)s, %(after_person)s)",
            after_time=after[0],
            after_person=after[1],
        )
        where(f"creation_time {behind}= %(after_time)s")
    direction = "DESC" if newest_first else "ASC"
    sql = (
        f"SELECT {', '.join(COLUMNS)} FROM locations_location WHERE {' AND '.join(conditions)} "
        f"ORDER BY creation_time {direction}, person_id {direction}"
    )
    if limit is not None:
        sql += " LIMIT %(limit)s"
        values["limit"] = limit
    return sql, values


def newest(person_ids: Collection[int]) -> dict[int, datetime]:
    """The time of the newest ping of each person who has one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, newest FROM unnest(%s::bigint[]) AS id, LATERAL (SELECT max(creation_time) AS newest "
            "FROM locations_location WHERE person_id = id) AS of_person WHERE newest IS NOT NULL",
            [list(person_ids)],
        )
        return dict(cursor.fetchall())
