"""A call's id and its time go along with it through the processes."""

import socket

import pytest
import requests
from django.db import connection, transaction

from grpc_server.tests.process import LocationProcess
from persons import http_client
from persons.models import Person
from tests.gunicorn_server import Server, until

pytestmark = pytest.mark.django_db(transaction=True)

DAY = "start_date=2026-05-11&end_date=2026-05-11"


def ask(server: Server, person: Person, **headers: str) -> requests.Response:
    return server.get(f"/api/persons/{person.pk}/connection?{DAY}", headers=headers)


def test_the_id_of_a_call_is_in_the_log_of_each_process_that_it_fails_in(ann: Person):
    with (
        Server(SERVED_APPS="locations,internal") as locations,
        Server(SERVED_APPS="connections", LOCATIONS_URL=locations.url("")) as door,
        transaction.atomic(),
    ):
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE locations_location IN ACCESS EXCLUSIVE MODE")
        answer = ask(door, ann, **{"X-Request-ID": "call-4711", "X-Timeout-S": "0.5"})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        until(lambda: "[call-4711]" in locations.output())
        assert "[call-4711]" in door.output()


def test_the_id_goes_along_by_grpc_too(ann: Person, free_port: int):
    nowhere = f"postgis://nobody@127.0.0.1:{free_port}/nothing"
    with (
        LocationProcess(DATABASE_URL=nowhere) as locations,
        Server(SERVED_APPS="connections", LOCATIONS_URL=locations.url) as door,
    ):
        assert ask(door, ann, **{"X-Request-ID": "call-4712"}).status_code == 503
        until(lambda: "[call-4712] Out of reach" in locations.output())


def test_a_neighbour_that_keeps_silent_costs_a_call_no_more_than_the_time_that_it_has(ann: Person):
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Server(SERVED_APPS="connections", PERSONS_URL=f"http://127.0.0.1:{silent.getsockname()[1]}") as door,
    ):
        answer = ask(door, ann, **{"X-Timeout-S": "0.5"})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        assert answer.elapsed.total_seconds() < http_client.SILENT_S / 2
