"""Who fails to log in too often, by name or from an address, waits."""

from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.db.models import F
from django.test import Client

pytestmark = pytest.mark.django_db
NAME, PASSWORD, WRONG = "ada", "a long one", "a wrong one"
SHOWN = "the-proxy-knows-it"


@pytest.fixture(autouse=True)
def behind_the_proxy(settings: Any) -> None:
    settings.PROXY_SECRET = SHOWN


@pytest.fixture(autouse=True)
def staff() -> None:
    User.objects.create_superuser(NAME, password=PASSWORD)
    User.objects.create_superuser("bo", password=PASSWORD)


def log_in(name: str = NAME, password: str = PASSWORD, *, address: str = "10.0.0.1") -> Any:
    answer = Client().post(
        "/admin/login/",
        {"username": name, "password": password},
        headers={"X-Forwarded-For": address, "X-Connect-Proxy": SHOWN},
    )
    assert answer.status_code in (200, 302, 429)
    return answer


def test_the_eleventh_attempt_waits_also_with_the_right_password() -> None:
    for n in range(9):
        assert log_in(password=WRONG, address=f"10.0.1.{n}").status_code == 200
    last = log_in(password=WRONG, address="10.0.1.9")

    answer = log_in()
    assert (last.status_code, answer.status_code) == (429, 429)
    assert answer["Retry-After"] == "900"
    page = answer.content.decode()
    assert "Wait 15 minutes" in page
    assert "Connect" in page
    assert 'class=" login"' in page
    assert log_in("bo").status_code == 302


def test_an_address_waits_whatever_names_it_tries() -> None:
    for n in range(10):
        log_in(f"somebody-{n}", WRONG)
    assert log_in("bo").status_code == 429
    assert log_in("bo", address="10.0.0.2").status_code == 302


def test_fifteen_minutes_later_it_may_be_tried_again_and_trying_on_makes_it_no_longer() -> None:
    def pass_by(seconds: int) -> None:
        AccessAttempt.objects.update(attempt_time=F("attempt_time") - timedelta(seconds=seconds))

    for _ in range(10):
        log_in(password=WRONG)
    pass_by(14 * 60)
    assert log_in().status_code == 429
    assert log_in(password=WRONG).status_code == 429
    pass_by(61)
    assert log_in().status_code == 302


def test_who_gets_in_begins_anew() -> None:
    for _ in range(3):
        for _ in range(6):
            log_in(password=WRONG)
        assert log_in().status_code == 302


@pytest.mark.parametrize("address", ["", "nonsense", "1.2.3.4, 5.6.7.8"])
def test_what_is_no_address_is_that_of_the_connection(address: str) -> None:
    for n in range(10):
        log_in(f"somebody-{n}", WRONG, address=address)
    assert log_in("bo", address="127.0.0.1").status_code == 429
