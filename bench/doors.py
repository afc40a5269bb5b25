"""The event's day asked at each door, beside the bare SQL."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from bench.event import WITHIN_S, Event, Statement, rows
from bench.report import Part, Spread, alternately, seconds
from grpc_server import locations_pb2 as pb
from grpc_server.converter import to_timestamp
from grpc_server.locations_pb2_grpc import LocationServiceStub
from local.tests.terminal import an_instance
from tests.gunicorn_server import Server, database_url
from tests.system import STAGES, System

READ = 65536  # bytes read at once
WARM = 4  # first answers, which do not count: workers connect to the database

SQL = "bare SQL, rows fetched"
GRPC = "gRPC"
REST = "REST, beside the database"
LAST = "REST, at the last stage"
MOST = {GRPC: 2, REST: 3, LAST: 3}  # times the bare SQL


class Question(NamedTuple):
    """The same question as a statement, a path of REST and a gRPC call."""

    sql: Statement
    path: str
    rpc: str
    request: Any

    @classmethod
    def connections(cls, event: Event, within_s: float | None, distance_m: float = 5) -> "Question":
        within = {} if within_s is None else {"within": within_s}
        return cls(
            event.connections(within_s, distance_m),
            rest_path(event, "connection", distance=distance_m, **within),
            "FindConnections",
            pb.FindConnectionsRequest(**message(event, distance_m), within_s=within_s),
        )

    @classmethod
    def encounters(cls, event: Event) -> "Question":
        path, request = rest_path(event, "encounters"), pb.FindEncountersRequest(**message(event, 5))
        return cls(event.encounters(), path, "FindEncounters", request)


def rest_path(event: Event, what: str, **query: Any) -> str:
    query = {"start_date": event.start.isoformat(), "end_date": event.end.isoformat(), **query}
    return f"/api/persons/{event.person_id}/{what}?{urlencode(query)}"


def message(event: Event, distance_m: float) -> dict[str, Any]:
    start, end = to_timestamp(event.start), to_timestamp(event.end)
    return {"person_id": event.person_id, "start": start, "end": end, "distance_m": distance_m}


class Doors(NamedTuple):
    """Real processes as they are deployed, all on the bench's database."""

    beside: Server  # the whole API in one process
    system: System  # at the last stage, through its proxy
    calls: LocationServiceStub

    def ask(self, way: str, question: Question) -> None:
        """Messages are parsed; of a body only the bytes are read."""
        if way == GRPC:
            list(getattr(self.calls, question.rpc)(question.request))
            return
        server = self.beside if way == REST else self.system
        with server.get(question.path, headers={"Accept": "application/json"}, stream=True) as answer:
            answer.raise_for_status()
            while answer.raw.read(READ):
                pass


@contextmanager
def all_doors() -> Iterator[Doors]:
    with tempfile.TemporaryDirectory() as folder, an_instance(Path(folder)) as instance:
        system = System(instance, database_url(), "open")
        system.go(STAGES[-1])
        beside = Server(ACCESS="open", SERVED_APPS="persons,locations,connections")
        with beside, system.grpc() as calls:
            yield Doors(beside, system, calls)


def parts(event: Event) -> Iterator[Part]:
    with all_doors() as doors:
        yield beside_the_sql(event, doors)


def beside_the_sql(event: Event, doors: Doors) -> Part:
    part = Part("The doors, beside the bare SQL")
    part.text(
        f"One person's day ({event.own:,} own pings among {event.pings_that_day:,}), asked alternately. The "
        "bare SQL is one statement whose rows psycopg2 fetches into tuples. Answers by gRPC are parsed; "
        f"those of REST are read to the end. The last stage ({STAGES[-1]}) answers through the proxy, from "
        "the process of connections, which asks locations by gRPC and persons by HTTP."
    )
    asked = {
        f"`connection`, 5 m within {WITHIN_S:g} s": Question.connections(event, WITHIN_S),
        "`connection`, 5 m at any time": Question.connections(event, None),
        f"`encounters`, 5 m within {WITHIN_S:g} s": Question.encounters(event),
    }
    worst = dict.fromkeys(MOST, 0.0)
    lines = []
    for name, question in asked.items():
        ways = {SQL: partial(rows, *question.sql)} | {way: partial(doors.ask, way, question) for way in MOST}
        timed = {way: partial(seconds, ask) for way, ask in ways.items()}
        found = alternately(timed, WARM + 3 + int(8 * event.share))
        took = {way: Spread(spread.values[WARM:]) for way, spread in found.items()}
        count = f"{len(rows(*question.sql)):,}"
        for way, spread in took.items():
            times = spread.median / took[SQL].median
            lines.append((name, count, way, spread.ms(), f"{times:.2f}"))
            worst[way] = max(worst.get(way, 0), times)
    for way, most in MOST.items():
        what = f"{way}: beside the bare SQL with its rows fetched"
        part.target(what, f"at most {most} x", f"at most {worst[way]:.2f} x", met=worst[way] <= most)
    part.table(("question", "rows", "asked by", "median (least to most)", "times the bare SQL"), lines)
    return part
