"""The accuracy of a ping: what is accepted, how it is rounded, and that it passes every door and every store.

locations/tests/test_proximity.py compares `max_accuracy_m` with brute force.
"""

import struct
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import orjson
import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import example, given
from hypothesis import strategies as st
from rest_framework.test import APIClient, APIRequestFactory

from consumers import topic
from grpc_server import converter
from grpc_server import locations_pb2 as pb
from locations import bulk_insert, internal, internal_codec, partitions, pings, proximity_sql, storage
from locations.limits import MAX_ACCURACY_M
from locations.models import Location
from locations.pings import FIELDS, OPTIONAL_FIELDS, Ping, Refused
from locations.tests.test_proximity import HALL, HERE, MINUTE, THERE, at, met_ids, pings_every, replace_all
from persons.models import Person

NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)
GOOD = {"person_id": 5, "latitude": "52.52", "longitude": "13.4", "creation_time": "2026-05-11T12:00:00Z"}
PING = Ping(5, NOON, 52.52, 13.4)
REFUSED = {"accuracy": ["Must be a number, more than 0 and at most 100000."]}
BAD = [0, -1, -0.0, "0", "-5", 100_000.001, "1e6", float("nan"), float("inf"), "nan", "inf", "", " ", "12 m"]
BAD += [True, False, [], {}, "12,5", 10**400, "٣"]


def single(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


# --- rules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "accuracy"),
    [
        (12.5, 12.5),
        ("12.5", 12.5),
        (12, 12.0),
        (" 3.3 ", 3.3),
        ("1e2", 100.0),
        (3.299999952316284, 3.3),  # 3.3 in single precision
        (12.3456789, 12.345679),
        (100_000, 100_000.0),
        ("100000.0", 100_000.0),
        (99_999.999, 100_000.0),
        (0.0005, 0.001),
        (5e-324, 0.001),
        (None, None),
    ],
)
def test_an_accuracy_is_a_number_or_a_string_in_single_precision(sent: Any, accuracy: float | None) -> None:
    fields = GOOD | {"accuracy": sent}
    assert pings.parse(fields) == PING._replace(accuracy=accuracy)
    assert pings.parse_batch([fields]) == ([PING._replace(accuracy=accuracy)], [0], [])


@pytest.mark.parametrize("sent", BAD)
def test_a_bad_accuracy_is_refused(sent: Any) -> None:
    with pytest.raises(Refused) as refused:
        pings.parse(GOOD | {"accuracy": sent})
    assert refused.value.errors == REFUSED
    assert [each.errors for each in pings.parse_batch([GOOD | {"accuracy": sent}])[2]] == [REFUSED]


@given(st.floats(min_value=1e-3, max_value=MAX_ACCURACY_M))
@example(16_777.217)
def test_rounding_keeps_the_single_precision_value_with_the_fewest_digits(value: float) -> None:
    rounded = pings.to_single(value)
    assert single(rounded) == single(value)
    assert pings.to_single(rounded) == pings.to_single(single(value)) == rounded
    digits = len(repr(rounded).replace(".", "").strip("0"))
    assert digits <= 9
    if digits > 6:
        assert single(float(f"{single(value):.{digits - 1}g}")) != single(value)


@given(st.floats(width=32))
def test_grpc_and_rest_agree_on_every_accuracy(value: float) -> None:
    location = converter.without_id(PING)
    location.accuracy = value
    good, indexes, refusals = converter.to_pings([location])
    assert (good, indexes, refusals) == pings.parse_batch([GOOD | {"accuracy": value}])
    for ping in good:
        assert converter.to_ping(location) == ping
        assert converter.from_location(converter.to_location(ping)) == ping
    for refusal in refusals:
        with pytest.raises(Refused) as refused:
            converter.to_ping(location)
        assert refused.value.errors == refusal.errors == REFUSED


def test_the_topic_keeps_the_accuracy_and_reads_messages_without_one() -> None:
    for ping in (PING, PING._replace(accuracy=3.3)):
        key, value = topic.encode(ping)
        assert topic.decode(key, value).ping == ping
        assert topic.decode_batch([value])[0] == [ping]
    bad = converter.without_id(PING)
    bad.accuracy = -1
    assert topic.decode(b"5", bad.SerializeToString()).reason.startswith("accuracy: Must be a number")


# --- one table -----------------------------------------------------------------------------------


