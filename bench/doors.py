"""The event's day asked at each door, beside the bare SQL."""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench.event import DISTANCE_M, WITHIN_S, Event, Statement, rows
from bench.report import Part, timed
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


Question = tuple[Statement, str, Callable[[], Any]]  # the same as SQL, as a path of REST, as a gRPC call


def questions(event: Event, calls: LocationServiceStub) -> dict[str, Question]:
    """By name. Answers by gRPC are parsed."""

    def call(rpc: Callable[[Any], Iterator[Any]], request: Any) -> Callable[[], Any]:
        return lambda: list(rpc(request))

    start, end = to_timestamp(event.start), to_timestamp(event.end)
    asked: dict[str, Any] = {
        "person_id": event.person_id,
        "start": start,
        "end": end,
        "distance_m": DISTANCE_M,
    }
    return {
        f"`connection`, 5 m within {WITHIN_S:g} s": (
            event.connections(WITHIN_S),
            rest_path(event, "connection", within=WITHIN_S),
            call(calls.FindConnections, pb.FindConnectionsRequest(**asked, within_s=WITHIN_S)),
        ),
        "`connection`, 5 m at any time": (
            event.connections(None),
            rest_path(event, "connection"),
            call(calls.FindConnections, pb.FindConnectionsRequest(**asked)),
        ),
        f"`encounters`, 5 m within {WITHIN_S:g} s": (
            event.encounters(),
            rest_path(event, "encounters"),
            call(calls.FindEncounters, pb.FindEncountersRequest(**asked)),
        ),
    }


def rest_path(event: Event, what: str, **query: Any) -> str:
    query |= {"start_date": event.start.isoformat(), "end_date": event.end.isoformat()}
    return f"/api/persons/{event.person_id}/{what}?{urlencode({**query, 'distance': DISTANCE_M})}"


def read(server: Server | System, path: str) -> None:
    """Reads the bytes of an answer, without parsing them."""
    with server.get(path, headers={"Accept": "application/json"}, stream=True) as answer:
        answer.raise_for_status()
        while answer.raw.read(READ):
            pass


def parts(event: Event) -> Iterator[Part]:
    part = Part("The doors, beside the bare SQL")
    part.text(
        f"One person's day ({event.own:,} own pings among {event.pings_that_day:,}), asked alternately. The "
        "bare SQL is one statement whose rows psycopg2 fetches into tuples. Answers by gRPC are parsed; "
        f"those of REST are read to the end. The last stage ({STAGES[-1]}) answers through the proxy, from "
        "the process of connections, which asks locations by gRPC and persons by HTTP."
    )
    worst = dict.fromkeys(MOST, 0.0)
    lines = []
    with tempfile.TemporaryDirectory() as folder, an_instance(Path(folder)) as instance:
        last_stage = System(instance, database_url(), "open")
        last_stage.go(STAGES[-1])
        beside = Server(ACCESS="open", SERVED_APPS="persons,locations,connections")
        with beside, last_stage.grpc() as calls:
            for name, (sql, path, call) in questions(event, calls).items():
                rest = {REST: partial(read, beside, path), LAST: partial(read, last_stage, path)}
                ways: dict[str, Any] = {SQL: partial(rows, *sql), GRPC: call, **rest}
                timed(ways, WARM)
                took, answers = timed(ways, event.scaled(11, 3))
                count = f"{len(answers[SQL]):,}"
                for way, spread in took.items():
                    times = spread.median / took[SQL].median
                    lines.append((name, count, way, spread.ms(), f"{times:.2f}"))
                    worst[way] = max(worst.get(way, 0), times)
    for way, most in MOST.items():
        what = f"{way}: beside the bare SQL with its rows fetched"
        part.target(what, f"at most {most} x", f"at most {worst[way]:.2f} x", met=worst[way] <= most)
    part.table(("question", "rows", "asked by", "median (least to most)", "times the bare SQL"), lines)
    yield part
