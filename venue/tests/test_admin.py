"""The forms of the admin site: what they refuse, with a text instead of a failure."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client

from venue import limits, storage
from venue.geojson import collection as collection_of
from venue.geojson import parse_collection
from venue.tests.shapes import collection, feature, square

EVENT = {"name": "Fair", "time_zone": "UTC", "first_day": "2026-05-11", "last_day": "2026-05-12"}


@pytest.fixture
def staff(client: Client, db: None) -> Client:
    client.force_login(User.objects.create_superuser("ada"))
    return client


def errors(staff: Client, what: str, sent: dict[str, Any]) -> dict[str, list[str]]:
    """The errors of the form of a new event or zone; empty if it is stored."""
    answer = staff.post(f"/admin/venue/{what}/add/", sent)
    if answer.status_code == 302:
        return {}
    assert answer.status_code == 200
    return answer.context["adminform"].form.errors


def zone(ring: list[Any]) -> dict[str, str]:
    return {
        "name": "Hall",
        "kind": "hall",
        "area": json.dumps({"type": "Polygon", "coordinates": [ring]}),
    }


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ("13,52,14", "Must be four numbers: west, south, east, north."),
        ("13,53,14,52", "The south must not be north of the north."),
    ],
)
def test_wrong_bounds_are_an_error_of_the_form(staff: Client, bounds: str, text: str) -> None:
    assert errors(staff, "event", EVENT | {"bounds": bounds}) == {"bounds": [text]}


def test_a_number_of_hundreds_of_digits_is_an_error_of_the_form(staff: Client) -> None:
    assert errors(staff, "zone", zone([[10**400, 1], *square()])) == {
        "area": ["Each position must be an array of longitude and latitude."]
    }


def test_all_zones_together_have_a_maximum_of_points(staff: Client, monkeypatch: Any) -> None:
    storage.replace(zones=parse_collection(collection(feature())))
    monkeypatch.setattr("venue.admin.MAX_TOTAL_POINTS", 2 * len(square()) - 1)
    assert errors(staff, "zone", zone(square())) == {
        "__all__": [f"All zones together may have at most {2 * len(square()) - 1:,} points."]
    }
    monkeypatch.setattr("venue.admin.MAX_TOTAL_POINTS", 2 * len(square()))
    assert errors(staff, "zone", zone(square())) == {}
    assert storage.points() == 2 * len(square())
    assert limits.MAX_TOTAL_POINTS < limits.MAX_ZONES * limits.MAX_POINTS


@pytest.mark.parametrize(
    ("stored", "added"),
    [([], [1, 2]), ([1, 4], [5, 6]), ([1, 3, limits.MAX_ID - 1], [limits.MAX_ID, 2, 4])],
)
def test_a_zone_of_the_admin_site_has_an_id_that_put_accepts(
    staff: Client, stored: list[int], added: list[int]
) -> None:
    storage.replace(zones=parse_collection(collection(*(feature(id=each) for each in stored))))
    for _ in added:
        assert errors(staff, "zone", zone(square())) == {}
    assert {each.id for each in storage.zones()} == {*stored, *added}
    sent_back = json.loads(json.dumps(collection_of(storage.zones())))
    assert [each.id for each in parse_collection(sent_back)] == sorted([*stored, *added])


# --- two writers at the same time ----------------------------------------------------------------


def wait_until_one_waits_for_a_lock() -> None:
    deadline = time.monotonic() + 20
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(
                "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
                "WHERE NOT granted AND datname = current_database()"
            )
            if cursor.fetchone() == (1,):
                return
    raise AssertionError("No session waits for a lock.")


@pytest.fixture
def other_thread(transactional_db: None) -> Iterator[ThreadPoolExecutor]:
    def close() -> None:
        connection.close()  # that of the thread

    with ThreadPoolExecutor(1) as threads:
        yield threads
        threads.submit(close).result(timeout=20)


@pytest.mark.parametrize("what", ["event", "zone"])
def test_a_form_and_a_replacement_at_the_same_time_do_not_deadlock(
    other_thread: ThreadPoolExecutor, client: Client, what: str
) -> None:
    client.force_login(User.objects.create_superuser("ada"))
    sent = EVENT if what == "event" else zone(square())
    with transaction.atomic(), connection.cursor() as cursor:
        # The two steps of the LOCK TABLE of a replacement, with the form between them.
        cursor.execute("LOCK TABLE venue_event IN SHARE ROW EXCLUSIVE MODE")
        saving = other_thread.submit(errors, client, what, sent)
        wait_until_one_waits_for_a_lock()
        cursor.execute("LOCK TABLE venue_zone IN SHARE ROW EXCLUSIVE MODE NOWAIT")
    assert saving.result(timeout=20) == {}
