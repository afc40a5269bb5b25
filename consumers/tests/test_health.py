"""Readiness with a topic: web, admin and gRPC processes report a frozen broker or writer."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from rest_framework.test import APIClient

from consumers import producer, topic
from consumers.group_watch import GroupWatch
from consumers.person_cache import PersonCache
from consumers.tests.conftest import at
from consumers.tests.process import WriterProcess
from grpc_server.probe import LOCATION_SERVICE, is_serving
from grpc_server.tests.process import LocationProcess
from local.kafka import running, throwaway_storage
from tests.gunicorn_server import until

pytestmark = pytest.mark.usefixtures("people")


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_each_process_that_needs_the_broker_reports_a_frozen_one(
    api: APIClient, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    settings.SERVED_APPS = ["locations"]
    monkeypatch.setattr(producer, "person_cache", PersonCache())

    def needs() -> dict[str, str]:
        return dict(api.get("/health/ready").json()["needs"])

    with throwaway_storage() as broker, running(broker) as process:
        settings.PINGS_URL = broker.url
        topic.ensure(3)
        well = {"database": "ok", "broker": "ok"}
        until(lambda: needs() == well)
        with LocationProcess(PINGS_URL=broker.url) as server, server.channel() as channel:
            health, port = HealthStub(channel), int(server.address.rpartition(":")[2])

            def serves(name: str) -> bool | None:
                """Whether it serves; None if the health check and the probe disagree."""
                answer = health.Check(HealthCheckRequest(service=name), timeout=20, wait_for_ready=True)
                is_well = answer.status == HealthCheckResponse.SERVING
                return is_well if is_serving(port, service=name) == is_well else None

            until(lambda: serves(LOCATION_SERVICE) and serves("broker"))
            with frozen(process.pid):
                until(lambda: needs() == {**well, "broker": "out of reach"})
                assert api.get("/health/ready").status_code == 503
                assert api.get("/health/live").status_code == 200
                until(lambda: serves("broker") is False and serves(LOCATION_SERVICE) is False)
                until(lambda: serves(""))  # reads are answered
                until(lambda: serves("database"))
            until(lambda: needs() == well)
            until(lambda: serves(LOCATION_SERVICE))


def test_the_admin_process_reports_whether_a_writer_works(
    kafka: str, api: APIClient, settings: Any, send: Callable
):
    settings.SERVED_APPS = ["persons", "admin"]

    def needs() -> dict[str, str]:
        return dict(api.get("/health/ready").json()["needs"])

    well = {"database": "ok", "broker": "ok", "writer": "ok"}
    until(lambda: needs() == {**well, "writer": "out of reach"})  # no writer runs
    with WriterProcess() as writer:
        until(lambda: needs() == well)
        with frozen(writer.process.pid):
            send(at(1, 0))
            until(lambda: needs() == {**well, "writer": "out of reach"}, at_most_s=40)
            assert api.get("/health/ready").status_code == 503
        until(lambda: needs() == well, at_most_s=40)


def test_a_writer_whose_offsets_do_not_move_is_reported(
    kafka: str, send: Callable, new_writer: Callable, settings: Any
):
    """Such a writer still sends heartbeats, so the brokers keep it in the group."""
    watch, writer = GroupWatch(settings.KAFKA_TOPIC, settings.KAFKA_GROUP, 0.5), new_writer()
    until(lambda: writer.step() is not None and watch.is_at_work())
    send(at(1, 0))
    until(lambda: not watch.is_at_work())
    until(lambda: writer.step().stored == 1)
    until(watch.is_at_work)
