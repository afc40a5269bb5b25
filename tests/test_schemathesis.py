"""Every operation of the schema, asked with good and bad data over HTTP: no 500, nothing undocumented.

`SCHEMATHESIS_EXAMPLES=500 pytest tests/test_schemathesis.py` asks more.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import schemathesis
from django.contrib.auth.models import User
from django.db import connection
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient
from schemathesis.checks import CHECKS

from access import services as access
from access.callers import Kind
from connect.api_urls import APPS
from connect.web.openapi import DAVID, FINN
from connect.web.query_parameters import Cursor
from connect.wire_format import format_time, parse_instant
from persons.models import Person
from tests.gunicorn_server import Server

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "20"))  # of each operation

# What the schema names by a format only, because no pattern could say it.
INSTANTS = st.datetimes(
    datetime(1900, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
    datetime(2099, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(format_time)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
schemathesis.openapi.format("date-time", INSTANTS)
schemathesis.openapi.format("uri", st.just("https://example.org/connect"))
schemathesis.openapi.format("cursor-1", st.tuples(INTEGERS).map(Cursor.encode))
schemathesis.openapi.format("cursor-2", st.tuples(INSTANTS, INTEGERS).map(Cursor.encode))
schemathesis.openapi.format("cursor-3", st.tuples(INSTANTS, INTEGERS, INTEGERS).map(Cursor.encode))

schema = schemathesis.openapi.from_dict(
    SchemaGenerator(urlconf="connect.api_urls").get_schema(request=None, public=True)
)


@pytest.fixture(scope="module")
def guarded_server(django_db_setup: None) -> Iterator[Server]:
    how = {"SERVED_APPS": ",".join(APPS), "WEB_WORKERS": "1", "WEB_THREADS": "6", "MAX_RANGE_DAYS": "0"}
    with Server(ACCESS="tokens", **how) as running:
        yield running


@pytest.fixture
def staff(transactional_db: None) -> dict[str, str]:
    """What a staff user shows."""
    user = User.objects.create_superuser("organiser")
    _, shown = access.make(name="for a test", kind=Kind.STAFF, user=user)
    return {"Authorization": f"Bearer {shown}"}


@pytest.fixture
def some_data(transactional_db: None, api: APIClient) -> None:
    """What the examples of the schema speak of: two people, and where they met."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval(pg_get_serial_sequence('persons_person', 'id'), 1000200)")
    for person in (FINN, DAVID):
        Person.objects.create(**person)
        ping = {"person_id": person["id"], "latitude": "52.4999544", "longitude": "13.4016121"}
        api.post("/api/locations", ping | {"creation_time": "2026-05-11T09:00:34.343Z"})


def may_be_refused(case: Any, faults: Any) -> bool:
    """Whether what is wrong stands between parameters, where a schema cannot say it."""
    query = case.query or {}
    between = {
        "non_field_errors": not {"person_id", "limit"} & query.keys()
        and not {"start", "end"} <= query.keys(),
        "start": later(query.get("start"), query.get("end")),
        "start_date": later(query.get("start_date"), query.get("end_date")),
        # What a schema cannot say: valid polygons on Earth, time zones, days in order.
        "features": True,
        "time_zone": True,
        "first_day": True,
        "bounds": True,
        # An address of the internet; a person who exists; not the hundredth webhook.
        "url": True,
        "person_id": isinstance(case.body, dict) and "person_id" in case.body,
        "bbox": "bbox" in query and south_of_north(query["bbox"]),
    }
    return bool(faults) and all(between.get(name) for name in faults)


def later(start: Any, end: Any) -> bool:
    """Dates are compared by their first ten characters: near enough, and never too strict."""
    try:
        return parse_instant(f"{start[:10]}T23:59:59Z") > parse_instant(f"{end[:10]}T00:00:00Z")
    except (TypeError, ValueError):
        return False


def south_of_north(bbox: Any) -> bool:
    try:
        _, south, _, north = map(float, bbox.split(","))
    except (AttributeError, ValueError):
        return False
    return south > north


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_an_operation_answers_as_the_schema_says(
    case: Any, some_data: None, guarded_server: Server, staff: dict[str, str]
) -> None:
    response = case.call(base_url=guarded_server.url(""), headers=staff)
    if response.status_code == 414:  # it comes from before any operation
        assert list(response.json()) == ["detail"]
        return
    excluded = []
    if response.status_code == 400 and may_be_refused(case, response.json()):
        excluded += CHECKS.get_by_names(["positive_data_acceptance"])
    if response.status_code == 207:  # it is what refuses the items of an array
        excluded += CHECKS.get_by_names(["negative_data_rejection"])
    case.validate_response(response, headers=staff, excluded_checks=excluded)
