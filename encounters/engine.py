"""Finds everybody's encounters in pings that come in any order after a watermark.

The answer is that of `locations.proximity_sql.encounters_sql` for every person, to the bit: the same chords,
the same geodesic where a chord leaves a doubt, the same order of equals. The tests compare the two.

All pings are columns, and all steps work on whole columns: a k-d tree finds the pairs of new pings, a sort
groups them, and the groups are merged with the encounters that go on. A step costs what its pings cost,
however many encounters go on. Times are integers, microseconds since 1970; coordinates are WGS84 degrees.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from hirola import HashTable
from numpy.typing import NDArray

from encounters.groups import NEVER, OPEN, Groups, couple_keys, extended, grouped, results, stored_keys
from encounters.nearness import GROWTH, TWO_NUMBERS, NearPings, Pairs, RecentKeys
from encounters.rows import ENCOUNTER, KEY, Numbers, Rows, in_order, is_among, keys, pairs, unique
from encounters.scope import EVERYTHING, Scope
from locations.limits import DISTANCE_M, MAX_GAP_S, WITHIN_S

MAX_DISTANCE_M = 1000  # up to here the shortest chord of an encounter gives the shortest distance
MAX_CANDIDATES = 1_000_000  # pairs in memory, on average; some 200 bytes each
FIRST_CHUNK = 2000  # pings; the number of their pairs says how many the next chunk takes
MAX_CHUNK = 100_000
_SPARE_COUPLES = 100_000
_NOT_OPEN = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of encounters. Their bounds are those of the question."""

    distance_m: float = DISTANCE_M
    within_s: float = WITHIN_S
    max_gap_s: float = MAX_GAP_S

    def __post_init__(self) -> None:
        if not 0 < self.distance_m <= MAX_DISTANCE_M:
            raise ValueError(f"The distance must be more than 0 and at most {MAX_DISTANCE_M} m.")

    @property
    def within_us(self) -> int:
        return round(self.within_s * 1_000_000)

    @property
    def max_gap_us(self) -> int:
        return round(self.max_gap_s * 1_000_000)

    @property
    def margin_us(self) -> int:
        """A ping changes only encounters with a pair less than this before or after it."""
        return self.within_us + self.max_gap_us


