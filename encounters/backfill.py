"""Finds the encounters of a range of time and stores them; compares stored encounters with the question."""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from connect import neighbours
from connect.wire_format import from_microseconds, to_microseconds
from encounters import storage
from encounters.engine import Engine, Parameters
from encounters.rows import KEY, Rows, keys
from encounters.scope import EVERYTHING, Scope

MICROSECOND = timedelta(microseconds=1)
SLICE_US = 5 * 60 * 1_000_000  # pings read at a time
MANY_PEOPLE = 100  # to repair: beyond, everybody's pings are read, which takes less than asking who was near
HORIZON_US = 15 * 60 * 1_000_000
STEP_US = 60 * 60 * 1_000_000  # encounters stored in one transaction, by their start


@dataclass(frozen=True, slots=True)
class Progress:
    """How far `find` is: all encounters that start before `until` and have ended by then are stored."""

    until: datetime
    pings: int
    found: int


@dataclass(frozen=True, slots=True)
class Work:
    """How to find.

    Encounters with a last pair from `now()` - max_gap on are stored as ongoing. `beat` is called after each
    slice of pings.
    """

    scope: Scope = EVERYTHING
    now: Callable[[], int] = lambda: time.time_ns() // 1000  # in microseconds
    tell: storage.Tell | None = None
    beat: Callable[[], None] = lambda: None


def find(
    *,
    start: datetime,
    end: datetime,
    read_people: Collection[int] | None = None,
    work: Work | None = None,
) -> Iterator[Progress]:
    """Replaces the stored encounters of the scope that start in [start, end), hour by hour. Idempotent.

    `read_people` are all people whose pings can be in these encounters; None is everybody.

    The result is that of the question over all time. The pings are read from `start` - within - max_gap on.
    An encounter that began earlier and goes on has a pair in the last max_gap of this time. So it is not
    taken for a new one: it starts before the range and is left out. After `end` the pings are read until
    every encounter of the range has ended: everybody's for within, then those of the people in them.

    Each hour is one transaction. An encounter that goes on at the end of the hour is stored with a later one,
    once it has ended. Until then a row that an earlier run stored for it stays. Readers never see a part of
    an hour or of an encounter. After an interruption, the next run does the rest.
    """
    first, last = to_microseconds(start), to_microseconds(end)
    parameters = Parameters()
    finder = _Finder(first, last, parameters, work or Work(), read_people)
    begin, found = first, 0
    finder.read(first - parameters.margin_us, first)
    while begin < last:
        until = min(begin + STEP_US, last)
        upcoming = neighbours.ping_columns().first_time(start=begin)
        if upcoming is None or upcoming >= until:  # nothing for hours
            until = last if upcoming is None else min(upcoming, last)
        finder.read(begin, until)
        if until == last:
            finder.read(last, last + parameters.within_us)
            finder.follow()
        found += finder.store(begin, until)
        yield Progress(from_microseconds(until), finder.pings, found)
        begin = until


def repair(
    people: Collection[int],
    *,
    first: int,
    last: int,
    work: Work,
) -> Iterator[Progress]:
    """Finds again the encounters of the scope that pings of these people in [first, last] can change.

    Those are all that may have a pair at most max_gap before or after. But encounters that go on and began
    more than HORIZON_US before stay as they are: they are found again when they end (repair_pairs).
    """
    margin = Parameters().margin_us
    work = replace(work, scope=replace(work.scope, people=sorted(people)))
    stored = storage.reaching(first - margin, last + margin, work.scope)
    stored = stored[~stored["ongoing"] | (stored["start"] >= first - HORIZON_US)]
    begin, end = min([first - margin, *stored["start"].tolist()]), last + margin + 1
    near = None
    if len(people) <= MANY_PEOPLE:
        parameters = Parameters()
        found = neighbours.ping_columns().near(
            sorted(people),
            start=begin - margin,
            end=end + margin,
            distance_m=parameters.distance_m,
            within_s=parameters.within_s,
        )
        near = sorted({*people, *found})
    yield from find(start=from_microseconds(begin), end=from_microseconds(end), read_people=near, work=work)


def repair_pairs(encounters: Rows, *, work: Work) -> Iterator[Progress]:
    """Finds again the encounters (ENCOUNTER) that miss pings, from their true start to their end.

    It reads the pings of these people only, and finds all encounters among them.
    """
    margin = Parameters().margin_us
    people = np.unique([encounters["person_a_id"], encounters["person_b_id"]]).tolist()
    work = replace(work, scope=replace(work.scope, people=people, both=True))
    first, last = int(encounters["start"].min()) - margin, int(encounters["last_pair"].max()) + margin
    stored = storage.reaching(first, last, work.scope)
    begin = _start_before(min([first, *stored["start"].tolist()]), people, work)
    yield from find(
        start=from_microseconds(begin), end=from_microseconds(last + 1), read_people=people, work=work
    )


