"""However pings arrive, in the end the finders have stored what the question answers."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connect.wire_format import to_microseconds
from encounters import engine, storage
from encounters.engine import Parameters
from encounters.finder import Finder
from encounters.models import Encounter
from encounters.rows import PING, Rows, keys
from encounters.scope import Scope
from encounters.tests.asked import asked, columns, in_order
from encounters.tests.test_engine import dense_events
from locations import storage as locations
from locations.pings import Ping
from locations.tests.test_proximity import DAY, NOON, PLACES, at, events, replace_all

HERE = at(PLACES["Berlin"], 0, 0)
SECOND = 1_000_000
START = to_microseconds(NOON)
LATENESS = 5 * SECOND

pytestmark = pytest.mark.django_db


@dataclass
class Told:
    """What a reader of the messages knows: the newest state of each encounter."""

    state: dict[tuple, str] = field(default_factory=dict)
    started: list[tuple] = field(default_factory=list)

    def __call__(self, gone: Rows, new: Rows) -> None:
        for key in keys(gone).tolist():
            self.state.pop(key, None)
        for key, ongoing in zip(keys(new).tolist(), new["ongoing"].tolist(), strict=True):
            self.state[key] = "ongoing" if ongoing else "ended"
            if ongoing and key not in self.started:
                self.started.append(key)


@dataclass
class Process:
    """A finder with its last checkpoint: the watermark, and the number of batches before it."""

    scope: Scope
    told: Told
    watermark: int
    taken: int = 0

    def start(self, batches: list[Rows]) -> None:
        self.finder = Finder(self.scope, watermark=self.watermark, tell=self.told)
        for batch in batches[self.taken :]:
            self.finder.take(batch)

    def step(self, batch: Rows, watermark: int) -> None:
        self.finder.take(batch)
        self.finder.advance(max(watermark, self.finder.watermark))

    def repair(self, taken: int) -> None:
        self.finder.find_overdue()
        for _ in self.finder.repair():
            pass
        self.watermark, self.taken = self.finder.watermark, taken


def arrivals(event: list[Ping], delays: list[float], step_s: int) -> Iterator[tuple[int, list[Ping]]]:
    """(time of arrival, pings) in batches of `step_s`, until all encounters have ended."""
    late = sorted(
        (ping.creation_time + timedelta(seconds=delay), n, ping)
        for n, (ping, delay) in enumerate(zip(event, delays, strict=True))
    )
    moment = NOON
    while late or moment < NOON + timedelta(seconds=900):
        moment += timedelta(seconds=step_s)
        arrived = [ping for when, _, ping in late if when <= moment]
        late = [each for each in late if each[0] > moment]
        yield to_microseconds(moment), arrived


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), events() | dense_events(), st.frozensets(st.integers(1, 4)), st.sampled_from([1, 2, 3]))
def test_in_the_end_the_table_is_the_question(monkeypatch, data, event, hidden, processes):
    monkeypatch.setattr(engine, "_SPARE_COUPLES", 1)  # so that few couples are numbered anew
    delay = st.sampled_from([0.0, 0.5, 2.0, 2.0, 2.0, 4.0, 30.0, 200.0, 700.0, -30.0, -400.0])
    event = event + data.draw(st.lists(st.sampled_from(event), max_size=5), "repeats")
    delays = data.draw(st.lists(delay, min_size=len(event), max_size=len(event)), "delays")
    restarts = data.draw(st.sets(st.integers(5, 60), max_size=3), "restarts")
    repair_every = data.draw(st.sampled_from([1, 2, 4, 1000]), "repair_every")
    people = sorted({ping.person_id for ping in event})
    replace_all([Ping(each, NOON - timedelta(days=1), 0.0, 0.0) for each in people], hidden)
    Encounter.objects.all().delete()

    told, batches = Told(), []
    finders = [
        Process(Scope(frozenset([shard]), processes), told, START - 100 * SECOND)
        for shard in range(processes)
    ]
    for each in finders:
        each.start([])
    for nth, (moment, arrived) in enumerate(arrivals(event, delays, 15)):
        locations.record(arrived)
        batches.append(columns(arrived))
        for each in finders:
            if nth in restarts:
                each.start(batches[:-1])
            each.step(batches[-1], moment - LATENESS)
            if nth % repair_every == 0:
                each.repair(len(batches))
    end = to_microseconds(NOON) + 3000 * SECOND
    for each in finders:
        each.step(np.empty(0, PING), end)
        each.repair(len(batches))
        each.step(np.empty(0, PING), end + SECOND)
        each.finder.find_overdue()
        assert not each.finder.has_repairs

    expected = asked(people, Parameters(), **DAY)
    stored = {
        person_id: list(storage.seen_by(person_id, start=DAY["start"], end=DAY["end"]))
        for person_id in people
    }
    assert in_order(stored) == in_order(expected)
    assert not Encounter.objects.filter(ongoing=True).exists()
    everything = keys(storage.ongoing(Scope())).tolist()
    assert everything == []
    assert set(told.state) == {
        (to_microseconds(start), a, b) for start, a, b in Encounter.objects.values_list("pk", flat=True)
    }
    assert set(told.state.values()) <= {"ended"}


def together(*person_ids: int, seconds: range) -> list[Ping]:
    return [Ping(each, NOON + timedelta(seconds=n), *HERE) for each in person_ids for n in seconds]


def follow(finder: Finder, event: list[Ping], late: list[tuple[int, Ping]], until: int) -> None:
    """Steps every 10 s, with a repair after each. `late` pings come at their seconds."""
    for second in range(0, until, 10):
        arrived = [
            each for each in event if second - 10 < (each.creation_time - NOON).total_seconds() <= second
        ]
        arrived += [ping for when, ping in late if when == second]
        locations.record(arrived)
        finder.take(columns(arrived))
        finder.advance(max(finder.watermark, START + second * SECOND - LATENESS))
        finder.find_overdue()
        for _ in finder.repair():
            pass


def test_one_ping_that_is_minutes_late_stays_in_the_encounter_that_goes_on():
    event = together(1, 2, seconds=range(0, 600, 10))
    late = event.pop(20)
    replace_all([Ping(each, NOON - timedelta(days=1), 0.0, 0.0) for each in (1, 2)])
    told = Told()
    finder = Finder(Scope(), watermark=START - 100 * SECOND, tell=told)
    follow(finder, event, [(410, late)], 800)
    [encounter] = Encounter.objects.all()
    assert (encounter.pings_a, encounter.pings_b, encounter.ongoing) == (60, 60, False)


def test_an_encounter_that_goes_on_is_not_ended_by_repairs():
    event = together(1, 2, seconds=range(0, 600, 10))
    always_late = [(when, *together(3, seconds=range(when - 40, when - 39))) for when in range(40, 600, 10)]
    replace_all([Ping(each, NOON - timedelta(days=1), 0.0, 0.0) for each in (1, 2, 3)])
    told = Told()
    finder = Finder(Scope(), watermark=START - 100 * SECOND, tell=told)
    follow(finder, event, always_late, 590)
    assert set(told.state.values()) == {"ongoing"}
    assert Encounter.objects.filter(ongoing=True).count() == 3
    follow(finder, [], [], 900)
    assert set(told.state.values()) == {"ended"}
    assert Encounter.objects.filter(ongoing=True).count() == 0
    expected = asked([1, 2, 3], Parameters(), **DAY)
    stored = {each: list(storage.seen_by(each, start=DAY["start"], end=DAY["end"])) for each in (1, 2, 3)}
    assert in_order(stored) == in_order(expected)