def test_the_table_of_fields_agrees_with_the_row_the_model_and_the_proto() -> None:
    columns = {field.attname for field in Location._meta.concrete_fields}
    assert set(Ping._fields) == FIELDS.keys() == columns
    assert Ping._fields[-len(OPTIONAL_FIELDS) :] == OPTIONAL_FIELDS
    assert PING.to_wire().keys() == {"id", *FIELDS}
    assert set(pb.Location.DESCRIPTOR.fields_by_name) == {"id", *FIELDS}


# --- stores --------------------------------------------------------------------------------------


@pytest.fixture
def person_5(db: None) -> None:
    Person.objects.create(id=5, first_name="A", last_name="B", company_name="C")


@pytest.mark.parametrize("count", [3, bulk_insert.COPY_FROM + 500])
@pytest.mark.parametrize("accuracies", [[None], [12.5], [None, 3.3, 12.5]], ids=str)
def test_both_statements_store_it(person_5: None, count: int, accuracies: list[float | None]) -> None:
    sent = [
        Ping(5, NOON + timedelta(seconds=n), 52.52, 13.4, accuracies[n % len(accuracies)])
        for n in range(count)
    ]
    assert storage.record(sent).stored == count
    assert list(storage.list_between(person_id=5)) == sent


def test_the_accuracy_stored_first_stays(person_5: None) -> None:
    storage.record([PING._replace(accuracy=3.3)])
    assert storage.record([PING, PING._replace(accuracy=12.5)]).stored == 0
    assert storage.get(5, NOON) == PING._replace(accuracy=3.3)


@pytest.mark.parametrize("value", [0, -1, 100_001, float("nan")])
def test_the_database_refuses_a_bad_accuracy(person_5: None, value: Any) -> None:
    storage.record([PING._replace(creation_time=NOON + timedelta(days=40))])  # makes a partition
    for moment in (NOON, NOON + timedelta(days=40, hours=1)):
        with pytest.raises(IntegrityError, match="locations_accuracy"), transaction.atomic():
            storage.record([PING._replace(creation_time=moment, accuracy=value)])


def test_the_migration_can_be_undone_and_old_statements_work_beside_it(person_5: None) -> None:
    """A process of the release before names four columns."""
    partitions.ensure(partitions.months_of([NOON]))
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO locations_location (person_id, creation_time, latitude, longitude) "
            "SELECT person_id, creation_time, latitude, longitude "
            "  FROM unnest(ARRAY[5::bigint], ARRAY[%s]) AS sent (person_id, creation_time), "
            "       (VALUES (52.52, 13.4)) AS place (latitude, longitude)",
            [NOON],
        )
        assert storage.get(5, NOON) == PING
        migration = import_module("locations.migrations.0002_accuracy")
        migration.drop()
        cursor.execute("SELECT * FROM locations_location")
        assert [column.name for column in cursor.description][:4] == list(Ping._fields[:4])
        assert "accuracy" not in {column.name for column in cursor.description}
        migration.add()
    assert storage.get(5, NOON) == PING


# --- REST ----------------------------------------------------------------------------------------


@pytest.fixture
def sent(ann: Person) -> Callable[..., dict[str, Any]]:
    return lambda **changes: GOOD | {"person_id": ann.pk} | changes


def test_an_answer_repeats_the_accuracy_and_a_get_shows_the_stored_one(
    api: APIClient, sent: Callable
) -> None:
    for accuracy in ("12.5", 99, None):
        answer = api.post("/api/locations", sent(accuracy=accuracy))
        assert (answer.status_code, answer.json()["accuracy"]) == (202, accuracy and float(accuracy))
        assert api.get(answer["Location"]).json()["accuracy"] == 12.5
    assert b'"accuracy":12.5' in api.get("/api/locations?limit=1").content


def test_a_bad_accuracy_is_a_400_that_names_it(api: APIClient, sent: Callable) -> None:
    answer = api.post("/api/locations", sent(accuracy=0))
    assert (answer.status_code, answer.json()) == (400, REFUSED)
    answer = api.post("/api/locations", [sent(accuracy=0), sent(accuracy=0.5)])
    assert (answer.status_code, answer.json()["accepted"]) == (207, 1)
    assert answer.json()["results"][0]["errors"] == REFUSED


