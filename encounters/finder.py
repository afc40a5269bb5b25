"""Finds everybody's encounters while pings arrive, some of them late. It knows no Kafka.

The engine takes pings as they arrive, so an encounter is told as soon as it starts; the watermark says when
it has ended. Late pings, before the watermark, are not fed: their people are remembered, and the encounters
concerned are found again in the stored pings. So are encounters that began long before this process.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from connect import neighbours
from connect.wire_format import from_microseconds
from encounters import backfill, storage
from encounters.engine import Engine, Parameters
from encounters.rows import ENCOUNTER, PERSON_TIME, Rows, is_among, pairs, selected
from encounters.scope import Scope

SECOND_US = 1_000_000
WARM_UP_US = 5 * 60 * SECOND_US  # encounters that began in this time before the start are known completely
MINUTE_US = 60 * SECOND_US
AHEAD_US = 120 * SECOND_US  # pings with a later time are treated like late ones
STEP_S = 0.5  # from one transaction to the next
MAX_REFRESHED = 1000  # encounters that go on, stored again in one transaction
RETELL_US = 10 * 60 * SECOND_US  # pings that were stored before the first find have been read by then
CLUSTER_US = 10 * 60 * SECOND_US  # late pings with a longer gap between them are repaired one after the other


class Finder:
    """Finds and stores the encounters of `scope`.

    `tell` is called in each transaction with the rows that it deletes and inserts.
    """

    def __init__(
        self, scope: Scope, *, watermark: int, tell: storage.Tell, find_from: int | None = None
    ) -> None:
        """Reads the stored pings around the watermark; earlier encounters must be stored.

        With `find_from`, `repair` also finds those that started between this time and the watermark. They are
        not told.
        """
        self._to_find = None if find_from is None else (find_from, watermark)
        self._retell_until = watermark  # the find without messages may have stored what late pings change
        self._scope = scope
        self._tell = tell
        self._engine = Engine(Parameters(), scope)
        self._late: list[Rows] = []  # to repair
        self._to_repair: list[Rows] = []  # encounters that have ended and miss pings
        begin, margin_us = watermark - WARM_UP_US, self._engine.parameters.margin_us
        columns = neighbours.ping_columns()
        for start in range(begin, watermark, MINUTE_US):
            until = min(start + MINUTE_US, watermark)
            self._engine.feed(columns.read(start=start, end=until), until=until)
        self._engine.mark_incomplete(before=begin + margin_us)
        self._engine.take(columns.read(start=watermark, end=watermark + AHEAD_US))
        # (PERSON_TIME) to repair when the watermark has passed them
        self._early = _whole(columns.person_minutes(start=watermark + AHEAD_US))
        stored = storage.ongoing(scope)  # by the process before this one
        is_open = self._engine.mark_stored(stored)
        self._repair_later(stored[~(is_open | self._engine.knows(stored))])

    def find_overdue(self) -> None:
        """Lets stored encounters that should have ended be repaired: nobody else ends them.

        They are left by repairs of encounters that the engine does not know, and by processes that died.
        """
        before = self.watermark - self._engine.parameters.max_gap_us
        # Stored encounters are so much older than those of the engine: only few of these are read.
        steps = 1 + self._engine.to_refresh // MAX_REFRESHED
        stored = storage.ongoing(self._scope, before=before - round(steps * STEP_S * SECOND_US))
        self._repair_later(stored[~self._engine.knows(stored)])

    def _repair_later(self, encounters: Rows) -> None:
        if len(encounters):  # or the list would grow until there is something to repair
            self._to_repair.append(encounters)

    @property
    def watermark(self) -> int:
        """Microseconds; a ping before it is late."""
        assert self._engine.watermark is not None  # noqa: S101 - set by the constructor
        return self._engine.watermark

    @property
    def is_first(self) -> bool:
        """Whether the encounters before the first start are still to be found."""
        return self._to_find is not None

    @property
    def has_repairs(self) -> bool:
        return bool(self._to_find or self._late or self._to_repair)

    def take(self, pings: Rows) -> None:
        """Takes pings (PING) in the order in which they arrived."""
        is_late, is_early = pings["time"] < self.watermark, pings["time"] >= self.watermark + AHEAD_US
        if is_late.any():
            self._add_late(selected(pings[is_late], PERSON_TIME))
        if is_early.any():
            early = _minutes(pings[is_early])
            self._early = np.unique(np.concatenate([self._early, early]))
            self._late.append(early)
        self._engine.take(pings[~(is_late | is_early)])

    def _add_late(self, late: Rows) -> None:
        self._late.append(late)
        self._engine.mark_late(late)

    def advance(self, watermark: int) -> None:
        """Stores what has started, changed or ended. All pings before `watermark` have come."""
        self._take_early(watermark)
        ended = self._engine.close(watermark)
        self._repair_later(self._engine.take_incomplete())
        changed, withdrawn = self._engine.take_changes(MAX_REFRESHED)
        if len(ended) or len(changed) or len(withdrawn):
            storage.save(np.concatenate([ended, changed]), withdrawn=withdrawn, tell=self._tell)

    def _take_early(self, watermark: int) -> None:
        """Treats early pings as late ones once the watermark has passed them."""
        has_passed = self._early["time"] < watermark
        if has_passed.any():
            self._add_late(self._early[has_passed])
            self._early = self._early[~has_passed]

    def repair(self, beat: Callable[[], None] = lambda: None) -> Iterator[backfill.Progress]:
        """Finds again what late pings change; yields after each part.

        All pings that were taken before a part must be stored. `beat` is called often.
        """
        work = backfill.Work(self._scope, lambda: self.watermark, self._tell, beat)
        if self._to_find is not None:
            start, end = map(from_microseconds, self._to_find)
            self._to_find = None
            yield from backfill.find(start=start, end=end, work=replace(work, tell=self._tell_replaced))
            self._retell_until = self.watermark + RETELL_US
        late, self._late = np.sort(_concatenated(self._late, PERSON_TIME), order="time"), []
        unfinished, self._to_repair = _concatenated(self._to_repair, ENCOUNTER), []
        for cluster in np.split(late, np.flatnonzero(np.diff(late["time"]) > CLUSTER_US) + 1):
            if len(cluster):
                people = np.unique(cluster["person_id"]).tolist()
                first, last = int(cluster["time"][0]), int(cluster["time"][-1])
                yield from backfill.repair(people, first=first, last=last, work=work)
                if self.watermark < self._retell_until:
                    margin_us = self._engine.parameters.margin_us
                    scope = replace(self._scope, people=people)
                    stored = storage.reaching(first - margin_us, last + margin_us, scope)
                    self._tell(stored[:0], stored)
        if len(unfinished):
            yield from backfill.repair_pairs(unfinished, work=work)

    def _tell_replaced(self, gone: Rows, new: Rows) -> None:
        """Tells what replaces stored encounters, because these may have been told, and nothing else."""
        if len(gone):
            self._tell(gone, new[is_among(pairs(new), pairs(gone))])


def _concatenated(arrays: Sequence[Rows], kind: np.dtype[Any]) -> Rows:
    return np.concatenate([np.empty(0, kind), *arrays])


def _minutes(pings: Rows) -> Rows:
    """The minutes of each person's pings (PERSON_TIME): fewer than the pings."""
    minutes = selected(pings, PERSON_TIME)
    minutes["time"] -= minutes["time"] % MINUTE_US
    return _whole(np.unique(minutes))


def _whole(minutes: Rows) -> Rows:
    """The first and the last moment of each minute."""
    ends = minutes.copy()
    ends["time"] += MINUTE_US - 1
    return np.concatenate([minutes, ends])
