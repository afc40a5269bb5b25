"""A whole system as `make up` starts it, beside any other: ports, folder and database of its own."""

import contextlib
import dataclasses
import os
import secrets
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import psycopg2
import requests
from confluent_kafka import Consumer, ConsumerGroupState, TopicPartition
from confluent_kafka.admin import AdminClient

from grpc_server import locations_pb2 as pb
from grpc_server.locations_pb2_grpc import LocationServiceStub
from local import kafka, manifests
from local.instance import CHECKOUT, VENV, Instance, read_json
from local.rollout import Generation, running_file
from local.seed import STAFF_USER
from local.supervision import Supervisor
from local.tests.conftest import an_instance
from local.tests.terminal import staff_token
from tests.gunicorn_server import until

APP, API, PERSONS, LOCATIONS = 30000, 30001, 30002, 30003
STAGES = manifests.stage_names(Instance(state=CHECKOUT))
SOMEBODY = """
INSERT INTO persons_person (first_name, last_name, company_name, findable)
SELECT 'A', 'B', 'C', true WHERE NOT EXISTS (SELECT FROM persons_person)
"""


class Showing(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Shows a token with each call, unless the call shows one itself."""

    def __init__(self, token: str | None) -> None:
        self.metadata = [("authorization", f"Bearer {token}")] if token else []

    def intercept_unary_unary(self, ask: Any, details: Any, request: Any) -> Any:
        shown = self.metadata if details.metadata is None else details.metadata
        return ask(details._replace(metadata=shown), request)

    intercept_unary_stream = intercept_unary_unary


class Addresses:
    """Those of the contract, wherever a system has them, and how they are asked."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.token: str | None = None  # what is shown unless a test says otherwise

    def port(self, port: int) -> int:
        return self.instance.node_port(port)

    def url(self, path: str, port: int = API) -> str:
        return f"http://127.0.0.1:{self.port(port)}{path}"

    def ask(self, verb: str, path: str, *, port: int = API, **how: Any) -> requests.Response:
        headers = ({"Authorization": f"Bearer {self.token}"} if self.token else {}) | how.pop("headers", {})
        return requests.request(verb, self.url(path, port), headers=headers, timeout=30, **how)

    def get(self, path: str, **how: Any) -> requests.Response:
        return self.ask("GET", path, **how)

    @contextlib.contextmanager
    def grpc(self) -> Iterator[LocationServiceStub]:
        options = [("grpc.enable_http_proxy", 0)]
        with grpc.insecure_channel(f"127.0.0.1:{self.port(LOCATIONS)}", options) as channel:
            yield LocationServiceStub(grpc.intercept_channel(channel, Showing(self.token)))


class System(Addresses):
    """Walks to a stage, and is asked through the contract's addresses."""

    def __init__(self, instance: Instance, database_url: str, access: str) -> None:
        super().__init__(instance)
        self.database_url = database_url
        self.stage: str | None = None
        self.environ = os.environ | {
            "DATABASE_URL": database_url,
            "CONNECT_STATE_DIR": str(instance.state),
            "CONNECT_PORT_BASE": str(instance.port_base),
            "ACCESS": access,
            "SIMULATE_LIVE": "false",
            "FINDABLE_BY_DEFAULT": "true",  # as with ACCESS=open, so that tests need not ask each new person
            "DJANGO_SUPERUSER_PASSWORD": secrets.token_hex(8),
        }
        self.run("manage.py", "migrate", "-v0")
        if access == "tokens":
            self.run(
                "manage.py", "createsuperuser", "--noinput", "--username", STAFF_USER, "--email", "a@b.cc"
            )
            self.token = staff_token(self.environ)

    def go(self, stage: str) -> None:
        if stage != self.stage:
            self.stage = None
            self.sql(SOMEBODY)  # into a database that has nobody in it `up` simulates an event
            self.run("-m", "local", "up", stage)
            self.stage = stage

    def run(self, *arguments: str) -> None:
        command = [VENV / "bin" / "python", *arguments]
        done = subprocess.run(
            command,
            cwd=self.instance.checkout,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stdout

    def sql(self, statement: str) -> None:
        with at(self.database_url) as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    def rows(self, question: str) -> list[tuple[Any, ...]]:
        with at(self.database_url) as connection, connection.cursor() as cursor:
            cursor.execute(question)
            return list(cursor.fetchall())

    def empty(self, *, restart_ids: bool = False) -> None:
        """Nobody, nowhere; the next person has a new id, or the id 1 again."""
        self.settle()
        until(self.finder_is_done, at_most_s=120)  # or it would store what is deleted
        identity = "RESTART IDENTITY" if restart_ids else ""
        tables = "persons_person, locations_location, encounters_encounter, rejected_pings"
        tables += ", venue_event, venue_zone, privacy_erasurereceipt"
        self.sql(f"TRUNCATE {tables} {identity}")
        if restart_ids and (quota := self.instance.sockets() / "ping-quota.sqlite").exists():
            with contextlib.closing(sqlite3.connect(quota, isolation_level=None)) as buckets:
                buckets.execute("DELETE FROM bucket")  # of people who had these ids before
        if restart_ids and "location-writer" in self.processes():
            self.restart("locations", "locations-rest")

    def processes(self) -> dict[str, Generation]:
        running = read_json(running_file(self.instance)).get("processes", {})
        return {name: Generation(**one) for name, one in running.items()}

    def unwritten(self) -> int:
        """The pings in the topic that no writer has stored yet; 0 where there is no topic."""
        if "location-writer" not in self.processes():
            return 0
        with contextlib.closing(Topic(self.broker())) as topic:
            return topic.unwritten()

    def finder_is_done(self) -> bool:
        """Whether the finder has begun, which it tells by its first commit, and has read all pings."""
        if "encounter-finder" not in self.processes():
            return True
        with contextlib.closing(Topic(self.broker(), "encounter-finders")) as topic:
            return topic.has_begun() and topic.unwritten() == 0

    def broker(self) -> kafka.Broker:
        return the_broker(self.instance, access=self.environ["ACCESS"])

    def settle(self) -> None:
        """Until everything that was taken can be seen."""
        until(lambda: self.unwritten() == 0, at_most_s=60)

    def restart(self, *names: str) -> None:
        """Processes that remember for a minute who exists: ids are never given again, except in tests."""
        supervisor = Supervisor(self.instance)
        for name in names:
            supervisor.rpc.stopProcess(self.processes()[name].program)
            supervisor.rpc.startProcess(self.processes()[name].program)
        until(lambda: self.get("/api/locations?limit=1").ok)
        with self.grpc() as locations:
            asked = pb.ListLocationsRequest(limit=1)
            assert list(locations.ListLocations(asked, wait_for_ready=True, timeout=20)) == []


def the_broker(instance: Instance, *, access: str) -> kafka.Broker:
    """The private broker of a system that runs with this ACCESS."""
    broker = kafka.private_broker(instance, running=True)
    return dataclasses.replace(broker, is_secured=access == "tokens")


class Topic:
    """The topic of pings and one group of its consumers, as the super user sees them."""

    def __init__(self, broker: kafka.Broker, group: str = "location-writers") -> None:
        config = broker.client("admin") | {"log_level": 0}
        self.observer = Consumer(config | {"group.id": group})
        self.admin = AdminClient(config)
        found = self.observer.list_topics("locations", timeout=20).topics["locations"].partitions
        self.partitions = [TopicPartition("locations", each) for each in found]

    def ends(self) -> list[int]:
        """Of each partition, how far it is filled."""
        return [self._marks(each)[1] for each in self.partitions]

    def written(self) -> list[int]:
        """Of each partition, how far the consumers are."""
        committed = self.observer.committed(self.partitions, timeout=20)
        return [max(each.offset, self._marks(each)[0]) for each in committed]

    def has_begun(self) -> bool:
        """Whether a consumer has committed an offset of each partition."""
        return all(each.offset >= 0 for each in self.observer.committed(self.partitions, timeout=20))

    def unwritten(self) -> int:
        written = self.written()
        return sum(end - done for end, done in zip(self.ends(), written, strict=True))

    def shares(self) -> list[int]:
        """How many partitions each writer has, the least first; none while they are being shared out."""
        group = self.admin.describe_consumer_groups(["location-writers"])["location-writers"].result(20)
        if group.state != ConsumerGroupState.STABLE:
            return []
        return sorted(len(each.assignment.topic_partitions) for each in group.members)

    def _marks(self, partition: TopicPartition) -> tuple[int, int]:
        first, end = self.observer.get_watermark_offsets(partition, timeout=20, cached=False)
        return first, end

    def close(self) -> None:
        self.observer.close()


@contextlib.contextmanager
def a_system(folder: Path, *, access: str = "open") -> Iterator[System]:
    """On the cluster that the tests have, in a new database; nothing of it is left afterwards."""
    given = os.environ.get("DATABASE_URL", "postgis://connect:connect@127.0.0.1:5432/connect")
    with an_instance(folder) as instance:
        name = f"test_system_{instance.key}"
        with at(given) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        try:
            yield System(instance, urlsplit(given)._replace(path=f"/{name}").geturl(), access)
        finally:
            drop_database(given, name)


def drop_database(given: str, name: str) -> None:
    """Ends the sessions in it; waits for an autovacuum worker, whose session only a superuser may end."""

    def is_dropped() -> bool:
        with at(given) as connection, connection.cursor() as cursor:
            try:
                cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
            except psycopg2.errors.InsufficientPrivilege:
                return False
        return True

    until(is_dropped, at_most_s=60)


@contextlib.contextmanager
def at(url: str) -> Iterator[Any]:
    """A connection that commits each statement."""
    connection = psycopg2.connect(urlsplit(url)._replace(scheme="postgresql").geturl())
    connection.autocommit = True
    try:
        yield connection
    finally:
        connection.close()
