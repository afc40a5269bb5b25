"""Sessions of staff end: some hours after the login, and after an hour without use; at every door."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db.models import F
from django.test import Client
from django.utils import timezone

from access import services
from access.sessions import SIGNED_IN

pytestmark = pytest.mark.django_db
NAME, PASSWORD = "ada", "a long one"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("ada"))
    return client


def hours_pass(client: Client, hours: float) -> None:
    session = client.session
    session[SIGNED_IN] -= hours * 3600
    expires = Session.objects.get().expire_date
    session.save()
    Session.objects.update(expire_date=expires - timedelta(hours=hours))


def is_in(client: Client) -> tuple[bool, bool]:
    """In the admin site, and as a caller at the API."""
    key = client.session.session_key or ""
    caller = services.identify_session(key)
    return client.get("/admin/").status_code == 200, caller is not None


def test_one_that_is_used_goes_on_until_twelve_hours_have_passed(staff: Client) -> None:
    for _ in range(14):
        assert is_in(staff) == (True, True)
        hours_pass(staff, 0.8)
    assert is_in(staff) == (True, True)  # 11.2 hours
    hours_pass(staff, 0.81)
    assert is_in(staff) == (False, False)
    assert not Session.objects.filter(expire_date__gt=timezone.now()).exists()


@pytest.mark.parametrize("door", ["the API", "the admin site"])
def test_one_ends_after_an_hour_without_use(staff: Client, door: str) -> None:
    hours_pass(staff, 0.9)
    if door == "the API":
        assert services.identify_session(staff.session.session_key or "")
    else:
        assert staff.get("/admin/persons/person/").status_code == 200
    hours_pass(staff, 0.9)
    assert is_in(staff) == (True, True)
    hours_pass(staff, 1.01)
    assert is_in(staff) == (False, False)


def test_what_the_front_page_fetches_by_itself_is_no_use(staff: Client) -> None:
    hours_pass(staff, 0.9)
    assert staff.get("/admin/figures/").status_code == 200
    hours_pass(staff, 0.2)
    assert is_in(staff) == (False, False)


def test_one_without_the_time_of_its_login_is_over(staff: Client) -> None:
    session = staff.session
    del session[SIGNED_IN]
    session.save()
    assert is_in(staff) == (False, False)


def test_the_cookie_lasts_as_long_as_the_browser(client: Client) -> None:
    User.objects.create_superuser(NAME, password=PASSWORD)
    answer: Any = client.post("/admin/login/", {"username": NAME, "password": PASSWORD})
    assert answer.status_code == 302
    assert answer.cookies["sessionid"]["max-age"] == ""
    assert Session.objects.filter(expire_date__gt=F("expire_date") - timedelta(hours=1)).count() == 1
