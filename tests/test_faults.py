"""Whatever happens to a process: what was acknowledged is stored once, and who need not notice does not."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import IncompleteRead
from queue import SimpleQueue
from typing import TypeVar
from urllib.parse import urlsplit

import grpc
import pytest
from confluent_kafka import Producer

from consumers.batch_store import UNKNOWN
from consumers.writer import CONFIG as WRITER
from grpc_server import locations_pb2 as pb
from grpc_server.converter import to_timestamp
from grpc_server.locations_pb2_grpc import LocationServiceStub
from local import postgis
from local.polling import poll
from local.tests.terminal import Terminal, an_instance
from tests.faults import (
    HELD_CLIENT,
    LOCATIONS,
    MOVERS,
    PATIENCE_S,
    PEOPLE,
    PINGS_BY_GRPC,
    PINGS_BY_REST,
    QUESTIONS,
    Site,
    UnderLoad,
)
from tests.gunicorn_server import until
from tests.load import BULK, EPOCH, identity, message

AWAY_S = float(os.environ.get("TEST_AWAY_S", "60"))
SESSION_S = int(WRITER["session.timeout.ms"]) / 1000
POISON = 1000
MAY, JUNE = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)  # around the simulated event
T = TypeVar("T")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Site]:
    with an_instance(tmp_path_factory.mktemp("faults")) as place:
        terminal = Terminal(place, access="tokens")
        up = terminal.make("up")
        assert up.returncode == 0, up.stdout
        site = Site(place, terminal.staff_token())
        yield site
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(f"\n\n{site.table()}")


def test_the_writer_is_killed_in_mid_batch(site: Site) -> None:
    with UnderLoad(site) as load:
        with site.a_batch_in_hand(load) as writer:
            load.strikes("SIGKILL of the writer in mid-batch", "location-writer")
            site.kill(writer)
        load.until_well()


def test_a_writer_is_frozen_until_the_group_has_moved_on(site: Site) -> None:
    with site.another_writer(), UnderLoad(site) as load:
        until(lambda: site.topic.shares() == [6, 6], at_most_s=PATIENCE_S)
        with site.a_batch_in_hand(load) as writer:
            frozen = site.pid(writer)
            load.strikes(
                f"SIGSTOP of one of two writers in mid-batch, for longer than {SESSION_S:g} s",
                "location-writer",
            )
            os.kill(frozen, signal.SIGSTOP)
        try:
            until(lambda: site.topic.shares() == [12], at_most_s=PATIENCE_S)
            load.until_well()
        finally:
            os.kill(frozen, signal.SIGCONT)
        load.strikes("SIGCONT: it wakes up with its batch in hand", "location-writer")
        until(lambda: site.topic.shares() == [6, 6], at_most_s=PATIENCE_S)
        load.until_well()


def test_writers_come_and_go(site: Site) -> None:
    with UnderLoad(site) as load:
        load.strikes("a second writer joins")
        with site.another_writer() as another:
            until(lambda: site.topic.shares() == [6, 6], at_most_s=PATIENCE_S)
            load.until_well()

            load.strikes("SIGKILL of one of two writers", "location-writer")
            before = site.pid("location-writer")
            site.kill("location-writer")
            until(
                lambda: site.topic.shares() == [6, 6] and site.pid("location-writer") not in (0, before),
                at_most_s=PATIENCE_S,
            )
            load.until_well()
            load.strikes("one of two writers leaves", "location-writer")
            site.supervisor.rpc.stopProcess(another)
            until(lambda: site.topic.shares() == [12], at_most_s=PATIENCE_S)
            load.until_well()


def broken_off(answers: Iterator[T]) -> list[T]:
    """What came of a stream that does not end as if it were whole."""
    came = []
    try:
        for answer in answers:
            came.append(answer)  # noqa: PERF402 - kept also when the next one does not come
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return came
        raise
    raise AssertionError("It ended.")


def test_the_location_server_is_killed_in_mid_stream(site: Site) -> None:
    with UnderLoad(site) as load:
        locations, pings = LocationServiceStub(load.load.channel), load.load.pings(HELD_CLIENT)
        first, second = pings.take(BULK), pings.take(BULK)
        sent: SimpleQueue[pb.RecordLocationsRequest | None] = SimpleQueue()
        answers = locations.RecordLocations(
            iter(sent.get, None), timeout=PATIENCE_S, metadata=load.load.metadata
        )
        sent.put(pb.RecordLocationsRequest(locations=map(message, first)))
        assert next(answers).accepted == BULK
        load.load.noted.acknowledged(*map(identity, first))
        everything = locations.ListLocations(
            pb.ListLocationsRequest(start=to_timestamp(MAY), end=to_timestamp(JUNE)),
            timeout=PATIENCE_S,
            metadata=load.load.metadata,
        )
        assert next(everything).locations
        array = site.api().begin("GET", "/api/locations?start=2026-05-01&end=2026-06-01")
        assert array.read(1) == b"["

        load.strikes("SIGKILL of locations, the gRPC server, in mid-stream", "locations")
        sent.put(pb.RecordLocationsRequest(locations=map(message, second)))
        site.kill("locations")
        still_came = broken_off(answers)
        sent.put(None)
        assert all(answer.locations for answer in broken_off(everything))
        with pytest.raises(IncompleteRead) as half:
            array.read()
        assert not half.value.partial.endswith(b"]")
        load.until_well()
        # Of a batch that is not acknowledged all may be stored, or nothing: sent again it is stored once.
        again = pb.RecordLocationsRequest(locations=map(message, second))
        still_came = still_came or list(
            locations.RecordLocations(iter([again]), timeout=PATIENCE_S, metadata=load.load.metadata)
        )
        assert [answer.accepted for answer in still_came] == [BULK]
        load.load.noted.acknowledged(*map(identity, second))


def test_the_rest_door_is_killed(site: Site) -> None:
    with UnderLoad(site) as load:
        load.strikes("SIGKILL of locations-rest: master and workers", "locations-rest")
        site.kill("locations-rest")
        load.until_well()


def test_the_broker_is_killed(site: Site) -> None:
    with UnderLoad(site) as load:
        load.strikes("SIGKILL of the broker", "kafka")
        site.kill("kafka")
        load.until_well()


def test_postgresql_is_killed(site: Site) -> None:
    with UnderLoad(site) as load:
        load.strikes("SIGKILL of PostgreSQL: postmaster and all backends", "postgis")
        site.kill("postgis")
        load.until_well()


def test_postgresql_is_away_and_pings_are_taken(site: Site) -> None:
    with UnderLoad(site) as load:
        trouble = load.strikes(f"PostgreSQL away for {AWAY_S:g} s", "postgis")
        site.supervisor.rpc.stopProcess("postgis")
        gone = time.monotonic()
        port = urlsplit(site.database_url).port
        assert port is not None
        assert not poll(lambda: not postgis.is_free(port), AWAY_S, every_s=1)
        returns = time.monotonic()
        site.supervisor.rpc.startProcess("postgis")
        trouble.over = time.monotonic()
        load.until_well()

        for each in (PINGS_BY_REST, PINGS_BY_GRPC):
            taken, refused = load.within(gone, returns, each)
            assert len(taken) > 2 * AWAY_S
            assert refused == []
        for each in (QUESTIONS, LOCATIONS, PEOPLE):
            answered, refused = load.within(gone, returns, each)
            assert answered == []
            assert len(refused) > AWAY_S / 2


def test_poison_among_good_pings(site: Site) -> None:
    with UnderLoad(site) as load:
        somebody, gone, nobody = load.load.movers[0], load.load.new_person(site.api()), 10**12
        site.api().ask("DELETE", f"/api/persons/{gone}", status=204)
        broken_rules = pb.Location(
            person_id=somebody, latitude=91, longitude=0, creation_time=to_timestamp(EPOCH)
        )
        kinds = {
            "The value is not a location.": b"\xff\xff no location",
            "There is no value.": None,
            "latitude: Must be a number from -90 to 90.": broken_rules.SerializeToString(),
            UNKNOWN: message((nobody, EPOCH)).SerializeToString(),
            "of somebody deleted": message((gone, EPOCH)).SerializeToString(),
        }
        trouble = load.strikes(f"{POISON:,} poison messages among good pings")
        producer = Producer(site.broker.client("producer") | {"partitioner": "murmur2_random"})
        for number in range(POISON // len(kinds)):
            for value in kinds.values():
                producer.produce("locations", value, b"%d" % load.load.movers[number % MOVERS])
            load.goes_on()
            assert producer.flush(PATIENCE_S) == 0
        trouble.over = time.monotonic()
        load.until_well()
    rejected = dict(site.sql("SELECT reason, count(*) FROM rejected_pings GROUP BY reason"))
    assert rejected == {reason: POISON // len(kinds) for reason in kinds if reason != "of somebody deleted"}
