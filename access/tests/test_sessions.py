"""Sessions of staff end twelve hours after the login and after an idle hour, at every door."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db.models import F
from django.test import Client
from django.utils import timezone

from access import services
from access.sessions import SIGNED_IN_AT

pytestmark = pytest.mark.django_db
NAME, PASSWORD = "ada", "a long one"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("ada"))
    return client


def age(client: Client, hours: float) -> None:
    session = client.session
    session[SIGNED_IN_AT] -= hours * 3600
    expires = Session.objects.get().expire_date
    session.save()
    Session.objects.update(expire_date=expires - timedelta(hours=hours))


def is_signed_in(client: Client) -> tuple[bool, bool]:
    """Whether the session opens the admin site, and whether the API accepts it."""
    key = client.session.session_key or ""
    caller = services.identify_session(key)
    return client.get("/admin/").status_code == 200, caller is not None


def test_a_session_in_use_ends_after_twelve_hours(staff: Client) -> None:
    for _ in range(14):
        assert is_signed_in(staff) == (True, True)
        age(staff, 0.8)
    assert is_signed_in(staff) == (True, True)  # 11.2 hours
    age(staff, 0.81)
    assert is_signed_in(staff) == (False, False)
    assert not Session.objects.filter(expire_date__gt=timezone.now()).exists()


@pytest.mark.parametrize("door", ["the API", "the admin site"])
def test_an_idle_session_ends_after_an_hour(staff: Client, door: str) -> None:
    age(staff, 0.9)
    if door == "the API":
        assert services.identify_session(staff.session.session_key or "")
    else:
        assert staff.get("/admin/persons/person/").status_code == 200
    age(staff, 0.9)
    assert is_signed_in(staff) == (True, True)
    age(staff, 1.01)
    assert is_signed_in(staff) == (False, False)


def test_the_refresh_of_the_front_page_does_not_renew_the_session(staff: Client) -> None:
    age(staff, 0.9)
    assert staff.get("/admin/figures/").status_code == 200
    age(staff, 0.2)
    assert is_signed_in(staff) == (False, False)


def test_a_session_without_a_login_time_is_invalid(staff: Client) -> None:
    session = staff.session
    del session[SIGNED_IN_AT]
    session.save()
    assert is_signed_in(staff) == (False, False)


def test_the_cookie_ends_with_the_browser_session(client: Client) -> None:
    User.objects.create_superuser(NAME, password=PASSWORD)
    answer: Any = client.post("/admin/login/", {"username": NAME, "password": PASSWORD})
    assert answer.status_code == 302
    assert answer.cookies["sessionid"]["max-age"] == ""
    assert Session.objects.filter(expire_date__gt=F("expire_date") - timedelta(hours=1)).count() == 1
