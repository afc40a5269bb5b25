"""The question with more pings stored, and from many clients at once."""

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

from bench.event import INTERVAL_S, WITHIN_S, Event, Rows, Statement, rows
from bench.report import Part, alternately, seconds

ROUNDS = 10
CLIENTS = (1, 4, 16)


def parts(event: Event) -> Iterator[Part]:
    yield sizes(event)
    yield clients(event)


def sizes(event: Event) -> Part:
    """The same day of the same event, in databases of their own with more days."""
    databases = {event.pings: connection}
    for days in event.days:
        larger = new_database(f"bench_{days}_days")
        store_days(larger, event, days)
        rows("VACUUM ANALYZE locations_location", on=larger)
        [(pings,)] = rows("SELECT count(*) FROM locations_location", on=larger)
        databases[pings] = larger
    asked = {"within 60 s": event.connections(WITHIN_S), "any time": event.connections(None)}
    found: dict[tuple[str, int], Rows] = {}

    def measure(name: str, pings: int) -> float:
        def ask() -> None:
            found[name, pings] = rows(*asked[name], on=databases[pings])

        return seconds(ask)

    took = alternately(
        {(name, pings): partial(measure, name, pings) for name in asked for pings in databases}, ROUNDS
    )
    part = Part("The same day, with more days stored")
    part.table(
        ("pings stored", "bytes per ping, with indexes", *asked),
        [
            (f"{pings:,}", f"{size(one) / pings:,.0f}", *(took[name, pings].ms() for name in asked))
            for pings, one in databases.items()
        ],
    )
    same = all(found[name, pings] == found[name, event.pings] for name, pings in found)
    part.text(f"The answers are {'the same, row by row' if same else '**NOT the same**'}.")
    for pings in list(databases)[1:]:
        ratio = took["within 60 s", pings].median / took["within 60 s", event.pings].median
        most = 1.2 if pings <= 20 * event.pings else 1.5
        what = f"from {event.pings:,} to {pings:,} pings, within 60 s"
        part.target(what, f"{most} x", f"{ratio:.2f} x", met=ratio <= most)
        databases[pings].close()
    return part


def size(database: Any) -> int:
    sql = "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('locations_location')"
    return int(rows(sql, on=database)[0][0])


def new_database(name: str) -> Any:
    """A connection to a new database of the same cluster."""
    rows(f"CREATE DATABASE {name}")
    other = connection.copy()
    other.settings_dict = other.settings_dict | {"NAME": name}
    return other


def store_days(database: Any, event: Event, days: int) -> None:
    """Stores the first two days as the event has them, then the others."""
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{database.settings_dict['NAME']}").geturl()
    simulate = ["simulate", f"--people={event.people}", f"--interval={INTERVAL_S}"]
    commands = [["migrate"], [*simulate, "--days=2"]]
    if days > 2:
        third = (event.start + timedelta(days=2)).date()
        commands.append([*simulate, f"--start={third}", f"--days={days - 2}"])
    for command in commands:
        line = [sys.executable, "manage.py", *command, "--verbosity=0"]
        subprocess.run(line, env=os.environ | {"DATABASE_URL": url}, check=True)


def clients(event: Event) -> Part:
    """The days of different people; each client has its own connection."""
    people = rows("SELECT id FROM persons_person ORDER BY id LIMIT 48")
    statements = [event.connections(WITHIN_S, person_id=person_id) for (person_id,) in people]

    def ask(share: Sequence[Statement]) -> None:
        own = connection.copy()
        for statement in share:
            rows(*statement, on=own)
        own.close()

    def per_s(count: int) -> float:
        shares = [statements[nth::count] for nth in range(count)]
        with ThreadPoolExecutor(count) as pool:
            return len(statements) / seconds(lambda: list(pool.map(ask, shares)))

    rates = alternately({count: partial(per_s, count) for count in CLIENTS}, ROUNDS // 2)
    part = Part("Many clients at once")
    head = ("clients", "questions per second (least to most)")
    part.table(head, [(str(count), rate.rate()) for count, rate in rates.items()])
    for count in CLIENTS[1:]:
        ratio = rates[count].median / rates[1].median
        part.target(f"{count} clients at once", "throughput holds (1 x)", f"{ratio:.2f} x", met=ratio >= 1)
    return part