def _start_before(moment: int, people: Collection[int], work: Work) -> int:
    """The start of the first encounter of the scope that goes on at a moment; the moment if none does."""
    reach = STEP_US
    while True:
        finder = _Finder(moment - reach, moment, Parameters(), work, people)
        finder.read(moment - reach, moment)
        start = min([moment, *finder.starts_going_on])
        if start > moment - reach + Parameters().margin_us or start == moment:
            return start
        reach *= 4


class _Finder:
    """The engine with what it has found and is not stored yet."""

    def __init__(
        self,
        first: int,
        last: int,
        parameters: Parameters,
        work: Work,
        read_people: Collection[int] | None,
    ) -> None:
        self.pings = 0
        self._first, self._last = first, last
        self._work = work
        self._read_people = read_people
        self._engine = Engine(parameters, work.scope)
        self._ended: list[Rows] = []
        self._kept = np.empty(0, KEY)  # of encounters that go on, whose stored rows have stayed

    def read(self, start: int, end: int, people: Collection[int] | None = None) -> None:
        """Feeds the pings in [start, end)."""
        begin, columns = start, neighbours.ping_columns()
        people = self._read_people if people is None else people
        while begin < end:
            until = min(begin + SLICE_US, end)
            pings = columns.read(start=begin, end=until, person_ids=people)
            if not len(pings):  # maybe nothing for years
                upcoming = columns.first_time(start=until)
                until = end if upcoming is None else min(upcoming, end)
            self.pings += len(pings)
            self._ended.append(self._in_range(self._engine.feed(pings, until=until)))
            self._work.beat()
            begin = until

    @property
    def starts_going_on(self) -> list[int]:
        starts: list[int] = self._engine.open_encounters["start"].tolist()
        return starts

    def follow(self) -> None:
        """Reads on until every encounter of the range has ended."""
        while len(going_on := self._in_range(self._engine.open_encounters)):
            begin = self._engine.watermark
            assert begin is not None  # noqa: S101 - it has read the range
            people = np.unique([going_on["person_a_id"], going_on["person_b_id"]]).tolist()
            if neighbours.ping_columns().first_time(start=begin) is None:
                self._ended.append(self._in_range(self._engine.finish()))
                return
            self.read(begin, begin + SLICE_US, people)

    def store(self, start: int, end: int) -> int:
        """Stores the encounters that start in [start, end), and those that went on at `start` and ended.

        Returns their number.
        """
        ended = np.concatenate(self._ended)
        ended["ongoing"] = ended["last_pair"] >= self._work.now() - self._engine.parameters.max_gap_us
        kept = keys(self._in_range(self._engine.open_encounters))
        dropped = np.setdiff1d(self._kept, kept)
        storage.replace(
            start=start,
            end=end,
            ended=ended,
            kept=kept,
            dropped=dropped,
            scope=self._work.scope,
            tell=self._work.tell,
        )
        self._ended, self._kept = [], kept
        return len(ended)

    def _in_range(self, encounters: Rows) -> Rows:
        return encounters[(encounters["start"] >= self._first) & (encounters["start"] < self._last)]


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is only stored, or only in the answer about a person."""

    person_id: int
    is_stored: bool
    row: tuple[Any, ...]

    def __str__(self) -> str:
        other, start, *rest = self.row
        where = "only stored" if self.is_stored else "not stored"
        return f"person {self.person_id} with {other} from {start:%Y-%m-%d %H:%M:%S.%f}: {where}: {rest}"


def people(*, start: datetime, end: datetime) -> list[int]:
    """The people who may have encounters that start in [start, end), and those who have stored ones."""
    margin = Parameters().within_us
    near = neighbours.ping_columns().people(
        start=to_microseconds(start) - margin, end=to_microseconds(end) + margin
    )
    return sorted({*near, *storage.people(start=start, end=end)})


def differences(person_id: int, *, start: datetime, end: datetime) -> list[Difference]:
    """Compares a person's stored encounters that start in [start, end) with the question over all time."""
    stored, asked = set(storage.seen_by(person_id, start=start, end=end)), set(_asked(person_id, start, end))
    found = [Difference(person_id, is_stored=True, row=row) for row in stored - asked]
    found += [Difference(person_id, is_stored=False, row=row) for row in asked - stored]
    return sorted(found, key=lambda each: (each.row[1], each.row[0], each.is_stored))


def _asked(person_id: int, start: datetime, end: datetime) -> Iterator[tuple[Any, ...]]:
    """The same from the question. It is asked again for longer while an encounter may go on."""
    parameters = Parameters()
    margin = parameters.margin_us * MICROSECOND
    reach = margin
    while True:
        found = [
            each
            for each in neighbours.locations().encounters(
                person_id,
                start=start - margin,
                end=end + reach,
                distance_m=parameters.distance_m,
                within_s=parameters.within_s,
                max_gap_s=parameters.max_gap_s,
            )
            if start <= each.start < end
        ]
        if all(each.end < end + reach - margin for each in found):
            break
        reach *= 2
    for each in found:
        where = (each.pings, each.min_distance_m, each.latitude, each.longitude)
        yield each.person_id, each.start, each.end, *where