class Engine:
    """Takes pings and returns the encounters in `scope` that have ended.

    In memory are the pings from `within_s` before the watermark on, and the encounters that may go on: those
    whose last pair is at most `max_gap_s` before it. Two people are a couple, with a number; of each couple
    one encounter is open, and others may be leaving: they have ended unless pings come out of order.
    """

    def __init__(self, parameters: Parameters | None = None, scope: Scope = EVERYTHING) -> None:
        self.parameters = parameters or Parameters()
        self._scope = scope
        self.watermark: int | None = None  # every ping before this time has come
        self._late_people = HashTable(1000, np.int64, almost_full=GROWTH)
        self._newest_late = np.empty(0, np.int64)  # of each of them the time of a ping
        self._chunk_size = FIRST_CHUNK
        self._next_serial = 0
        self._incomplete = np.empty(0, ENCOUNTER)
        self._withdrawn = [np.empty(0, KEY)]
        self._forget()

    def _forget(self) -> None:
        self._near = NearPings(distance_m=self.parameters.distance_m, within_us=self.parameters.within_us)
        self._counted = RecentKeys()  # (encounter, ping): their serials
        self._leaving = np.empty(0, OPEN)
        self._replace_couples(np.empty(0, OPEN))

    def _replace_couples(self, rows: Rows) -> None:
        """Numbers the couples of these open encounters anew, and forgets all others."""
        self._most_couples = 2 * len(rows) + _SPARE_COUPLES
        size = int(self._most_couples / GROWTH[0]) + 1
        self._couples = HashTable(size, TWO_NUMBERS, almost_full=GROWTH)
        self._couples.add(couple_keys(rows))
        self._open = np.empty(self._couples.max, OPEN)  # by the number of the couple
        # As in _open, but _NOT_OPEN if the row is none. In one piece, because all are looked through.
        self._last_pair = np.full(self._couples.max, _NOT_OPEN)
        self._open[: len(rows)], self._last_pair[: len(rows)] = rows, rows["last_pair"]
        self._is_touched = np.zeros(self._couples.max, bool)
        self._to_refresh = np.empty(0, np.int64)  # couples, in the order in which their encounters changed
        self._is_to_refresh = np.zeros(self._couples.max, bool)

    # --- pings ---------------------------------------------------------------------------------------

    def feed(self, pings: Rows, *, until: int) -> Rows:
        """Takes all pings (PING) from the previous `until` to before `until`, in any order.

        Of several pings of the same person and time the first one counts. Returns the encounters (ENCOUNTER)
        that cannot go on, ordered by start, person_a_id, person_b_id.
        """
        if self.watermark is not None and until < self.watermark:
            raise ValueError("`until` must not be before the previous one.")
        if len(pings):
            if pings["time"].max() >= until:
                raise ValueError("A ping is not between the previous `until` and this one.")
            pings = self._in_time_order(pings)
        ended = [self._close(int(rest["time"][0])) for rest in self._taken(pings) if len(rest)]
        ended.append(self.close(until))
        return in_order(np.concatenate(ended))

    def take(self, pings: Rows) -> None:
        """Takes pings (PING) from the watermark on, in any order."""
        for _ in self._taken(self._in_time_order(pings)):
            pass

    def _taken(self, pings: Rows) -> Iterator[Rows]:
        """Takes pings chunk by chunk; yields after each chunk the pings that are left."""
        while len(pings):
            size = self._chunk_size
            self._take(pings[:size])
            pings = pings[size:]
            yield pings

    def close(self, until: int) -> Rows:
        """Moves the watermark. Returns the encounters (ENCOUNTER) that cannot go on, in no order.

        Those with missing pings are left out: `take_incomplete` has them.
        """
        self.watermark = until
        return self._close(until)

    def finish(self) -> Rows:
        """Returns the encounters that could go on, as they are so far. No more pings come."""
        ended = self.open_encounters
        ended["ongoing"] = False
        self._forget()
        return ended

    def _in_time_order(self, pings: Rows) -> Rows:
        pings = pings[np.argsort(pings["time"], kind="stable")]
        if len(pings) and self.watermark is not None and pings["time"][0] < self.watermark:
            raise ValueError("A ping is not between the previous `until` and this one.")
        return pings

    # --- what misses pings -----------------------------------------------------------------------------

    def mark_late(self, late: Rows) -> None:
        """Says that these pings (PERSON_TIME) are not fed. Encounters that they may change miss pings."""
        index = self._late_people.add(late["person_id"])
        new = np.full(len(self._late_people) - len(self._newest_late), NEVER)
        self._newest_late = np.concatenate([self._newest_late, new])
        np.maximum.at(self._newest_late, index, late["time"])

    def mark_incomplete(self, *, before: int) -> None:
        """Says that the open encounters that start before a time miss pings."""
        couples = np.flatnonzero(self._last_pair != _NOT_OPEN)
        early = results(self._open[couples])["start"] < before
        self._open["incomplete"][couples[early]] = True

    def _misses_pings(self, rows: Rows) -> NDArray[np.bool_]:
        found = rows["incomplete"].copy()
        if len(self._newest_late):
            since = rows["first_pair"] - self.parameters.margin_us
            for side in "ab":
                at = self._late_people.get(rows[f"person_{side}_id"])
                found |= (at >= 0) & (self._newest_late[at] >= since)
        return found

    def take_incomplete(self) -> Rows:
        """The encounters (ENCOUNTER) with missing pings that have ended since the last call."""
        found, self._incomplete = self._incomplete, np.empty(0, ENCOUNTER)
        return found

    # --- the encounters that go on -----------------------------------------------------------------------

    @property
    def open_encounters(self) -> Rows:
        """The encounters (ENCOUNTER) that may go on, as they are so far, ordered as those of `feed`.

        Those with missing pings are left out.
        """
        rows = np.concatenate([self._open[self._last_pair != _NOT_OPEN], self._leaving])
        found = in_order(results(rows[~self._misses_pings(rows)]))
        found["ongoing"] = True
        return found

    def take_changes(self, most_refreshed: int) -> tuple[Rows, Rows]:
        """The encounters (ENCOUNTER) to store again, and the stored keys (KEY) to delete.

        First are the encounters that have started since the last call, or of which the start has changed.
        Then come those that went on, at most `most_refreshed`, the others with a later call.
        """
        couples = np.flatnonzero(self._is_touched)
        self._is_touched[couples] = False
        couples, found = self._complete(couples)
        is_new = found["start"] != self._open["stored_start"][couples]
        self._withdraw(self._open[couples[is_new]], found[is_new])
        self._open["stored_start"][couples[is_new]] = found["start"][is_new]
        self._refresh_later(couples[~is_new])
        self._is_to_refresh[couples[is_new]] = False
        due, self._to_refresh = self._to_refresh[:most_refreshed], self._to_refresh[most_refreshed:]
        due = unique(due[self._is_to_refresh[due]])
        self._is_to_refresh[due] = False
        _, again = self._complete(due[self._open["stored_start"][due] != NEVER])
        changed = np.concatenate([found[is_new], again])
        changed["ongoing"] = True
        withdrawn, self._withdrawn = np.concatenate(self._withdrawn), [np.empty(0, KEY)]
        return changed, withdrawn

    def _refresh_later(self, couples: Numbers) -> None:
        couples = couples[~self._is_to_refresh[couples]]
        self._is_to_refresh[couples] = True
        self._to_refresh = np.concatenate([self._to_refresh, couples])

    @property
    def to_refresh(self) -> int:
        """The number of stored encounters of which `take_changes` has not returned the latest state."""
        return len(self._to_refresh)

    def mark_stored(self, encounters: Rows) -> NDArray[np.bool_]:
        """Says that encounters (ENCOUNTER) are stored. Returns for each whether it is open and complete."""
        couples = self._couples.get(couple_keys(encounters))
        known = np.flatnonzero(couples >= 0)
        _, found = self._complete(couples[known])
        is_open = is_among(keys(encounters), keys(found))
        same = couples[is_open]
        self._open["stored_start"][same] = encounters["start"][is_open]
        self._refresh_later(same)
        return is_open

    def knows(self, encounters: Rows) -> NDArray[np.bool_]:
        """Whether each stored encounter (ENCOUNTER) will be stored again, or repaired, when it ends."""
        couples = self._couples.get(couple_keys(encounters))
        couples = couples[couples >= 0]
        rows = np.concatenate([self._open[couples[self._last_pair[couples] != _NOT_OPEN]], self._leaving])
        incomplete = rows[self._misses_pings(rows)]
        return is_among(keys(encounters), stored_keys(rows)) | is_among(pairs(encounters), pairs(incomplete))

    def _complete(self, couples: Numbers) -> tuple[Numbers, Rows]:
        """The couples with an open encounter that misses no pings, and these encounters (ENCOUNTER)."""
        couples = couples[self._last_pair[couples] != _NOT_OPEN]
        rows = self._open[couples]
        complete = ~self._misses_pings(rows)
        return couples[complete], results(rows[complete])

    def _withdraw(self, rows: Rows, encounters: Rows) -> None:
        """Notes the keys under which these encounters (OPEN) are stored, if their start has changed."""
        moved = (rows["stored_start"] != NEVER) & (rows["stored_start"] != encounters["start"])
        if moved.any():
            self._withdrawn.append(stored_keys(rows[moved]))

    # --- one chunk ---------------------------------------------------------------------------------

    def _take(self, fresh: Rows) -> None:
        near = self._near.add(fresh)
        per_ping = max(self._near.candidates / len(fresh), 1)
        self._chunk_size = int(min(MAX_CANDIDATES / per_ping, 4 * len(fresh), MAX_CHUNK)) or 1
        near = self._in_scope(near)
        groups = grouped(near, self._near.pings, self._numbers, self.parameters.max_gap_us)
        while len(groups.rows):  # of each couple one group
            first = np.ones(len(groups.couple), bool)
            first[1:] = groups.couple[1:] != groups.couple[:-1]
            if first.all():
                self._merge(groups)
                break
            self._merge(groups.only(np.flatnonzero(first)))
            groups = groups.only(np.flatnonzero(~first))

    def _in_scope(self, near: Pairs) -> Pairs:
        if self._scope is EVERYTHING:
            return near
        one, other = (self._near.pings["person_id"][each] for each in (near.older, near.newer))
        return near.only(self._scope.covers(np.minimum(one, other), np.maximum(one, other)))

    def _numbers(self, people: NDArray[np.int64]) -> Numbers:
        """The numbers of couples, from their ids in the shape (n, 2)."""
        couple: Numbers = self._couples.add(people)
        more = self._couples.max - len(self._open)
        if more > 0:
            self._open = np.concatenate([self._open, np.empty(more, OPEN)])
            self._last_pair = np.concatenate([self._last_pair, np.full(more, _NOT_OPEN)])
            self._is_touched = np.concatenate([self._is_touched, np.zeros(more, bool)])
            self._is_to_refresh = np.concatenate([self._is_to_refresh, np.zeros(more, bool)])
        return couple

    def _merge(self, groups: Groups) -> None:
        """Adds groups, one of a couple, each to the open encounter that it goes on with, or as a new one."""
        rows, couple = groups.rows, groups.couple
        is_open, before = self._last_pair[couple] != _NOT_OPEN, self._open[couple]
        goes_on = is_open & self._is_one(before, rows)
        is_older = is_open & ~goes_on & (rows["last_pair"] < before["first_pair"])
        irregular = is_older | self._reaches_leaving(groups)
        if irregular.any():  # two encounters become one, or one begins before another
            self._set_apart(groups, irregular)
            groups = groups.only(np.flatnonzero(~irregular))
            self._merge(groups)
            return
        ends = is_open & ~goes_on
        if ends.any():
            self._leaving = np.concatenate([self._leaving, before[ends]])
        rows["serial"] = before["serial"]
        rows["serial"][~goes_on] = self._new_serials(int(np.count_nonzero(~goes_on)))
        self._count(groups)
        rows[goes_on] = extended(before[goes_on], rows[goes_on])
        self._open[couple], self._last_pair[couple] = rows, rows["last_pair"]
        self._is_touched[couple] = True

    def _new_serials(self, count: int) -> Numbers:
        self._next_serial += count
        return np.arange(self._next_serial - count, self._next_serial)

    def _count(self, groups: Groups) -> None:
        """Takes off the pings that are counted already."""
        for side, (group, ping) in groups.met.items():
            encounter, serial = groups.rows["serial"][group], self._near.serials[ping]
            again = group[~self._counted.add(encounter, serial, self._near.pings["time"][ping])]
            groups.rows[f"pings_{side}"] -= np.bincount(again, minlength=len(groups.rows)).astype(np.int32)

    def _reaches_leaving(self, groups: Groups) -> NDArray[np.bool_]:
        """Whether a group goes on with an encounter that is leaving."""
        found, rows, leaving = np.zeros(len(groups.rows), bool), groups.rows, self._leaving
        if len(leaving) and len(rows):
            couple = self._couples.get(couple_keys(leaving))
            at = np.minimum(np.searchsorted(groups.couple, couple), len(rows) - 1)
            found[at[(groups.couple[at] == couple) & self._is_one(leaving, rows[at])]] = True
        return found

    def _is_one(self, rows: Rows, others: Rows) -> NDArray[np.bool_]:
        """Whether two encounters (OPEN) of a couple are one: the step between them is at most max_gap."""
        gap = self.parameters.max_gap_us
        found: NDArray[np.bool_] = (others["first_pair"] - gap <= rows["last_pair"]) & (
            rows["first_pair"] - gap <= others["last_pair"]
        )
        return found

    def _set_apart(self, groups: Groups, irregular: NDArray[np.bool_]) -> None:
        """Lets these groups leave as they are. All encounters of their couples are repaired."""
        apart = groups.rows[irregular]
        apart["incomplete"], apart["serial"] = True, self._new_serials(len(apart))
        self._leaving["incomplete"] |= is_among(pairs(self._leaving), pairs(apart))
        self._leaving = np.concatenate([self._leaving, apart])
        couple = groups.couple[irregular]
        self._open["incomplete"][couple] = True  # those that are not open are overwritten

    def _close(self, until: int) -> Rows:
        """Forgets what no ping from `until` on can reach. Returns the encounters that have ended."""
        last = until - self.parameters.max_gap_us
        couples = np.flatnonzero(self._last_pair[: len(self._couples)] < last)
        has_left = self._leaving["last_pair"] < last
        ended = np.concatenate([self._open[couples], self._leaving[has_left]])
        self._last_pair[couples] = _NOT_OPEN
        self._leaving = self._leaving[~has_left]
        self._near.forget(until - self.parameters.within_us)
        self._counted.forget(until - self.parameters.within_us)
        if len(self._couples) > self._most_couples:
            self._renumber_couples()
        missing = self._misses_pings(ended)
        self._incomplete = np.concatenate([self._incomplete, results(ended[missing])])
        found = results(ended[~missing])
        self._withdraw(ended[~missing], found)
        return found

    def _renumber_couples(self) -> None:
        couples = np.flatnonzero(self._last_pair != _NOT_OPEN)
        number = np.full(len(self._last_pair), -1)
        number[couples] = np.arange(len(couples))
        to_refresh, is_touched = number[self._to_refresh], self._is_touched[couples]
        self._replace_couples(self._open[couples])
        self._is_touched[: len(couples)] = is_touched
        self._refresh_later(to_refresh[to_refresh >= 0])


def find(pings: Rows, parameters: Parameters | None = None) -> Rows:
    """All encounters (ENCOUNTER) in these pings (PING)."""
    if not len(pings):
        return np.empty(0, ENCOUNTER)
    engine = Engine(parameters)
    ended = engine.feed(pings, until=int(pings["time"].max()) + 1)
    return in_order(np.concatenate([ended, engine.finish()]))
