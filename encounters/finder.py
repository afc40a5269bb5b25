"""Finds everybody's encounters while pings arrive, some of them late. It knows no Kafka.

Pings are fed to the engine in order of time, up to the watermark; those after it are pending. To tell an
encounter as soon as it starts, each step feeds the pending pings to a copy of the engine. Late pings, before
the watermark, are not fed: their people are remembered, and the encounters concerned are found again in the
stored pings. So are encounters that began long before this process.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from connect import neighbours
from connect.wire_format import from_microseconds
from encounters import backfill, storage
from encounters.engine import Engine, Parameters
from encounters.rows import ENCOUNTER, PERSON_TIME, Rows, is_among, keys, pairs, selected
from encounters.scope import Scope

SECOND_US = 1_000_000
WARM_UP_US = 5 * 60 * SECOND_US  # encounters that began in this time before the start are known completely
MINUTE_US = 60 * SECOND_US
AHEAD_US = 120 * SECOND_US  # pings with a later time are treated like late ones
MAX_REFRESHED = 2000  # encounters that go on, stored again in one step
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
        self._scope = scope
        self._tell = tell
        self._engine = Engine(Parameters(), scope)
        self._margin_us = self._engine.parameters.margin_us
        self._late: list[Rows] = []  # to repair
        self._early: list[Rows]  # (PERSON_TIME) to repair when the watermark has passed them
        self._recently_late = np.empty(0, PERSON_TIME)
        self._to_repair: list[Rows] = []  # encounters that have ended and miss pings
        self._told = np.empty(0, ENCOUNTER)  # those that go on, as they are stored
        begin = watermark - WARM_UP_US
        columns = neighbours.ping_columns()
        for start in range(begin, watermark, MINUTE_US):
            until = min(start + MINUTE_US, watermark)
            self._engine.feed(columns.read(start=start, end=until), until=until)
        self._engine.mark_incomplete(before=begin + self._margin_us)
        self._pending = [columns.read(start=watermark, end=watermark + AHEAD_US)]
        self._early = [_whole(columns.person_minutes(start=watermark + AHEAD_US))]
        self._resume(begin + self._margin_us)

    def _resume(self, known_from: int) -> None:
        """Takes over the stored encounters that go on."""
        stored = storage.ongoing(self._scope)
        known = (stored["start"] >= known_from) & is_among(keys(stored), keys(self._engine.open_encounters))
        self._told = stored[known]
        self._find_overdue(stored[~known])

    def find_overdue(self) -> None:
        """Lets stored encounters that should have ended be repaired: nobody else ends them.

        They are left by repairs of encounters that the engine does not know, and by processes that died.
        """
        self._find_overdue(
            storage.ongoing(self._scope, before=self.watermark - self._engine.parameters.max_gap_us)
        )

    def _find_overdue(self, stored: Rows) -> None:
        unknown = ~is_among(keys(stored), keys(self._told))
        unknown &= ~is_among(pairs(stored), pairs(self._engine.incomplete_encounters))
        self._to_repair.append(stored[unknown])

    @property
    def watermark(self) -> int:
        """Microseconds; a ping before it is late."""
        assert self._engine.watermark is not None  # noqa: S101 - set by the constructor
        return self._engine.watermark

    @property
    def has_repairs(self) -> bool:
        return self._to_find is not None or any(len(each) for each in [*self._late, *self._to_repair])

    def take(self, pings: Rows) -> None:
        """Takes pings (PING) in the order in which they arrived."""
        is_late, is_early = pings["time"] < self.watermark, pings["time"] >= self.watermark + AHEAD_US
        if is_late.any():
            self._add_late(selected(pings[is_late], PERSON_TIME))
        if is_early.any():
            early = _minutes(pings[is_early])
            self._early.append(early)
            self._late.append(early)
        self._pending.append(pings[~(is_late | is_early)])

    def _add_late(self, late: Rows) -> None:
        self._late.append(late)
        self._recently_late = np.concatenate([self._recently_late, late])
        # Also people with older ones: their encounters may have begun before them.
        self._engine.incomplete_people = np.unique(self._recently_late["person_id"])
        self._engine.mark_incomplete()
        self._update_late_people()

    def _update_late_people(self) -> None:
        recent = self._recently_late["time"] >= self.watermark - self._margin_us
        self._recently_late = self._recently_late[recent]
        self._engine.incomplete_people = np.unique(self._recently_late["person_id"])

    def advance(self, watermark: int) -> None:
        """Stores what has started, changed or ended. All pings before `watermark` have come."""
        pending = np.concatenate(self._pending)
        is_due = pending["time"] < watermark
        due, later = pending[is_due], pending[~is_due]
        ended = [np.empty(0, ENCOUNTER)]
        while self.watermark < watermark:  # in steps, because late people are forgotten step by step
            until = min(self.watermark + MINUTE_US, watermark)
            is_next = (due["time"] >= self.watermark) & (due["time"] < until)
            ended.append(self._engine.feed(due[is_next], until=until))
            self._update_late_people()
        self._pending = [later]
        self._to_repair.append(self._engine.take_incomplete())
        self._take_early()
        ahead = self._engine.copy()
        until = max(self.watermark, int(later["time"].max()) + 1) if len(later) else self.watermark
        going_on = np.concatenate([ahead.feed(later, until=until), ahead.open_encounters])
        going_on["ongoing"] = True
        incomplete = np.concatenate([ahead.incomplete_encounters, ahead.take_incomplete(), *self._to_repair])
        self._store(np.concatenate(ended), going_on, pairs(incomplete))

    def _take_early(self) -> None:
        """Treats early pings as late ones once the watermark has passed them."""
        if self._early:
            early = np.concatenate(self._early)
            has_passed = early["time"] < self.watermark
            self._early = [early[~has_passed]] if not has_passed.all() else []
            if has_passed.any():
                self._add_late(early[has_passed])

    def _store(self, ended: Rows, going_on: Rows, incomplete: Rows) -> None:
        # Rows of encounters that miss pings stay until they are repaired.
        told = self._told[~is_among(pairs(self._told), incomplete)]
        told_keys, going_on_keys = keys(told), keys(going_on)
        known = is_among(going_on_keys, told_keys)
        goes_on = is_among(told_keys, going_on_keys)
        new = going_on[~known]
        stale = self._stale(going_on[known], told)
        withdrawn = told_keys[~goes_on & ~is_among(told_keys, keys(ended))]
        changed = np.concatenate([ended, new, stale])
        if len(changed) or len(withdrawn):
            storage.save(changed, withdrawn=withdrawn, tell=self._tell)
        same = goes_on & ~is_among(told_keys, keys(stale))
        self._told = np.concatenate([told[same], new, stale])

    def _stale(self, going_on: Rows, told: Rows) -> Rows:
        """The encounters that differ from what is stored: at most MAX_REFRESHED, the oldest versions."""
        changed = going_on[~is_among(going_on, told)]
        if len(changed) <= MAX_REFRESHED:
            return changed
        changed_keys = keys(changed)
        oldest = told[is_among(keys(told), changed_keys)]
        oldest = oldest[np.argsort(oldest["end"])[:MAX_REFRESHED]]
        return changed[is_among(changed_keys, keys(oldest))]

    def repair(self, beat: Callable[[], None] = lambda: None) -> Iterator[backfill.Progress]:
        """Finds again what late pings change; yields after each part.

        All pings that were taken before a part must be stored. `beat` is called often.
        """
        work = backfill.Work(self._scope, self.watermark, self._tell, beat)
        if self._to_find is not None:
            start, end = map(from_microseconds, self._to_find)
            self._to_find = None
            yield from backfill.find(start=start, end=end, work=replace(work, tell=None))
        late, self._late = np.sort(_concatenated(self._late, PERSON_TIME), order="time"), []
        unfinished, self._to_repair = _concatenated(self._to_repair, ENCOUNTER), []
        for cluster in np.split(late, np.flatnonzero(np.diff(late["time"]) > CLUSTER_US) + 1):
            if len(cluster):
                people = np.unique(cluster["person_id"]).tolist()
                first, last = int(cluster["time"][0]), int(cluster["time"][-1])
                yield from backfill.repair(people, first=first, last=last, work=work)
        if len(unfinished):
            yield from backfill.repair_pairs(unfinished, work=work)


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
