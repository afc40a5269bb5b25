"""A system under load whose processes are killed, frozen and kept away, and what its clients notice."""

import contextlib
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from http.client import RemoteDisconnected
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
from confluent_kafka import KafkaException

from local import manifests
from local.instance import Instance, read_json
from local.manifests import Process
from local.polling import poll
from local.rollout import native_environ, own_settings, running_file
from local.supervision import Program, Supervisor, is_alive, tail
from tests.gunicorn_server import until
from tests.load import Answered, Api, Call, Load, identity, wire
from tests.system import Topic, at, the_broker

MOVERS = 24  # as many as it takes to have pings in nearly all partitions
CALM_S = 3.0  # nothing has failed for so long: it is well
PROMPT_S = 2.0  # what is taken is stored within
PATIENCE_S = 120.0
SLOW_S = 1.0  # who waits for longer notices that something is wrong
HELD_CLIENT = 9  # whose pings nobody else sends
SAME = "INSERT INTO locations_location (person_id, creation_time, latitude, longitude) VALUES (%s, %s, 0, 0)"
HEAD = (
    "| what happens | pings by REST | pings by gRPC | connections, encounters | locations | people "
    "| stored again | acknowledged | lost | doubled |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


@dataclass(frozen=True)
class Group:
    """Calls that need the same processes; while all of these are there none may fail.

    `door` is the one that their connections lead to.
    """

    kinds: tuple[str, ...]
    door: str
    needs: frozenset[str]

    def of(self, calls: Collection[Call]) -> list[Call]:
        return [one for one in calls if one.kind in self.kinds]


def group(*kinds: str, door: str, needs: str) -> Group:
    return Group(kinds, door, frozenset([door, *needs.split()]))


PINGS_BY_REST = group("ping", "pings in bulk", door="locations-rest", needs="kafka")
PINGS_BY_GRPC = group("gRPC ping", "gRPC pings in a stream", door="locations", needs="kafka")
QUESTIONS = group("connection", "encounters", door="connections", needs="persons locations postgis")
LOCATIONS = group("newcomer: locations", door="locations-rest", needs="locations postgis")
PEOPLE = group(
    "people read",
    "people written",
    "newcomer: person",
    door="persons",
    needs="postgis",
)
# Not in the table, because it needs nothing but its door.
LIVENESS = group("newcomer: liveness", door="persons", needs="")
GROUPS = (PINGS_BY_REST, PINGS_BY_GRPC, QUESTIONS, LOCATIONS, PEOPLE)


def is_honest(error: Exception, *, door_away: bool) -> bool:
    """It says that something is out of reach; a door that was killed cannot, its connections just end."""
    if isinstance(error, Answered):
        return error.status == 503 and "Retry-After" in error.headers
    if isinstance(error, grpc.RpcError):
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return door_away and isinstance(error, RemoteDisconnected)


@dataclass
class Trouble:
    """What was done to which processes, when it began and was over, and when all was well again."""

    what: str
    away: frozenset[str]
    began: float
    over: float
    stored: float = 0.0
    well: float = 0.0

    def row(self, calls: list[Call], pings: list[tuple[float, str]], stored: Counter[str]) -> str:
        own = [one for one in calls if self.began <= one.ended <= self.well]
        acknowledged = [ping for when, ping in pings if self.began <= when <= self.well]
        lost = sum(stored[ping] == 0 for ping in acknowledged)
        doubled = sum(stored[ping] > 1 for ping in acknowledged)
        cells = [self.what, *(self.cell(each.of(own)) for each in GROUPS)]
        cells += [
            f"{max(0, self.stored - self.over):.1f} s",
            f"{len(acknowledged):,}",
            f"{lost}",
            f"{doubled}",
        ]
        return f"| {' | '.join(cells)} |"

    def cell(self, calls: list[Call]) -> str:
        refused = sum(one.error is not None for one in calls)
        until = max((one.ended for one in calls if one.error or one.took_s > SLOW_S), default=self.over)
        return f"{refused} of {len(calls)}, {max(0, until - self.over):.1f} s"


class Site:
    """One system at its last stage, and the ways in which its processes are done harm."""

    def __init__(self, instance: Instance, token: str) -> None:
        self.instance, self.token = instance, token
        self.supervisor = Supervisor(instance)
        self.secrets = dict(line.split("=", 1) for line in (instance.state / "env").read_text().splitlines())
        self.database_url = self.secrets["DATABASE_URL"]
        self.broker = the_broker(instance, access="tokens")
        self.topic = Topic(self.broker)
        self.people = [one["id"] for one in self.api().ask("GET", "/api/persons?limit=100")]
        self.rows: list[str] = []

    def api(self) -> Api:
        return Api(self.instance.node_port(30001), token=self.token)

    def program(self, name: str) -> str:
        """Of a process; what the runner brings itself has its own name."""
        processes = read_json(running_file(self.instance))["processes"]
        return str(processes[name]["program"]) if name in processes else name

    def pid(self, name: str) -> int:
        """0 while it is not there."""
        return int(self.supervisor.programs()[self.program(name)]["pid"])

    def kill(self, name: str) -> None:
        """It and all that it has started, at once and without a word."""
        family = descendants(self.pid(name))
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not any(map(is_alive, family)))

    # --- writers ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def another_writer(self) -> Iterator[str]:
        """Beside the one that there is; gives its program's name, by which the database knows it, too."""
        name = "location-writer-another"
        process = self.described("location-writer")
        environ = {**process.environ, **own_settings(self.instance, process, name, 0), "PGAPPNAME": name}
        environ |= self.broker.settings_of("writer")
        self.supervisor.add(Program(name, process.command, self.instance.checkout, environ))
        try:
            yield name
        finally:
            self.supervisor.remove(name)

    def described(self, name: str) -> Process:
        """A process as the manifests have it, its environment as it is natively."""
        state = read_json(running_file(self.instance))
        secrets = defaultdict(
            lambda: "-", self.secrets | self.broker.secrets()
        )  # others are not the writer's
        stage = manifests.read_stage(self.instance, state["stage"], secrets, brokers_url=self.broker.url)
        process = next(one for one in stage.processes if one.name == name)
        return Process(**{**vars(process), "environ": native_environ(self.instance, stage, process)})

    @contextlib.contextmanager
    def a_batch_in_hand(self, load: "UnderLoad") -> Iterator[str]:
        """As long as this lasts a writer stands in the midst of a batch; gives its program's name.

        A transaction of another's has stored the same ping and does not end, so the writer has to wait.
        """
        person, moment = ping = load.load.pings(HELD_CLIENT).next()
        with at(self.database_url) as connection, connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(SAME, [person, moment])
            self.api().ask("POST", "/api/locations", wire(ping), status=202)
            load.load.noted.acknowledged(identity(ping))
            yield until(self.writer_that_waits)
            cursor.execute("ROLLBACK")

    def writer_that_waits(self) -> str | None:
        waiting = self.sql(
            "SELECT application_name FROM pg_stat_activity "
            "WHERE wait_event_type = 'Lock' AND query ~ '(INSERT INTO|COPY) locations_location'"
        )
        return str(waiting[0][0] or self.program("location-writer")) if waiting else None

    def stores_promptly(self) -> bool:
        """Whether all that the topic holds now is stored soon."""
        try:
            ends = self.topic.ends()

            def are_written() -> bool:
                return all(done >= end for done, end in zip(self.topic.written(), ends, strict=True))

            return poll(are_written, PROMPT_S, every_s=0.1)
        except KafkaException:
            return False

    def sql(self, statement: str) -> list[tuple]:
        with at(self.database_url) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def print_logs(self) -> None:
        """For whoever wants to know why something went wrong."""
        for log in sorted(self.instance.logs.glob("*.log")):
            print(f"--- {log.name}\n{tail(log, 30)}")

    def table(self) -> str:
        return "\n".join([HEAD, *self.rows])


