"""Ingest at the last stage: broker, database, server, writer and load, real processes on the same cores.

Beside each figure stands what a bare COPY of the same rows into the same table reaches in the same run.
"""

import csv
import io
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from bench import load, mixed_load
from bench.event import Event
from bench.report import Part, Spread, in_turn, seconds
from bench.system import BATCH, ROUNDS, System, copied, durability, month_start, truncate, unwritten
from consumers.lag import Observer
from local import kafka
from locations import partitions
from locations.pings import MAX_BATCH, Ping
from locations.storage import record
from persons.models import Person
from tests.gunicorn_server import Server, until

UDACONNECT_PER_S = 295  # POST /api/locations of a UdaConnect API with two workers on two cores


def parts(event: Event) -> Iterator[Part]:
    with kafka.throwaway_storage() as storage, ExitStack() as stack:
        broker = replace(storage, options=kafka.HEAP)
        running = stack.enter_context(kafka.running(broker))
        settings.PINGS_URL = broker.url
        settings.KAFKA_TIMEOUT_S = 60.0
        people = list(Person.objects.order_by("id").values_list("id", flat=True))
        system = System(event, people, broker, {"broker": running.pid})
        partitions.ensure((month_start(month).year, month_start(month).month) for month in range(8))
        yield _writer(system)
        yield _doors(system)
        yield mixed_load.live(system)
        yield mixed_load.end_to_end(system)
        yield _files(system)
        yield _growth(system)


# --- the writer ----------------------------------------------------------------------------------


def _writer(system: System) -> Part:
    part = Part("Ingest: the writer, beside a bare COPY")
    count = int(1_000_000 * system.whole)
    pings = list(islice(system.walk(0), count))
    system.new_topic()
    with system.door() as door:
        load.send(door.address, [load.request(each) for each in load.batches(iter(pings), BATCH)])

    def write() -> float:
        """From the first that is written, so without the start of the process, to the last."""
        settings.KAFKA_GROUP = f"bench-{time.time_ns()}"
        observer = Observer()
        with system.writer():
            until(lambda: unwritten(observer) < count, at_most_s=60)
            left = unwritten(observer)
            took = seconds(lambda: until(lambda: not unwritten(observer), at_most_s=600))
        observer.close()
        truncate(0)
        return left / took

    found = in_turn({"copy": lambda: copied(pings, 0), "writer": write}, ROUNDS)
    ratio = found["writer"].median / found["copy"].median
    part.target(
        "the writer, from a full topic",
        "at least 0.7 x a bare COPY of the same rows",
        f"{ratio:.2f} x",
        met=ratio >= 0.7,
    )
    part.table(
        ("way in", "locations/s"),
        [("bare COPY, batches of 10,000", found["copy"].rate()), ("the writer", found["writer"].rate())],
    )
    part.text(
        f"{count:,} locations, {ROUNDS} rounds in turn. The COPY is sent ready-made text on one connection "
        f"and commits each batch. {durability()}"
    )
    return part


# --- the doors -----------------------------------------------------------------------------------


