"""The question beside what a user would have instead: the same rows, in turn, in one run."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from bench import alternatives
from bench.alternatives import Rows
from bench.event import Event
from bench.report import Part, Spread, in_turn, seconds
from locations import limits, proximity_sql

DISTANCE_M = 5
WITHIN_S = limits.WITHIN_S
ROUNDS = 3  # with the slow ways; afterwards as many again of the quick ones alone
LOOP_STEPS = 3

Statement = tuple[str, dict[str, Any]]


def near(event: Event, distance_m: float = DISTANCE_M, person_id: int | None = None) -> Statement:
    """`connection`, within 60 s."""
    return proximity_sql.connections_sql(
        person_id or event.person_id, **event.question(distance_m), within_s=WITHIN_S, after=None, limit=None
    )


def ever(event: Event, distance_m: float = DISTANCE_M) -> Statement:
    """`connection`, any time of the day."""
    return proximity_sql.connections_sql(
        event.person_id, **event.question(distance_m), within_s=None, after=None, limit=None
    )


def met(event: Event, distance_m: float = DISTANCE_M) -> Statement:
    """`encounters`."""
    return proximity_sql.encounters_sql(
        event.person_id,
        **event.question(distance_m),
        within_s=WITHIN_S,
        max_gap_s=limits.MAX_GAP_S,
        min_duration_s=0,
        after=None,
        limit=None,
    )


def parts(event: Event, *, judged: bool = True) -> Iterator[Part]:
    """`judged`: whether it is the event that the targets are about."""
    alternatives.build()
    memory = alternatives.InMemory(event, DISTANCE_M, WITHIN_S)
    found: dict[str, Rows] = {}

    def keep(name: str, ask: Any) -> float:
        def act() -> None:
            found[name] = ask()

        return seconds(act)

    slow = {
        "plain self-join, within": partial(alternatives.self_join, event, DISTANCE_M, WITHIN_S),
        "plain self-join, any time": partial(alternatives.self_join, event, DISTANCE_M, None),
        "loop": partial(alternatives.loop, event, DISTANCE_M, LOOP_STEPS),
    }
    quick = {
        "self-join, position and time": partial(
            alternatives.self_join, event, DISTANCE_M, WITHIN_S, table="bench_points_time"
        ),
        "connection, within": partial(alternatives.rows, *near(event)),
        "connection, any time": partial(alternatives.rows, *ever(event)),
        "encounters": partial(alternatives.rows, *met(event)),
        "k-d tree": memory.places,
        "k-d tree, rows": memory.rows,
    }
    ways = {name: partial(keep, name, ask) for name, ask in (slow | quick).items()}
    took = in_turn(ways, ROUNDS)
    again = in_turn({name: ways[name] for name in quick}, 3 * ROUNDS)
    for name, spread in again.items():
        took[name] = Spread([*took[name].values, *spread.values])
    each = Spread([value * event.own / LOOP_STEPS for value in took["loop"].values])
    took["loop"] = each

    part = Part(f"The question at {event.pings:,} pings, beside other ways to ask it")
    part.text(
        f"{event.people:,} people. One person's day: {event.own:,} own pings among {event.pings_that_day:,}, "
        f"{DISTANCE_M} m, {WITHIN_S:g} s. Every way fetches its rows. Of the loop {LOOP_STEPS} own pings "
        f"were timed in each round, and what all {event.own:,} take was reckoned from that."
    )
    names = {
        "loop": "one statement for each own ping, cast to geography, B-tree on geometry (UdaConnect)",
        "plain self-join, any time": "plain self-join, GiST on position, any time",
        "plain self-join, within": "plain self-join, GiST on position, within 60 s",
        "self-join, position and time": "the same, GiST on position and time",
        "connection, any time": "Connect: `connection`, any time",
        "connection, within": "Connect: `connection`, within 60 s",
        "encounters": "Connect: `encounters`",
        "k-d tree": "k-d tree in memory, already built, within 60 s: which rows",
        "k-d tree, rows": "the same, with the rows",
    }
    base = took["plain self-join, within"].median
    part.table(
        ("way to ask", "rows", "median (least to most)", "times as fast as the plain self-join within 60 s"),
        [
            (
                what,
                "" if name == "loop" else f"{len(found[name]):,}",
                took[name].ms(),
                f"{base / took[name].median:,.3g}",
            )
            for name, what in names.items()
        ],
    )
    within = (
        "connection, within",
        "plain self-join, within",
        "self-join, position and time",
        "k-d tree, rows",
    )
    same = all(found[name] == found[within[0]] for name in within)
    same &= found["connection, any time"] == found["plain self-join, any time"]
    part.text(f"All answers to one question are {'the same, row by row' if same else '**NOT the same**'}.")
    if judged:
        judge(part, {name: spread.median for name, spread in took.items()})
    yield part


def judge(part: Part, took: dict[str, float]) -> None:
    ratio = took["plain self-join, within"] / took["connection, within"]
    part.target("`connection`, within 60 s", "100 x the plain self-join", f"{ratio:,.0f} x", met=ratio >= 100)
    ratio = took["connection, within"] / took["k-d tree"]
    part.target(
        "the same beside the k-d tree in memory",
        "as near as it goes, 4 x",
        f"{ratio:.1f} x; beside one that makes its rows "
        f"{took['connection, within'] / took['k-d tree, rows']:.1f} x",
        met=ratio <= 4,
    )
    ratio = took["plain self-join, any time"] / took["connection, any time"]
    part.target("`connection`, any time", "8 x the plain self-join", f"{ratio:,.0f} x", met=ratio >= 8)
    ratio = took["encounters"] / took["connection, within"]
    part.target("`encounters`", "1.5 x `connection` within 60 s", f"{ratio:.2f} x", met=ratio <= 1.5)
