"""The event's day asked at each door, beside the bare SQL: how much longer, how soon, in what memory."""

import http.client
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import psutil

from bench.alternatives import rows
from bench.event import WHOLE, Event
from bench.question import WITHIN_S, Statement, ever, met, near
from bench.report import Part, Spread, in_turn, seconds
from grpc_server import locations_pb2 as pb
from grpc_server.converter import to_timestamp
from grpc_server.locations_pb2_grpc import LocationServiceStub
from local.supervision import Supervisor
from local.tests.terminal import an_instance
from tests.gunicorn_server import Server, database_url
from tests.system import API, STAGES, System

FAR_M = 100  # of the large answer
READ = 65536  # bytes taken at a time
WARM = 4  # answers that do not count: each worker's first ones also connect it to the database
MB = 10**6

SQL = "bare SQL, rows fetched"
GRPC = "gRPC"
REST = "REST, beside the database"
LAST = "REST, at the last stage"
MOST = {GRPC: 2, REST: 3, LAST: 3}  # times the bare SQL


class Question(NamedTuple):
    """One of the event's person's day: the bare statement, a path of REST, and a call by gRPC."""

    sql: Statement
    path: str
    rpc: str
    request: Any


def parts(event: Event) -> Iterator[Part]:
    with doors() as there:
        yield beside_the_sql(event, there)
        yield a_large_answer(event, there)


# --- what is asked -------------------------------------------------------------------------------


def connections(event: Event, distance_m: float = 5, *, within: bool) -> Question:
    """At any time, or `within` the seconds that `near` allows."""
    within_s = WITHIN_S if within else None
    asked = event.question(distance_m)
    query = _range(event) | {"distance": distance_m} | ({} if within_s is None else {"within": within_s})
    return Question(
        near(event, distance_m) if within else ever(event, distance_m),
        f"/api/persons/{event.person_id}/connection?{urlencode(query)}",
        "FindConnections",
        pb.FindConnectionsRequest(**_message(event, asked), within_s=within_s),
    )


def encounters(event: Event, distance_m: float = 5) -> Question:
    asked = event.question(distance_m)
    return Question(
        met(event, distance_m),
        f"/api/persons/{event.person_id}/encounters?{urlencode(_range(event) | {'distance': distance_m})}",
        "FindEncounters",
        pb.FindEncountersRequest(**_message(event, asked)),
    )


def _range(event: Event) -> dict[str, Any]:
    return {"start_date": event.start.isoformat(), "end_date": event.end.isoformat()}


def _message(event: Event, asked: Mapping[str, Any]) -> dict[str, Any]:
    moments = {name: to_timestamp(asked[name]) for name in ("start", "end")}
    return {**asked, **moments, "person_id": event.person_id}


# --- where it is asked ---------------------------------------------------------------------------


class Answer(NamedTuple):
    """How much came, and when: seconds from the question to the first and to the last of it."""

    size: int  # bytes
    first_s: float
    last_s: float


class Doors(NamedTuple):
    """Real processes as they are deployed, all asking the settings' database."""

    beside: Server  # the whole API in one process, beside the database
    system: System  # at the last stage, through its proxy
    calls: LocationServiceStub

    def ask(self, way: str, question: Question, meanwhile: Callable[[], Any] = lambda: None) -> Answer:
        if way == GRPC:
            return timed(messages(getattr(self.calls, question.rpc), question.request), meanwhile)
        url = self.beside.url(question.path) if way == REST else self.system.url(question.path, API)
        return timed(body(url), meanwhile)

    def processes(self, way: str) -> list[psutil.Process]:
        """Those that the answer goes through."""
        if way == REST:
            heads = [self.beside.process.pid]
        else:
            rpc, running = Supervisor(self.system.instance).rpc, self.system.processes()
            names = ["locations"] if way == GRPC else ["locations", "connections"]
            heads = [rpc.getProcessInfo(running[name].program)["pid"] for name in names]
        return [each for head in map(psutil.Process, heads) for each in (head, *head.children())]


@contextmanager
def doors() -> Iterator[Doors]:
    with tempfile.TemporaryDirectory() as folder, an_instance(Path(folder)) as instance:
        system = System(instance, database_url(), "open")
        system.go(STAGES[-1])
        with (
            Server(ACCESS="open", SERVED_APPS="persons,locations,connections") as beside,
            system.grpc() as calls,
        ):
            yield Doors(beside, system, calls)


def messages(rpc: Callable[[Any], Iterator[Any]], request: Any) -> Iterator[int]:
    """How many bytes come, message by message, each of them parsed."""
    for message in rpc(request):
        yield message.ByteSize()


