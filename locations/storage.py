"""Writing and reading locations. The seam's `local:` for pings and locations; every door ends in `record`."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import itemgetter

from django.db import IntegrityError, connection, transaction

from connect.database import cut_in_blocks
from locations import bulk_insert, partitions, person_rows
from locations.models import Location
from locations.person_rows import MAX_ID
from locations.pings import Ping, Refusal, unknown_person
from locations.proximity import connections, encounters

__all__ = [
    "MAX_ID",
    "Bounds",
    "Prepared",
    "Receipt",
    "connections",
    "encounters",
    "get",
    "list_between",
    "prepare",
    "record",
    "record_prepared",
    "submit",
]

COLUMNS = ("person_id", "creation_time", "latitude", "longitude")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch: all but the refused is durable. `stored` is None where it is not yet known."""

    stored: int | None
    refused: list[Refusal] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Bounds:
    """west, south, east and north in degrees, borders included; west > east crosses the 180th meridian."""

    west: float
    south: float
    east: float
    north: float

    def __post_init__(self) -> None:
        if self.south > self.north:
            raise ValueError("The south must not be north of the north.")


# --- writing -------------------------------------------------------------------------------------

_TIME_THEN_PERSON = itemgetter(1, 0)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Pings and what storing them needs of them."""

    pings: Sequence[Ping]  # as they came
    # So the heap is in time order, and two writers with the same pings wait instead of deadlocking.
    in_order: list[Ping]
    person_ids: set[int]
    months: set[partitions.Month]
    rows: bytes | None = None  # those for COPY, where they were packed before

    @property
    def are_many(self) -> bool:
        """So that COPY is worth it."""
        return len(self.pings) >= bulk_insert.MANY

    def packed(self) -> "Prepared":
        """With what can be packed: where they are many, and no id is one that nobody can have."""
        if self.are_many and min(self.person_ids) > 0 and max(self.person_ids) <= MAX_ID:
            return replace(self, rows=bulk_insert.packed(self.in_order))
        return self


def prepare(pings: Sequence[Ping]) -> Prepared:
    """What `record` begins with. It asks the database nothing, so it can be done while that is busy."""
    return Prepared(
        pings,
        sorted(pings, key=_TIME_THEN_PERSON),
        set(map(itemgetter(0), pings)),
        partitions.months_of(map(itemgetter(1), pings)),
    )


def record(pings: Sequence[Ping]) -> Receipt:
    """Stores a batch in one transaction; idempotent, the position stored first stays.

    A ping of a person who does not exist is refused, the others are stored.
    """
    batch = prepare(pings)
    partitions.ensure(batch.months)
    return record_prepared(batch)


def record_prepared(batch: Prepared) -> Receipt:
    """The same, where the partitions for its months have been ensured, before any transaction around this."""
    if not batch.pings:
        return Receipt(stored=0)
    try:
        return _record(batch, by_copy=batch.are_many)
    except IntegrityError as fault:
        if partitions.is_missing(fault):  # one was dropped in between, for its age
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


submit = record  # the verb of the seam: here, handing a ping in and storing it are one


# --- reading -------------------------------------------------------------------------------------


def get(person_id: int, creation_time: datetime) -> Ping | None:
    """What is stored of this person at this time."""
    if not 0 < person_id <= MAX_ID:
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
    """Locations in [start, end), ordered by creation_time, then person; blocks from one snapshot.

    With `newest_first` the order is the reverse, and `after` a place in that. Without `person_id` they are
    those of the people who may be found.
    """
    if person_id is not None and not 0 < person_id <= MAX_ID:
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
    for block in cut_in_blocks(sql, values):
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
) -> tuple[str, list[object]]:
    """The statement of `list_between` and its parameters."""
    conditions: list[str] = []
    values: list[object] = []

    def where(condition: str, *parameters: object) -> None:
        conditions.append(condition)
        values.extend(parameters)

    if person_id is not None:
        where("person_id = %s", person_id)
    else:
        where(person_rows.is_findable("person_id"))
    if start is not None:
        where("creation_time >= %s", start)
    if end is not None:
        where("creation_time < %s", end)
    if bounds is not None:
        where("latitude BETWEEN %s AND %s", bounds.south, bounds.north)
        if bounds.west <= bounds.east:
            where("longitude BETWEEN %s AND %s", bounds.west, bounds.east)
        else:
            where("(longitude >= %s OR longitude <= %s)", bounds.west, bounds.east)
    if after is not None:
        # The first line alone would do; the second lets the planner leave out partitions of earlier pages.
        behind = "<" if newest_first else ">"
        where(f"(creation_time, person_id) {behind} (%s, %s)", *after)
        where(f"creation_time {behind}= %s", after[0])
    direction = "DESC" if newest_first else "ASC"
    sql = (
        f"SELECT {', '.join(COLUMNS)} FROM locations_location WHERE {' AND '.join(conditions)} "
        f"ORDER BY creation_time {direction}, person_id {direction}"
    )
    if limit is not None:
        sql += " LIMIT %s"
        values.append(limit)
    return sql, values


def newest(person_ids: Collection[int]) -> dict[int, datetime]:
    """The time of each person's newest ping, for those who have one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, newest FROM unnest(%s::bigint[]) AS id, LATERAL (SELECT max(creation_time) AS newest "
            "FROM locations_location WHERE person_id = id) AS of_person WHERE newest IS NOT NULL",
            [list(person_ids)],
        )
        return dict(cursor.fetchall())