class UnderLoad:
    """Clients at work on a site: all kinds of calls, and pings that are sent again until they are taken.

    A context: inside, what happens to the site is told by `strikes` and `until_well`. Leaving it looks for
    each acknowledged ping, and whether anybody noticed what they should not have.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        ports = site.instance.node_port(30001), site.instance.node_port(30003)
        self.load = Load(*ports, site.people, token=site.token, movers=MOVERS, again=True)
        self.calls = self.load.noted.calls
        self.pings = self.load.noted.pings
        self.troubles: list[Trouble] = []

    def __enter__(self) -> Self:
        self.known_to_the_rest_door()
        self.load.__enter__()
        self.load.start_calls()
        until(self.is_well, at_most_s=PATIENCE_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.load.__exit__()
        if error is not None:
            self.site.print_logs()
        else:
            until(lambda: self.site.topic.unwritten() == 0, at_most_s=PATIENCE_S)
            stored = self.stored()
            self.site.rows += [one.row(self.calls, self.pings, stored) for one in self.troubles]
            acknowledged = {ping for _, ping in self.pings}
            assert len(acknowledged) == len(self.pings) > 0
            assert acknowledged - stored.keys() == set()  # lost
            assert [ping for ping, count in stored.items() if count > 1] == []  # doubled
            assert stored.keys() - acknowledged == set()  # sent by nobody, or not again until it was taken
            self.nobody_noticed_more_than_they_may()

    def known_to_the_rest_door(self) -> None:
        """Each of its workers remembers for itself who exists: one after the other meets all the movers."""
        _, *workers = descendants(self.site.pid("locations-rest"))
        for worker in workers:
            others = {*workers} - {worker}
            batch = self.load.pings(HELD_CLIENT).take(MOVERS)
            for pid in others:
                os.kill(pid, signal.SIGSTOP)
            try:
                self.site.api().ask("POST", "/api/locations", [*map(wire, batch)], status=202)
            finally:
                for pid in others:
                    os.kill(pid, signal.SIGCONT)
            self.load.noted.acknowledged(*map(identity, batch))

    def strikes(self, what: str, *away: str) -> Trouble:
        """From now on something happens to these processes."""
        now = time.monotonic()
        self.troubles.append(Trouble(what, frozenset(away), now, now))
        return self.troubles[-1]

    def until_well(self) -> None:
        """Until all that there is to ask is answered and all that is taken is stored, by itself."""
        trouble = self.troubles[-1]

        def stores() -> bool:
            trouble.stored = time.monotonic()
            return self.site.stores_promptly()

        until(stores, at_most_s=PATIENCE_S)
        until(self.is_well, at_most_s=PATIENCE_S)
        trouble.well = time.monotonic()

    def goes_on(self) -> None:
        """Until somebody has been answered or refused once more."""
        before = len(self.calls)
        until(lambda: len(self.calls) > before)

    def is_well(self) -> bool:
        since = time.monotonic() - CALM_S
        if self.troubles and since < self.troubles[-1].over:
            return False
        recent = [one for one in self.calls if one.ended >= since]
        return (
            {one.kind for one in recent} == {kind for each in (*GROUPS, LIVENESS) for kind in each.kinds}
            and all(one.error is None for one in recent)
            and self.site.stores_promptly()
        )

    def within(self, began: float, ended: float, group: Group) -> tuple[list[Call], list[Call]]:
        """Those calls of that time that were answered, and those that were refused."""
        own = [one for one in group.of(self.calls) if began <= one.began and one.ended <= ended]
        return [one for one in own if one.error is None], [one for one in own if one.error is not None]

    def stored(self) -> Counter[str]:
        """How often each location of the movers is in the system's answer."""
        api = self.site.api()
        found: Counter[str] = Counter()
        for person in self.load.movers:
            found.update(one["id"] for one in api.ask("GET", f"/api/locations?person_id={person}"))
        return found

    def nobody_noticed_more_than_they_may(self) -> None:
        for each in (*GROUPS, LIVENESS):
            for call in each.of(self.calls):
                if call.error is not None:
                    trouble = next(
                        (one for one in self.troubles if one.began <= call.ended <= one.well), None
                    )
                    assert trouble, f"without any trouble: {call.fault}"
                    assert each.needs & trouble.away, f"{trouble.what}: {call.fault}"
                    assert is_honest(call.error, door_away=each.door in trouble.away), (
                        f"{trouble.what}: {call.fault}"
                    )


def descendants(pid: int) -> list[int]:
    """The process, and all that it has started, and so on."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    family = [pid]
    for each in family:
        family += [child for child, parent in parents.items() if parent == each]
    return family