def body(url: str) -> Iterator[int]:
    """How many bytes come, some at a time; nobody parses them."""
    address = urlsplit(url)
    with closing(http.client.HTTPConnection(address.netloc)) as link:
        link.request("GET", f"{address.path}?{address.query}", headers={"Accept": "application/json"})
        answer = link.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{url}: {answer.status} {answer.read(200)!r}")
        yield len(answer.read(1))
        while some := answer.read(READ):
            yield len(some)


def last_s(there: Doors, way: str, question: Question) -> float:
    return there.ask(way, question).last_s


def timed(sizes: Iterator[int], meanwhile: Callable[[], Any]) -> Answer:
    begun = time.perf_counter()
    size, first_s = 0, 0.0
    for each in sizes:
        first_s = first_s or time.perf_counter() - begun
        size += each
        meanwhile()
    return Answer(size, first_s, time.perf_counter() - begun)


# --- what is measured ----------------------------------------------------------------------------


def beside_the_sql(event: Event, there: Doors) -> Part:
    part = Part("The doors, beside the bare SQL")
    part.text(
        f"One person's day ({event.own:,} own pings among {event.pings_that_day:,}), asked in turn. The bare "
        "SQL is one statement whose rows psycopg2 fetches into tuples. An answer by gRPC is read and parsed, "
        f"one of REST read to its end. The last stage ({STAGES[-1]}) answers through the proxy, from the "
        "process of connections, which asks locations by gRPC and persons by HTTP."
    )
    asked = {
        f"`connection`, 5 m within {WITHIN_S:g} s": connections(event, within=True),
        "`connection`, 5 m at any time": connections(event, within=False),
        f"`encounters`, 5 m within {WITHIN_S:g} s": encounters(event),
    }
    rounds = 3 + 8 * event.people // WHOLE
    worst = dict.fromkeys(MOST, 0.0)
    lines = []
    for name, question in asked.items():
        ways: dict[str, Callable[[], float]] = {SQL: partial(seconds, partial(rows, *question.sql))}
        ways |= {way: partial(last_s, there, way, question) for way in MOST}
        found = in_turn(ways, WARM + rounds)
        took = {way: Spread(spread.values[WARM:]) for way, spread in found.items()}
        count = f"{len(rows(*question.sql)):,}"
        for way, spread in took.items():
            times = spread.median / took[SQL].median
            lines.append((name, count, way, spread.ms(), f"{times:.2f}"))
            if way in MOST:
                worst[way] = max(worst[way], times)
    for way, most in MOST.items():
        part.target(
            f"{way}: beside the bare SQL with its rows fetched",
            f"at most {most} x",
            f"at most {worst[way]:.2f} x",
            met=worst[way] <= most,
        )
    part.table(("question", "rows", "asked by", "median (least to most)", "times the bare SQL"), lines)
    return part


def a_large_answer(event: Event, there: Doors) -> Part:
    part = Part("A large answer: how soon it begins, and in what memory")
    question = connections(event, FAR_M, within=False)
    part.text(
        f"`connection` of the same day, {FAR_M} m at any time: {len(rows(*question.sql)):,} rows. Memory is "
        "the most, while the answer is read, that the processes it goes through have beyond what they had "
        f"after a small answer; sampled each {READ // 1024} KiB, or each message."
    )
    small = connections(event, within=True)
    lines, early, constant = [], [], []
    for way in MOST:
        there.ask(way, small)
        processes = there.processes(way)
        before = memory(processes)
        most = before

        def look(processes: list[psutil.Process] = processes) -> None:
            nonlocal most
            most = max(most, memory(processes))

        asked = [there.ask(way, question, look) for _ in range(3)]
        first, last = (Spread([getattr(each, name) for each in asked]) for name in ("first_s", "last_s"))
        size = asked[0].size
        early.append(first.median / last.median)
        constant.append((most - before) / size)
        growth = f"{(most - before) / MB:.1f} MB"
        lines.append((way, f"{size / MB:.1f} MB", first.ms(), last.ms(), growth))
    part.target(
        "a large answer: the first byte well before the last row is found",
        "in the first half of the time",
        f"after {max(early):.0%} of the time",
        met=max(early) <= 0.5,
    )
    part.target(
        "a large answer: constant memory",
        "less than a tenth of what is sent",
        f"{max(constant):.0%} of what is sent",
        met=max(constant) < 0.1,
    )
    part.table(("door", "sent", "first byte", "last byte", "memory beyond"), lines)
    return part


def memory(processes: list[psutil.Process]) -> int:
    """Bytes resident."""
    return sum(each.memory_info().rss for each in processes)
