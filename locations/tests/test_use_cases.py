"""The use cases of locations: what each kind of caller may send and read, and the quota of ingest tokens."""

from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied

from access.callers import Caller, Kind
from connect import neighbours
from connect.errors import NeighbourUnavailable, UnknownPerson
from locations import quota, services
from locations.pings import Ping
from locations.quota import BURST, BatchTooLarge, Quota, TooManyPings
from persons.models import Person

STAFF = Caller(Kind.STAFF, "user admin")
NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)


def phone(*people: Person) -> Caller:
    return Caller(Kind.INGEST, "token 1", (people[0].pk, people[-1].pk))


def pings(person: Person, *, count: int = 1, ago: timedelta = timedelta(0)) -> list[Ping]:
    now = datetime.now(UTC) - ago
    return [Ping(person.pk, now - timedelta(milliseconds=n), 1.0, 2.0) for n in range(count)]


@pytest.fixture(autouse=True)
def _buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "_quota", Quota())


# --- callers --------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_each_kind_of_caller_sends_and_sees_only_its_own(ann: Person, bo: Person) -> None:
    [mine], [theirs] = pings(ann), pings(bo)
    receipt = services.submit(phone(ann), [theirs, mine])
    assert [(one.index, one.status) for one in receipt.refused] == [(0, 404)]
    assert receipt.stored == 1
    services.submit(STAFF, [theirs])
    me = Caller(Kind.PERSON, "token 2", (ann.pk, ann.pk))
    assert list(services.list_between(me, limit=9)) == [mine]
    assert len(list(services.list_between(STAFF, limit=9))) == 2
    assert services.get(me, mine.person_id, mine.creation_time) == mine
    assert services.get(me, theirs.person_id, theirs.creation_time) is None
    assert services.get(STAFF, theirs.person_id, theirs.creation_time) == theirs
    with pytest.raises(UnknownPerson):
        services.list_between(me, person_id=bo.pk)
    with pytest.raises(PermissionDenied):
        services.submit(me, [mine])
    for ask in (services.list_between, lambda caller: services.get(caller, ann.pk, NOON)):
        with pytest.raises(PermissionDenied):
            ask(phone(ann))


# --- age ------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("ago", "is_accepted"),
    [
        (timedelta(hours=2, seconds=-30), True),
        (timedelta(hours=2, seconds=30), False),
        (timedelta(seconds=-30), True),
        (timedelta(seconds=-90), False),
        (timedelta(days=-400), False),
    ],
)
def test_an_ingest_token_sends_recent_pings_only(
    ann: Person, settings: Any, ago: timedelta, is_accepted: bool
) -> None:
    settings.INGEST_MAX_AGE_H = 2
    good, checked = pings(ann)[0], pings(ann, ago=ago)[0]
    receipt = services.submit(phone(ann), [checked, good])
    assert receipt.stored == 1 + is_accepted
    text = "Must be at most 2 hours ago and at most 60 seconds ahead."
    expected = [] if is_accepted else [(0, 400, {"creation_time": [text]})]
    assert [(one.index, one.status, one.errors) for one in receipt.refused] == expected
    assert services.submit(STAFF, [checked]).refused == []


# --- quota ----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_pings_over_the_quota_are_refused_before_any_is_stored_and_staff_have_no_quota(
    ann: Person, bo: Person
) -> None:
    services.submit(phone(ann), pings(ann, count=BURST - 10))
    with pytest.raises(TooManyPings) as raised:
        services.submit(phone(ann, bo), [*pings(bo), *pings(ann, count=20)])
    assert 1 <= raised.value.wait_s <= 10
    assert list(services.list_between(STAFF, person_id=bo.pk)) == []
    assert services.submit(phone(ann, bo), pings(bo)).stored == 1  # another person's bucket
    assert services.submit(STAFF, pings(ann, count=BURST + 1)).refused == []


@pytest.mark.django_db
def test_repeats_count_for_the_quota_and_refused_pings_do_not(ann: Person) -> None:
    same, old = pings(ann) * BURST, pings(ann, ago=timedelta(days=9)) * BURST
    services.submit(phone(ann), old)
    services.submit(phone(ann), same)
    with pytest.raises(TooManyPings):
        services.submit(phone(ann), same[:100])


@pytest.mark.django_db
def test_pings_that_could_not_be_submitted_are_refunded(ann: Person, settings: Any, free_port: int) -> None:
    settings.PINGS_URL, settings.GRPC_TIMEOUT_S = f"grpc://127.0.0.1:{free_port}", 1.0
    with pytest.raises(NeighbourUnavailable):
        services.submit(phone(ann), pings(ann, count=BURST))
    settings.PINGS_URL = "local:"
    assert neighbours.pings().__name__ == "locations.storage"
    assert services.submit(phone(ann), pings(ann, count=BURST)).refused == []


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_is_refilled_by_one_ping_per_second() -> None:
    clock = Clock()
    quota = Quota(clock=clock)
    quota.charge([1] * BURST)
    for _ in range(10):
        with pytest.raises(TooManyPings) as raised:
            quota.charge([1])
        assert raised.value.wait_s == 1
        clock.now += 1
        quota.charge([1])
    clock.now += 10 * BURST
    quota.charge([1] * BURST)
    with pytest.raises(TooManyPings):
        quota.charge([1])


@pytest.mark.parametrize("pause_s", [1, 7, 60, 599])
def test_any_ten_minutes_allow_at_most_one_ping_per_second_and_a_burst(pause_s: int) -> None:
    clock = Clock()
    quota = Quota(clock=clock)
    last_ten_minutes: deque[tuple[float, int]] = deque()
    for _ in range(0, 3600, pause_s):
        for size in (5000, 2000, 500, 60, 1):
            try:
                quota.charge([1] * size)
            except (TooManyPings, BatchTooLarge):
                continue
            last_ten_minutes.append((clock.now, size))
        while last_ten_minutes[0][0] <= clock.now - 600:
            last_ten_minutes.popleft()
        assert 0 < sum(size for _, size in last_ten_minutes) <= BURST + 600
        clock.now += pause_s


def test_a_batch_larger_than_a_bucket_is_always_refused() -> None:
    with pytest.raises(BatchTooLarge, match="3600 are allowed"):
        Quota(clock=Clock()).charge([1] * (BURST + 1))


def test_the_number_of_buckets_is_bounded_and_the_emptiest_are_kept() -> None:
    clock = Clock()
    quota = Quota(clock=clock)
    quota.MAX_PEOPLE = 100
    quota.charge([7] * BURST)
    for person_id in range(1000, 2000):
        quota.charge([person_id])
    assert len(quota) <= 100
    with pytest.raises(TooManyPings):
        quota.charge([7])