def _doors(system: System) -> Part:
    part = Part("Ingest: the doors, acknowledged by the broker")
    system.new_topic()
    batch_count = max(10, int(500 * system.whole))
    single_count, bulk_count = max(200, int(8000 * system.whole)), max(10, int(100 * system.whole))
    pings = system.walk(1)
    batches = [load.request(each) for each in islice(load.batches(pings, BATCH), batch_count)]
    singles = [load.wire(list(islice(pings, 1))) for _ in range(single_count)]
    bulks = [load.wire(list(islice(pings, BATCH))) for _ in range(bulk_count)]
    told = {"PINGS_URL": system.broker.url, "KAFKA_TOPIC": settings.KAFKA_TOPIC, "SERVED_APPS": "locations"}
    with system.door() as door, Server(**told) as web:
        load.post(web.port, singles[:100])
        found = in_turn(
            {
                "gRPC": lambda: load.send(door.address, batches),
                "single": lambda: load.post(web.port, singles),
                "bulk": lambda: load.post(web.port, bulks) * BATCH,
            },
            ROUNDS,
        )
    batch, single, bulk = (found[name].median for name in ("gRPC", "single", "bulk"))
    part.target(
        "gRPC, batches of 1,000, at the door alone",
        "at least 60,000 locations/s",
        f"{batch:,.0f}/s",
        met=batch >= 60_000,
    )
    part.target(
        "REST, single pings",
        f"at least 3 x the {UDACONNECT_PER_S}/s of a UdaConnect API",
        f"{single:,.0f}/s, {single / UDACONNECT_PER_S:.1f} x",
        met=single >= 3 * UDACONNECT_PER_S,
    )
    part.target(
        "REST, bulk of 1,000", "at least 20 x single", f"{bulk / single:.0f} x", met=bulk >= 20 * single
    )
    part.table(
        ("door", "locations/s"),
        [
            ("gRPC, two streams of batches of 1,000", found["gRPC"].rate()),
            ("REST, single pings, eight clients", found["single"].rate()),
            ("REST, arrays of 1,000, eight clients", found["bulk"].rate()),
        ],
    )
    part.text("No writer runs meanwhile. The REST door is gunicorn with its two workers of eight threads.")
    return part


# --- files, and a table that grows ---------------------------------------------------------------


def _files(system: System) -> Part:
    part = Part("Ingest: import_locations")
    pings = list(islice(system.walk(5), int(1_000_000 * system.whole)))

    def imported() -> float:
        took = seconds(lambda: call_command("import_locations", name, to="database", stdout=io.StringIO()))
        truncate(5)
        return len(pings) / took

    with tempfile.TemporaryDirectory() as folder:
        name = Path(folder) / "pings.csv"
        with name.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("person_id", "latitude", "longitude", "creation_time"))
            for ping in pings:
                moment = ping.to_wire()["creation_time"]
                rows.writerow((ping.person_id, ping.latitude, ping.longitude, moment))
        found = in_turn({"copy": lambda: copied(pings, 5), "import": imported}, ROUNDS)
    ratio = found["import"].median / found["copy"].median
    part.target(
        f"`import_locations` of {len(pings):,} rows",
        "at least 0.5 x a bare COPY of the finished rows",
        f"{ratio:.2f} x",
        met=ratio >= 0.5,
    )
    part.table(
        ("way in", "rows/s"),
        [("bare COPY", found["copy"].rate()), ("import_locations, from CSV", found["import"].rate())],
    )
    return part


def _growth(system: System) -> Part:
    part = Part("Ingest: a table that grows")
    last = max(1, int(1_000_000 * system.whole) // MAX_BATCH)
    count = 10 * last
    a_month_later = month_start(7) - month_start(6)
    grown, small = [], []
    for nth, batch in enumerate(islice(load.batches(system.walk(6), MAX_BATCH), count)):
        if nth >= count - last:
            same = [ping._replace(creation_time=ping.creation_time + a_month_later) for ping in batch]
            small.append(_rate(same))
        grown.append(_rate(batch))
    truncate(6)
    truncate(7)
    ratio = Spread([one / other for one, other in zip(grown[-last:], small, strict=True)]).median
    part.target(
        f"growth: rows/s at {count * MAX_BATCH:,} stored beside {last * MAX_BATCH:,}",
        "at least 0.9 x",
        f"{ratio:.2f} x",
        met=ratio >= 0.9,
    )
    tenths = range(last, count + 1, last)
    rows = [(f"up to {n * MAX_BATCH:,}", Spread(grown[n - last : n]).rate()) for n in tenths]
    rows.append((f"up to {last * MAX_BATCH:,}, in turn with the last", Spread(small).rate()))
    part.table(("rows stored", "rows/s"), rows)
    part.text(
        "All in one month's partition, by `record` in batches of 10,000. The machine's own speed drifts "
        "meanwhile, so the last rows were stored in turn with the same ones a month later, where none were, "
        "batch by batch; the ratio is the median of those pairs."
    )
    return part


def _rate(batch: Sequence[Ping]) -> float:
    return len(batch) / seconds(lambda: record(batch))