# --- between processes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "width"), [("", 4), ("&ping_fields=4", 4), ("&ping_fields=5", 5), ("&ping_fields=9", 5)]
)
def test_a_row_has_only_the_fields_that_the_other_process_knows(
    person_5: None, query: str, width: int
) -> None:
    storage.record([PING._replace(accuracy=3.3)])
    question = orjson.dumps(internal_codec.pack({"person_id": 5})).decode()
    request = APIRequestFactory().get(f"/internal/locations/list_between?question={question}{query}")
    answer = internal.Verb.as_view()(request, verb="list_between").render()
    row = orjson.loads(answer.content.split(b"\n")[0])
    assert row == internal_codec.pack_ping(PING._replace(accuracy=3.3))[:width]
    assert internal_codec.unpack_ping(row) == PING._replace(accuracy=3.3 if width == 5 else None)


# --- questions -----------------------------------------------------------------------------------


def test_a_statement_without_a_maximum_does_not_mention_the_accuracy_in_a_condition() -> None:
    question: dict[str, Any] = {"start": NOON, "end": NOON, "distance_m": 5.0, "after": None, "limit": None}
    met = {**question, "within_s": 60, "max_gap_s": 75, "min_duration_s": 0}
    statements = [
        proximity_sql.connections_sql(1, **question, within_s=None),
        proximity_sql.connections_sql(1, **question, within_s=60),
        proximity_sql.encounters_sql(1, **met),
        proximity_sql.encounters_sql(1, **met, max_speed_m_s=10),
    ]
    for sql, values in statements:
        assert "accuracy <=" not in sql
        assert "max_accuracy_m" not in values


@pytest.mark.django_db
@pytest.mark.parametrize("metres", [3.3, 3.299999952316284, "3.3"])
def test_the_maximum_is_rounded_like_an_accuracy(metres: Any) -> None:
    replace_all([PING._replace(person_id=person_id, accuracy=3.3) for person_id in (1, 2)])
    day = {"start": NOON, "end": NOON + timedelta(days=1)}
    found = storage.connections(1, **day, distance_m=5, max_accuracy_m=float(metres))
    assert [ping.person_id for ping in found] == [2]


def judged(
    person_id: int, where: list[tuple[float, float]], accuracies: list[float | None]
) -> Iterator[Ping]:
    """A ping each 5 s, with these accuracies in turn."""
    for n, ping in enumerate(pings_every(person_id, 5, where)):
        yield ping._replace(accuracy=accuracies[n % len(accuracies)])


@pytest.mark.django_db
def test_a_jump_cannot_be_hidden_by_calling_it_inaccurate() -> None:
    """A path alternates between two places, ten pings at each; the first of each ten is a jump.

    The jumps are 10 % of the pings. Were they left out, half of the remaining pings would be near each of the
    two people, who are 300 m apart.
    """
    path = ([HERE] * 10 + [THERE] * 10) * 12
    others = pings_every(2, 10, [HERE] * 130) + pings_every(3, 10, [THERE] * 130)
    replace_all([*judged(1, path, [900.0, *[5.0] * 9]), *others])

    assert met_ids(plausible_only=False, max_accuracy_m=10) == [2, 3]
    assert met_ids() == met_ids(max_accuracy_m=10) == []


@pytest.mark.django_db
def test_inaccurate_plausible_pings_are_left_out_of_the_total() -> None:
    """Two of three own pings are inaccurate: what is left meets, as if they had never been sent."""
    replace_all([*judged(1, [HERE] * 60, [5.0, 900.0, 900.0]), *pings_every(2, 10, [HERE] * 30)])
    assert met_ids(max_accuracy_m=10) == [2]
    aside = at(HALL, 20, 0)
    moved = [
        each._replace(latitude=aside[0], longitude=aside[1]) if each.accuracy == 900 else each
        for each in judged(1, [HERE] * 60, [5.0, 900.0, 900.0])
    ]
    replace_all([*moved, *pings_every(2, 10, [HERE] * 30)])
    assert met_ids() == []  # a third of the pings is near
    assert met_ids(max_accuracy_m=10) == [2]


@pytest.mark.django_db
def test_an_inaccurate_ping_of_another_person_does_not_count() -> None:
    theirs = [each._replace(accuracy=900.0) for each in pings_every(2, 10, [HERE] * 30)]
    replace_all([*pings_every(1, 10, [HERE] * 30), *theirs])
    assert met_ids() == [2]
    assert met_ids(max_accuracy_m=899.9) == []
    assert met_ids(max_accuracy_m=900) == [2]
    assert MINUTE["plausible_only"]
