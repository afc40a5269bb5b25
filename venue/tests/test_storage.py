"""The tables of the venue: at most one event, days in order, and replacing as a whole."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from threading import Barrier

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from venue import models, storage
from venue.geojson import Zone, parse_collection
from venue.tests.shapes import collection, feature, square

DAY = date(2026, 5, 11)
FAIR = storage.Event("Fair", "Europe/Berlin", date(2026, 5, 11), date(2026, 5, 12))


def zones(*names: str) -> list[Zone]:
    return parse_collection(collection(*map(feature, names)))


def names() -> list[str]:
    return [zone.name for zone in storage.zones()]


@pytest.mark.django_db
def test_there_is_at_most_one_event() -> None:
    assert storage.event() == storage.Event("", "UTC", None, None, None)
    storage.replace(event=FAIR)
    storage.replace(event=storage.Event("Other", "UTC", date(2026, 1, 1), date(2026, 1, 1)))
    assert storage.event().name == "Other"
    with pytest.raises(IntegrityError, match="venue_one_event"), transaction.atomic():
        models.Event.objects.create(id=2, name="Two", first_day=DAY, last_day=DAY)
    assert models.Event.objects.count() == 1


@pytest.mark.django_db
def test_the_days_are_in_order() -> None:
    event = models.Event(name="Fair", first_day=date(2026, 5, 12), last_day=date(2026, 5, 11))
    with pytest.raises(ValidationError, match="must not be after the last day"):
        event.full_clean()
    with pytest.raises(IntegrityError, match="venue_days_in_order"), transaction.atomic():
        event.save()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "name", ["Europe/Atlantis", "europe/berlin", "../etc/passwd", "+02:00", "Factory", "localtime"]
)
def test_an_unknown_time_zone_is_refused(name: str) -> None:
    event = models.Event(name="Fair", time_zone=name, first_day=DAY, last_day=DAY)
    with pytest.raises(ValidationError, match="IANA time zone"):
        event.full_clean()


@pytest.mark.django_db
def test_the_bounds_are_those_of_the_zones_unless_given() -> None:
    storage.replace(event=FAIR)
    assert storage.event().bounds is None
    storage.replace(zones=parse_collection(collection(feature(), feature(rings=[square(13.5, 52.4)]))))
    assert storage.event().bounds == pytest.approx((13.4, 52.4, 13.501, 52.501))
    own = (13.0, 52.0, 14.0, 53.0)
    storage.replace(event=storage.Event("Fair", "UTC", DAY, DAY, own))
    assert storage.event().bounds == own


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("wests", "bounds"),
    [
        ([179.9, -179.95], (179.9, -179.9)),
        ([-179.95, 179.9, 179.8, -179.9], (179.8, -179.85)),
        ([-180, 179.95], (179.95, -179.95)),
        ([-0.02, 0.01], (-0.02, 0.06)),
        ([-80, 100], (-80, 100.05)),
        ([-100, 100], (100, -99.95)),
    ],
)
def test_the_extent_of_zones_is_the_narrow_one(wests: list[float], bounds: tuple[float, float]) -> None:
    rings = [square(west, 0, 0.05) for west in wests]
    storage.replace(zones=parse_collection(collection(*(feature(rings=[ring]) for ring in rings))))
    west, east = bounds
    assert storage.extent() == pytest.approx((west, 0, east, 0.05))


@pytest.mark.django_db
def test_zones_are_replaced_as_a_whole() -> None:
    storage.replace(event=FAIR, zones=zones("A", "B", "C"))
    storage.replace(zones=zones("D", "E"))
    assert [(zone.id, zone.name) for zone in storage.zones()] == [(1, "D"), (2, "E")]
    assert storage.event().name == "Fair"
    storage.replace(zones=[])
    assert names() == []


@pytest.mark.django_db
def test_the_simulation_replaces_only_what_no_organiser_made() -> None:
    assert storage.replace_simulated(FAIR, zones("A"))
    assert storage.replace_simulated(FAIR, zones("B"))
    assert names() == ["B"]
    storage.replace(zones=zones("Own"))  # the event is simulated, its zones are not any more
    assert not storage.replace_simulated(FAIR, zones("C"))
    storage.replace(event=FAIR)
    assert not storage.replace_simulated(FAIR, zones("C"))
    assert names() == ["Own"]


@pytest.mark.django_db
def test_the_simulation_keeps_zones_without_an_event() -> None:
    storage.replace(zones=zones("Own"))
    assert not storage.replace_simulated(FAIR, zones("A"))
    assert names() == ["Own"]


@pytest.fixture
def own_connections(transactional_db: None) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def test_replacing_at_the_same_time_leaves_one_of_the_collections(
    own_connections: ThreadPoolExecutor,
) -> None:
    start = Barrier(8)

    def replace(letter: str) -> None:
        start.wait(timeout=20)
        try:
            storage.replace(zones=zones(*(f"{letter}{number}" for number in range(20))))
        finally:
            connection.close()

    list(own_connections.map(replace, "ABCDEFGH"))
    found = names()
    assert found == [f"{found[0][0]}{number}" for number in range(20)]
