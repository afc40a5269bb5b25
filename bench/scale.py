"""The question with longer distances, more pings stored, and many who ask at once."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.db import connection

from bench import plans
from bench.alternatives import rows
from bench.event import INTERVAL_S, Event
from bench.question import DISTANCE_M, Statement, ever, near
from bench.report import Part, in_turn, seconds

ROUNDS = 5
DISTANCES_M = (1, 5, 25, 100, 1000)
ASKERS = (1, 4, 16)


def parts(event: Event, days: Sequence[int]) -> Iterator[Part]:
    """`days` are those stored in each of the larger databases."""
    yield distances(event)
    yield sizes(event, days)
    yield askers(event)


# --- distances -----------------------------------------------------------------------------------


def distances(event: Event) -> Part:
    """What a question costs, beside the rows that its plan looks at: those that its index scans give."""
    asked = {
        (name, distance_m): statement(event, distance_m)
        for distance_m in DISTANCES_M
        for name, statement in (("within 60 s", near), ("any time", ever))
    }
    took = in_turn(
        {key: partial(seconds, partial(rows, *statement)) for key, statement in asked.items()}, ROUNDS
    )
    table, costs = [], {}
    for (name, distance_m), statement in asked.items():
        looked_at, found = looked_at_and_found(statement)
        spread = took[name, distance_m]
        costs[name, distance_m] = spread.median / looked_at * 1e6
        each = f"{costs[name, distance_m]:.2f} us"
        table.append((f"{distance_m:,} m, {name}", f"{looked_at:,}", f"{found:,}", spread.ms(), each))
    table.sort(key=lambda row: "any" in row[0])
    part = Part("Longer distances")
    head = ("`connection`", "rows looked at", "rows found", "median (least to most)", "for each looked at")
    part.table(head, table)
    dearest = {
        name: max(costs[name, distance_m] for distance_m in DISTANCES_M if distance_m > DISTANCE_M)
        / costs[name, DISTANCE_M]
        for name in ("within 60 s", "any time")
    }
    said = ", ".join(f"{name} {ratio:.1f} x" for name, ratio in dearest.items())
    part.target(
        "25, 100 m and 1 km: a row looked at, beside one at 5 m",
        "no cliff: in proportion (3 x)",
        f"at most {said}",
        met=max(dearest.values()) <= 3,
    )
    return part


def looked_at_and_found(statement: Statement) -> tuple[int, int]:
    """The rows that the index scans of a plan give, and those of its answer."""
    top = plans.run(statement, "TIMING OFF,")
    looked_at = sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in plans.nodes(top)
        if node["Node Type"] in ("Index Scan", "Bitmap Heap Scan")
    )
    return looked_at, top["Actual Rows"]


# --- sizes ---------------------------------------------------------------------------------------


def sizes(event: Event, days: Sequence[int]) -> Part:
    """The same day of the same event, in databases of their own that hold more days of it."""
    databases = {event.pings: connection}
    bytes_each = {event.pings: bytes_a_ping(connection, event.pings)}
    for count in days:
        other = beside(f"bench_{count}_days")
        store_days(other, event, count)
        with other.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE locations_location")
            cursor.execute("SELECT count(*) FROM locations_location")
            [pings] = cursor.fetchone()
        databases[pings] = other
        bytes_each[pings] = bytes_a_ping(other, pings)
    asked = {"within 60 s": near(event), "any time": ever(event)}
    found: dict[tuple[str, int], Any] = {}

    def ask(name: str, pings: int) -> None:
        with databases[pings].cursor() as cursor:
            cursor.execute(*asked[name])
            found[name, pings] = cursor.fetchall()

    took = in_turn(
        {(name, pings): partial(seconds, partial(ask, name, pings)) for name in asked for pings in databases},
        2 * ROUNDS,
    )
    part = Part("More days stored, the same day asked")
    part.table(
        ("pings stored", "bytes a ping, indexes included", *asked),
        [
            (f"{pings:,}", f"{bytes_each[pings]:,.0f}", *(took[name, pings].ms() for name in asked))
            for pings in databases
        ],
    )
    same = all(found[name, pings] == found[name, event.pings] for name, pings in found)
    part.text(f"The answers are {'the same, row by row' if same else '**NOT the same**'}.")
    for pings in databases:
        if pings > event.pings:
            ratio = took["within 60 s", pings].median / took["within 60 s", event.pings].median
            most = 1.2 if pings <= 20 * event.pings else 1.5
            part.target(
                f"from {event.pings:,} to {pings:,} pings, within 60 s",
                f"{most} x",
                f"{ratio:.2f} x",
                met=ratio <= most,
            )
    for other in databases.values():
        other.close()
    return part


def bytes_a_ping(one: Any, pings: int) -> float:
    with one.cursor() as cursor:
        cursor.execute(
            "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('locations_location')"
        )
        [size] = cursor.fetchone()
    return float(size) / pings


def beside(name: str) -> Any:
    """A connection to a new database of the same cluster."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    other = connection.copy()
    other.settings_dict = other.settings_dict | {"NAME": name}
    return other


def store_days(other: Any, event: Event, days: int) -> None:
    url = urlsplit(os.environ["DATABASE_URL"])
    environ = os.environ | {"DATABASE_URL": url._replace(path=f"/{other.settings_dict['NAME']}").geturl()}
    simulate = ["simulate", f"--people={event.people}", f"--interval={INTERVAL_S}"]

    def manage(*command: str) -> None:
        subprocess.run([sys.executable, "manage.py", *command, "--verbosity=0"], env=environ, check=True)

    manage("migrate")
    manage(*simulate, "--days=2")  # those asked about, as the event has them
    cores = os.cpu_count() or 1
    cuts = [2 + (days - 2) * nth // cores for nth in range(cores + 1)]

    def more(first: int, last: int) -> None:
        if first < last:
            manage(
                *simulate, f"--start={(event.start + timedelta(days=first)).date()}", f"--days={last - first}"
            )

    with ThreadPoolExecutor(cores) as pool:  # the others, a part for each core
        list(pool.map(more, cuts, cuts[1:]))


# --- askers --------------------------------------------------------------------------------------


def askers(event: Event) -> Part:
    """Different people's days, each asker with a connection of its own."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM persons_person ORDER BY id LIMIT 48")
        statements = [near(event, person_id=person_id) for (person_id,) in cursor.fetchall()]

    def throughput(count: int) -> float:
        def ask(share: Sequence[Statement]) -> None:
            own = connection.copy()
            with own.cursor() as cursor:
                for statement in share:
                    cursor.execute(*statement)
                    cursor.fetchall()
            own.close()

        shares = [statements[n::count] for n in range(count)]
        with ThreadPoolExecutor(count) as pool:
            return len(statements) / seconds(lambda: list(pool.map(ask, shares)))

    rates = in_turn({count: partial(throughput, count) for count in ASKERS}, ROUNDS)
    part = Part("Many who ask at once")
    part.table(
        ("askers", "questions a second (least to most)"),
        [(str(count), rate.rate()) for count, rate in rates.items()],
    )
    for count in ASKERS[1:]:
        ratio = rates[count].median / rates[1].median
        part.target(f"{count} askers at once", "throughput holds (1 x)", f"{ratio:.2f} x", met=ratio >= 1)
    return part
