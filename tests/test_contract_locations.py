"""One contract for locations and pings, whichever way they are asked: the same assertions over every way."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from types import ModuleType
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from connect import request_context
from connect.errors import NeighbourUnavailable
from consumers import producer as kafka_producer
from consumers.lag import Observer
from consumers.writer import Writer
from grpc_server import client as grpc_client
from locations import http_client, storage
from locations.pings import EARLIEST, LATEST, Ping
from locations.proximity import Encounter
from locations.storage import Bounds, Receipt
from persons.models import Person
from tests.gunicorn_server import until

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)
DAY = {"start": NOON - timedelta(hours=12), "end": NOON + timedelta(hours=12)}
NEAR = DAY | {"distance_m": 5.0}
MET = NEAR | {"within_s": 60.0, "max_gap_s": 75.0}


@pytest.fixture(params=["local", "grpc", "kafka"])
def pings(request: pytest.FixtureRequest, settings: Any) -> ModuleType:
    if request.param == "grpc":
        settings.PINGS_URL = request.getfixturevalue("grpc_process").url
        return grpc_client
    if request.param == "kafka":
        request.getfixturevalue("kafka")
        return kafka_producer
    return storage


@pytest.fixture
def taken(pings: ModuleType) -> Iterator[Callable[[Sequence[Ping]], Receipt]]:
    """Hands pings in and has them stored; the receipt says how many were new, whichever way they went."""
    if pings is not kafka_producer:
        yield pings.submit
        return
    writer, observer = Writer(age_s=0.1), Observer()

    def submit(batch: Sequence[Ping]) -> Receipt:
        receipt = pings.submit(batch)
        assert receipt.stored is None
        before = writer.total.stored
        until(lambda: writer.step() and not observer.look().unwritten)
        assert not writer.total.rejected
        return Receipt(writer.total.stored - before, receipt.refused)

    yield submit
    writer.close()
    observer.close()


@pytest.fixture(autouse=True)
def people(transactional_db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO persons_person (id, first_name, last_name, company_name) "
            "SELECT id, 'A', 'B', 'C' FROM generate_series(1, 9) AS id"
        )


def at(person_id: int, second: float, *, latitude: float = 1.0, longitude: float = 2.0) -> Ping:
    return Ping(person_id, NOON + timedelta(seconds=second), latitude, longitude)


# As the doors give them: the shortest numbers of single precision.
ACCURACIES = [None, 0.001, 3.3, 12.5, 16777.215, 99999.99, 100_000.0]

# --- submit --------------------------------------------------------------------------------------


def test_a_batch_is_stored_and_a_repeat_is_taken_and_not_stored(taken: Callable):
    batch = [at(1, 0), at(2, 0), at(1, 1), at(1, 0, latitude=9)]

    assert taken(batch) == Receipt(stored=3, refused=[])
    assert taken(batch) == Receipt(stored=0, refused=[])

    assert sorted(storage.list_between(limit=10)) == sorted(batch[:3])


def test_the_empty_batch_is_taken(taken: Callable):
    assert taken([]) == Receipt(stored=0, refused=[])


def test_what_is_sent_is_stored_to_the_last_bit_and_microsecond(taken: Callable):
    sent = [
        Ping(1, EARLIEST, 90.0, -180.0),
        Ping(1, LATEST - timedelta(microseconds=1), 1e-9, -179.99999999999997),
        Ping(1, datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), 0.1 + 2e-17, 0.30000000000000004),
        *(at(1, n)._replace(accuracy=accuracy) for n, accuracy in enumerate(ACCURACIES)),
    ]

    assert taken(sent).stored == len(sent)
    assert sorted(storage.list_between(person_id=1)) == sorted(sent)


def test_pings_of_nobody_are_refused_at_their_index_and_the_others_are_stored(taken: Callable):
    nobody = [0, -5, 999, 2**63 - 1, 2**63, -(2**63), 10**30]

    receipt = taken([at(1, 0), *(at(person_id, 0) for person_id in nobody), at(2, 0)])

    assert receipt.stored == 2
    assert [(r.index, r.status, r.errors) for r in receipt.refused] == [
        (index, 404, {"person_id": [f"There is no person {person_id}."]})
        for index, person_id in enumerate(nobody, start=1)
    ]


def test_more_than_one_batch_at_once_keeps_its_indexes(taken: Callable):
    many = [at(1 if n % 7000 else 77, n) for n in range(21_001)]

    receipt = taken(many)

    assert receipt.stored == 20_997
    assert [refusal.index for refusal in receipt.refused] == [0, 7000, 14_000, 21_000]


# --- get, list_between ---------------------------------------------------------------------------


def test_one_location_by_person_and_time(locations: ModuleType):
    storage.record([at(1, 0.000001)])

    assert locations.get(1, NOON + timedelta(microseconds=1)) == at(1, 0.000001)
    assert locations.get(1, NOON) is None
    for nobody in (2, 0, -1, 2**63, 10**30):
        assert locations.get(nobody, NOON + timedelta(microseconds=1)) is None


STORED = [
    at(1 + n % 3, n // 2, latitude=n - 10, longitude=n * 18 - 179.5)._replace(accuracy=ACCURACIES[n % 7])
    for n in range(20)
]


QUESTIONS: list[dict[str, Any]] = [
    {"limit": 7},
    {"limit": 20},
    {"limit": 10_001},
    {"limit": 25_000},
    {"person_id": 2},
    {"person_id": 2, "limit": 3},
    {"person_id": 2, "start": NOON + timedelta(seconds=4)},
    {"person_id": 2, "end": NOON + timedelta(seconds=4)},
    {"start": NOON + timedelta(seconds=2), "end": NOON + timedelta(seconds=5)},
    {"start": NOON, "end": NOON},
    {"start": datetime.min.replace(tzinfo=UTC), "end": datetime.max.replace(tzinfo=UTC)},
    {"limit": 9, "bounds": Bounds(-100, -5, 100, 5)},
    {"limit": 9, "bounds": Bounds(170, -90, -170, 90)},
    {"limit": 9, "after": (NOON + timedelta(seconds=3), 1)},
    {"person_id": 3, "after": (NOON + timedelta(seconds=3), 2**62)},
    {"person_id": 0},
    {"person_id": 8},
    {"person_id": 10**30},
    {},
]


def test_lists_are_what_the_table_gives(locations: ModuleType):
    storage.record(STORED)

    for question in QUESTIONS:
        assert list(locations.list_between(**question)) == list(storage.list_between(**question)), question


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("of", [{}, {"person_id": 1}, {"bounds": Bounds(-180, -90, 180, 90)}], ids=str)
def test_pages_follow_each_other_without_gap_or_repeat(
    locations: ModuleType, newest_first: bool, of: dict[str, Any]
):
    storage.record(STORED)
    found: list[Ping] = []
    after = None
    while page := list(locations.list_between(**of, limit=6, after=after, newest_first=newest_first)):
        found += page
        after = (page[-1].creation_time, page[-1].person_id)

    expected = [ping for ping in STORED if ping.person_id == of.get("person_id", ping.person_id)]
    expected.sort(key=lambda ping: (ping.creation_time, ping.person_id), reverse=newest_first)
    assert found == expected
    assert list(locations.list_between(**DAY, **of, newest_first=newest_first)) == [
        ping for ping in expected if DAY["start"] <= ping.creation_time < DAY["end"]
    ]


def test_more_rows_than_a_block_come_in_order_and_whole(locations: ModuleType):
    many = [at(1 + n % 2, n // 2) for n in range(10_005)]
    storage.record(many)

    assert list(locations.list_between(start=NOON, end=NOON + timedelta(days=1))) == many
    assert list(locations.list_between(limit=10_001)) == many[:10_001]
    assert list(islice(locations.list_between(limit=10_005), 3)) == many[:3]


# --- connections, encounters ---------------------------------------------------------------------


def test_connections_are_those_near_in_space_and_time(locations: ModuleType):
    own, near, late, far = at(1, 0), at(2, 10), at(3, 120), at(4, 0, latitude=1.1)
    storage.record([own, near, late, far])

    assert list(locations.connections(1, **NEAR)) == [near, late]
    assert list(locations.connections(1, **NEAR, within_s=10)) == [near]
    assert list(locations.connections(1, **NEAR, within_s=9.999)) == []
    assert list(locations.connections(1, **NEAR, limit=1)) == [near]
    assert list(locations.connections(1, **NEAR, after=(near.creation_time, 2))) == [late]
    assert list(locations.connections(1, **NEAR, limit=10_001)) == [near, late]


def test_pings_of_a_worse_accuracy_are_left_out_of_either_person(locations: ModuleType):
    own = [at(1, n)._replace(accuracy=accuracy) for n, accuracy in ((0, None), (1, 3.3), (500, 20.0))]
    good = [at(2, n)._replace(accuracy=accuracy) for n, accuracy in ((0, None), (1, 3.3))]
    storage.record([*own, *good, at(2, 2)._replace(accuracy=3.4), at(2, 500), at(3, 500)])
    asked = {"max_accuracy_m": 3.3}

    assert list(locations.connections(1, **NEAR, **asked, within_s=60)) == good
    assert list(locations.connections(1, **NEAR, **asked)) == [*good, at(2, 500), at(3, 500)]
    for plausible_only in (False, True):
        [met] = locations.encounters(1, **MET, **asked, plausible_only=plausible_only)
        assert (met.person_id, met.pings, met.duration_s) == (2, 2, 1.0)
    assert len(list(locations.encounters(1, **MET))) == 3


def test_encounters_come_whole_and_in_pages(locations: ModuleType):
    storage.record([at(1, n * 30) for n in range(10)])
    storage.record([at(2, n * 30 + 1, latitude=1.00001) for n in range(4)])
    storage.record([at(3, n) for n in (0, 30, 250)])

    met = list(locations.encounters(1, **MET))

    assert met == list(storage.encounters(1, **MET))
    assert [(each.person_id, each.nth) for each in met] == [(3, 1), (2, 1), (3, 2)]
    assert isinstance(met[0], Encounter)
    for n, each in enumerate(met):
        key = (each.start, each.person_id, each.nth)
        assert list(locations.encounters(1, **MET, after=key)) == met[n + 1 :]
        assert list(locations.encounters(1, **MET, limit=n)) == met[:n]
    assert list(locations.encounters(1, **MET, min_duration_s=60)) == [
        each for each in met if each.duration_s >= 60
    ]


def test_plausible_encounters_leave_out_what_a_forged_path_has(locations: ModuleType):
    storage.record([at(1, n * 30) for n in range(10)])
    storage.record([at(1, 1000 + n * 30, longitude=2.0 + n % 2) for n in range(10)])
    storage.record([at(2, n * 30) for n in range(60)])

    asked = {**MET, "min_duration_s": 60}  # the first ping after the pause could have been walked to
    met = list(locations.encounters(1, **asked, plausible_only=True))

    assert met == list(storage.encounters(1, **asked, plausible_only=True))
    assert [(each.person_id, each.duration_s) for each in met] == [(2, 270.0)]
    assert len(list(locations.encounters(1, **MET))) == 2


def test_who_is_not_to_be_found_is_in_nobodys_answer_and_has_their_own(locations: ModuleType):
    storage.record([at(person_id, 0) for person_id in (1, 2, 3)])
    Person.objects.filter(id=2).update(findable=False)

    def seen(person_id: int) -> list[list[int]]:
        ways = locations.connections(person_id, **NEAR), locations.encounters(person_id, **MET)
        return [[each.person_id for each in way] for way in ways]

    assert seen(1) == [[3], [3]]
    assert seen(2) == [[1, 3], [1, 3]]
    assert [each.person_id for each in locations.list_between(**DAY)] == [1, 3]
    assert [each.person_id for each in locations.list_between(person_id=2)] == [2]
    assert locations.get(2, NOON) == at(2, 0)


def test_nobody_has_met_anybody(locations: ModuleType):
    for nobody in (0, -1, 77, 2**63 - 1, 2**63, 10**30):
        assert list(locations.connections(nobody, **NEAR)) == []
        assert list(locations.encounters(nobody, **MET)) == []


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    distance_m=st.floats(min_value=5e-324, max_value=10_000),
    within_s=st.none() | st.floats(min_value=0, max_value=3600),
    max_accuracy_m=st.none() | st.floats(min_value=5e-324, max_value=100_000),
    start=st.datetimes(timezones=st.just(UTC)),
    end=st.datetimes(timezones=st.just(UTC)),
    limit=st.none() | st.integers(1, 10_000),
)
def test_any_question_has_the_same_answer(
    locations: ModuleType,
    distance_m: float,
    within_s: float | None,
    max_accuracy_m: float | None,
    start: datetime,
    end: datetime,
    limit: int | None,
):
    storage.record(STORED)
    question = {
        "start": min(start, end),
        "end": max(start, end),
        "distance_m": distance_m,
        "within_s": within_s,
        "max_accuracy_m": max_accuracy_m,
        "limit": limit,
    }

    assert list(locations.connections(1, **question)) == list(storage.connections(1, **question))


# --- in time, or not at all ----------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["list_between", "connections", "encounters"])
def test_a_question_that_nobody_waits_for_any_more_is_given_up_by_the_database(
    locations: ModuleType, verb: str
):
    question: dict[str, Any] = {
        "list_between": {"limit": 1},
        "connections": {"person_id": 1, **NEAR},
        "encounters": {"person_id": 1, **MET},
    }[verb]

    def ask() -> list[Any]:
        try:
            with request_context.call_context("too-late", 0.5):
                return list(getattr(locations, verb)(**question))
        finally:
            connections.close_all()

    # Another thread asks, because this one's transaction holds the table.
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE locations_location IN ACCESS EXCLUSIVE MODE")
        late = pool.submit(ask)
        with pytest.raises((NeighbourUnavailable, OperationalError)):
            late.result(20)
        until(lambda: not waiting_for_locations())  # while the table is still held


def waiting_for_locations() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
            "WHERE datname = current_database() AND relation = 'locations_location'::regclass AND NOT granted"
        )
        return int(cursor.fetchone()[0])


def test_what_takes_no_time_at_all_is_not_begun(locations: ModuleType):
    with request_context.call_context("over", 0), pytest.raises((NeighbourUnavailable, OperationalError)):
        list(locations.list_between(limit=1))


def test_an_answer_that_has_begun_may_take_its_time(locations: ModuleType):
    storage.record([at(1, n) for n in range(5000)])

    with request_context.call_context("reader", 5):
        rows = locations.list_between(limit=5000)
        first = next(rows)
    with request_context.call_context("reader", None):
        assert [first, *rows] == list(storage.list_between(limit=5000))


# --- out of reach --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda far: far.get(1, NOON),
        lambda far: list(far.list_between(limit=1)),
        lambda far: list(far.connections(1, **NEAR)),
        lambda far: list(far.encounters(1, **MET)),
    ],
    ids=["get", "list_between", "connections", "encounters"],
)
@pytest.mark.parametrize("far", ["http", "grpc"])
def test_a_server_that_is_away_is_said_to_be(far: str, ask: Callable, settings: Any, free_port: int):
    settings.LOCATIONS_URL = f"{far}://127.0.0.1:{free_port}"

    with pytest.raises(NeighbourUnavailable):
        ask({"http": http_client, "grpc": grpc_client}[far])


@pytest.mark.parametrize("far", [grpc_client, kafka_producer], ids=["grpc", "kafka"])
def test_pings_for_a_server_that_is_away_are_not_taken(far: ModuleType, settings: Any, free_port: int):
    scheme = "grpc" if far is grpc_client else "kafka"
    settings.PINGS_URL, settings.KAFKA_TIMEOUT_S = f"{scheme}://127.0.0.1:{free_port}", 1.0

    with pytest.raises(NeighbourUnavailable):
        far.submit([at(1, 0)])
