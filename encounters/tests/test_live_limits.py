"""Many readers, slow ones, the end of the process, brokers and neighbours that go away; the ring."""

import os
import signal
import socket
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from consumers import topic
from consumers.tests.conftest import new_sender
from encounters.live.events import EVERYTHING, Event, Filter, Meeting, Position, Positions, time_of
from encounters.live.ring import KEEP_MS, OVERLAP_MS, Ring
from encounters.tests.live import Client, live_server, row, teller
from encounters.tests.test_live import HERE, now, person, send  # noqa: F401 - a fixture
from local import kafka as local_kafka
from locations.pings import Ping
from tests.gunicorn_server import Server, until

READERS = 300


@pytest.mark.django_db(transaction=True)
def test_three_hundred_readers_get_the_same_events(send):  # noqa: F811
    tell = teller()
    with live_server() as server, ExitStack() as clients:
        readers = [clients.enter_context(Client(server)) for _ in range(READERS)]
        moment = now()
        send(Ping(1, moment, *HERE), Ping(2, moment, *HERE))
        tell(row(1, 2, moment, 60))
        until(lambda: all(each.encounters and each.positions for each in readers), at_most_s=60)
        first = readers[0].of("encounter")
        assert all(each.of("encounter") == first for each in readers)


@pytest.mark.django_db(transaction=True)
def test_a_slow_reader_is_dropped_and_the_others_are_not(send):  # noqa: F811
    tell = teller()
    with live_server() as server, Client(server) as client, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", server.port))
        slow.sendall(b"GET /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        tell(row(1, 2, now(), 60))
        client.until_encounters(1)
        before = _open_files(server)
        sent = 1

        def is_dropped() -> bool:
            nonlocal sent
            moment = now()
            tell(
                np.concatenate([row(1, 2, moment + timedelta(microseconds=each), 60) for each in range(2000)])
            )
            sent += 2000
            client.until_encounters(sent)
            return _open_files(server) < before

        until(is_dropped, at_most_s=120)
        assert not client.has_ended


def _open_files(server: Server) -> int:
    return len([*Path(f"/proc/{worker_of(server)}/fd").iterdir()])


def worker_of(server: Server) -> int:
    master = server.process.pid
    [worker] = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return int(worker)


@pytest.mark.django_db(transaction=True)
def test_the_streams_end_with_the_process(send):  # noqa: F811
    with live_server() as server, Client(server) as client:
        until(lambda: client.of("heartbeat"))
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        until(lambda: client.has_ended)


@pytest.mark.django_db(transaction=True)
def test_a_broker_goes_away_and_comes_back(send, settings: Any):  # noqa: F811
    with local_kafka.throwaway_storage() as broker, ExitStack() as running:
        settings.PINGS_URL = broker.url
        with local_kafka.running(broker):
            topic.ensure(3)
            topic.ensure_encounters(3)
            server = running.enter_context(live_server())
            client = running.enter_context(Client(server))
            teller()(row(1, 2, now(), 60))
            client.until_encounters(1)
        beats = len(client.of("heartbeat"))
        until(lambda: len(client.of("heartbeat")) >= beats + 3)
        with local_kafka.running(broker):
            teller()(row(1, 3, now(), 60))
            new_sender()(Ping(1, now(), *HERE))
            last = client.until_encounters(2)[-1]["encounter"]
            client.until_people(1)
            assert last["persons"] == [person(1), person(3)]
            assert not client.has_ended
            client.__exit__(None, None, None)


@pytest.mark.django_db(transaction=True)
def test_nothing_is_told_while_nobody_knows_who_is_findable(send):  # noqa: F811
    """The process asks another one about people, which freezes for a while."""
    tell = teller()
    served = {"ACCESS": "open", "SECRET_KEY": "k" * 50, "SERVED_APPS": "persons,internal"}
    with (
        Server(WEB_WORKERS="1", **served) as people,
        live_server(PERSONS_URL=people.url("")) as server,
        Client(server) as client,
    ):
        tell(row(1, 2, now(), 60))
        client.until_encounters(1)
        os.kill(worker_of(people), signal.SIGSTOP)
        try:
            tell(row(3, 4, now(), 60))
            beats = len(client.of("heartbeat"))
            until(lambda: len(client.of("heartbeat")) >= beats + 2, at_most_s=60)
            assert len(client.encounters) == 1
        finally:
            os.kill(worker_of(people), signal.SIGCONT)
        client.until_encounters(2)


# --- events and the ring, without a process ------------------------------------------------------


def positions(time_ms: int, *person_ids: int) -> Positions:
    found = {each: Position(each, 52.0, 13.0, b'{"person_id":%d}' % each) for each in person_ids}
    return Positions(str(time_ms), time_ms, found)


@pytest.fixture
def ring() -> Ring:
    ring = Ring()
    ring.extend([positions(each, 1) for each in range(0, 100_000, 1000)], 100_000)
    return ring


def times(events: list[Event] | None) -> list[int]:
    return [event.time_ms for event in events or []]


def test_a_known_id_resumes_after_it(ring: Ring) -> None:
    place = ring.number_after("97000", 97_000)
    assert times(ring.after(place, at_most=10)) == [98_000, 99_000]
    assert times(ring.after(place, at_most=1)) == [98_000]
    assert ring.after(ring.end, at_most=10) == []


def test_an_unknown_id_resumes_some_time_before_it(ring: Ring) -> None:
    place = ring.number_after("97000-1-5", 97_000)
    assert times(ring.after(place, at_most=1)) == [97_000 - OVERLAP_MS]
    assert ring.number_after("5", 10**12) == ring.end


def test_the_ring_forgets(ring: Ring) -> None:
    assert ring.after(0, at_most=1)
    ring.extend([], 50_000 + KEEP_MS)
    assert ring.after(0, at_most=1) is None
    assert times(ring.after(ring.first, at_most=1)) == [50_000]
    assert ring.number_after("10000", 10_000) == ring.first


def test_what_staff_see_is_decided_for_each_event() -> None:
    event = positions(5, 1, 2)
    event.decide({1: person(1)}, 0.0)
    assert event.text(EVERYTHING) == b'id: 5\nevent: position\ndata: [{"person_id":1}]\n\n'
    assert event.text(Filter(person_id=2)) == b""
    assert event.own_text(2, EVERYTHING) == b'id: 5\nevent: position\ndata: [{"person_id":2}]\n\n'
    event.decide({2: person(2)}, 0.0)
    assert b'[{"person_id":2}]' in event.text(EVERYTHING)
    assert event.own_text(3, EVERYTHING) == b""


def test_an_encounter_with_somebody_hidden_has_no_text() -> None:
    values = {"latitude": "52.0", "longitude": "179.9", "state": "ended", "person_ids": [1, 2]}
    event = Meeting("5-0-1", 5, 1, 2, "ended", values)
    event.decide({1: person(1)}, 0.0)
    assert event.text(EVERYTHING) == b""
    event.decide({1: person(1), 2: person(2)}, 0.0)
    assert event.text(Filter((179.0, 50.0, -179.0, 53.0)))
    assert event.text(Filter((-179.0, 50.0, 179.0, 53.0))) == b""
    withdrawn = Meeting("5-0-2", 5, 1, 2, None, values)
    withdrawn.decide({1: person(1), 2: person(2)}, 0.0)
    assert withdrawn.text(EVERYTHING) == b""


@pytest.mark.parametrize(
    ("event_id", "time_ms"), [("17-0-3", 17), ("17", 17), ("", None), ("17-0", None), ("-1", None)]
)
def test_the_time_of_an_id(event_id: str, time_ms: int | None) -> None:
    assert time_of(event_id) == time_ms
