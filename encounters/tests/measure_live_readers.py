"""Measures many readers: `make test ARGS="encounters/tests/measure_live_readers.py -s"`. Needs Linux.

The time from the message to each reader, and the memory and the CPU of the process per reader.
"""

import os
import selectors
import socket
import time
from pathlib import Path

import pytest

from encounters.tests.live import live_server, row, teller
from encounters.tests.test_live import now, send  # noqa: F401 - a fixture
from encounters.tests.test_live_limits import worker_of
from locations.pings import Ping
from tests.gunicorn_server import Server

READERS = int(os.environ.get("READERS", "2000"))
ENCOUNTERS = 50  # messages whose way is measured; each is sent when all have the one before
_TICKS = os.sysconf("SC_CLK_TCK")


def memory_kb(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def connected(server: Server) -> list[socket.socket]:
    readers = []
    for _ in range(READERS):
        reader = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        reader.sendall(b"GET /api/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        readers.append(reader)
    for reader in readers:
        found = b""
        while b"retry: 2000" not in found:
            found += reader.recv(65536)
        reader.setblocking(False)
    return readers


@pytest.mark.django_db(transaction=True)
def test_many_readers(send) -> None:  # noqa: F811
    tell = teller()
    server = live_server()
    server.config = "python:connect.gunicorn"  # as deployed
    with server, selectors.DefaultSelector() as selector:
        pid = worker_of(server)
        server.get("/api/live?colour=red")
        before = memory_kb(pid)
        readers = connected(server)
        held = memory_kb(pid) - before
        for reader in readers:
            selector.register(reader, selectors.EVENT_READ)
        cpu, began = cpu_s(pid), time.monotonic()
        delays: list[float] = []
        for number in range(ENCOUNTERS):
            moment = now()
            sent_at = time.monotonic()
            send(Ping(3, moment, 52.0, 13.0))
            tell(row(1, 2, moment, 60))
            missing = set(readers)
            while missing and time.monotonic() < sent_at + 60:
                for key, _ in selector.select(1):
                    if b"event: encounter" in key.fileobj.recv(1 << 20):  # type: ignore[union-attr]
                        missing.discard(key.fileobj)  # type: ignore[arg-type]
                        delays.append(time.monotonic() - sent_at)
            assert not missing, number
        took, used = time.monotonic() - began, cpu_s(pid) - cpu
        for reader in readers:
            reader.close()
    delays.sort()
    print(f"\n{READERS} readers, {ENCOUNTERS} encounters in {took:.1f} s")
    for share in (0.5, 0.99):
        print(f"p{share * 100:.0f} {delays[int(share * len(delays))] * 1000:.0f} ms")
    per_event_us = used / ENCOUNTERS * 1e6 / READERS
    print(f"{held / READERS:.1f} kB per reader, {per_event_us:.0f} us of CPU per event and reader")
    assert len(delays) >= READERS * ENCOUNTERS
