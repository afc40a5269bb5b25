"""After wrong passwords a name waits at that address, longer each time, and nobody else does."""

from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt, AccessLog
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
def staff(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # these log in often
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


def fail(times: int, name: str = NAME, *, address: str = "10.0.0.1") -> Any:
    return [log_in(name, WRONG, address=address) for _ in range(times)][-1]


def pass_by(seconds: int) -> None:
    ago = timedelta(seconds=seconds)
    AccessAttempt.objects.update(attempt_time=F("attempt_time") - ago)
    AccessLog.objects.update(attempt_time=F("attempt_time") - ago)


def test_the_eleventh_attempt_waits_also_with_the_right_password() -> None:
    assert fail(9).status_code == 200
    last, answer = fail(1), log_in()
    assert (last.status_code, answer.status_code) == (429, 429)
    assert 50 < int(answer["Retry-After"]) <= 60
    page = answer.content.decode()
    assert "Wait 1 minute," in page
    assert "Connect" in page
    assert 'class=" login"' in page


def test_nobody_else_waits() -> None:
    fail(11)
    assert log_in("bo").status_code == 302  # at the same address
    assert log_in(address="10.0.0.2").status_code == 302  # the same name elsewhere


def test_each_further_failure_doubles_the_wait_up_to_an_hour_and_trying_meanwhile_does_not() -> None:
    fail(10)
    for minutes in (1, 2, 4, 8, 16, 32, 60, 60):
        pass_by(minutes * 60 - 15)
        assert fail(3).status_code == log_in().status_code == 429
        pass_by(16)
        assert fail(1).status_code == 429  # it was tried, and now it waits again
    pass_by(3601)
    assert log_in().status_code == 302


def test_after_a_day_failures_are_forgotten() -> None:
    fail(13)
    pass_by(24 * 3600 + 1)
    assert fail(9).status_code == 200


def test_who_gets_in_begins_anew() -> None:
    for _ in range(3):
        fail(6)
        assert log_in().status_code == 302


def guess_from_everywhere(times: int) -> list[int]:
    return [fail(1, address=f"10.1.{n // 250}.{n % 250}").status_code for n in range(times)]


def test_a_name_that_is_guessed_from_everywhere_waits_except_where_it_is_known() -> None:
    assert log_in(address="10.0.0.9").status_code == 302
    assert guess_from_everywhere(50)[:49] == [200] * 49
    assert log_in(address="10.0.0.8").status_code == 429
    assert log_in(address="10.0.0.9").status_code == 302
    assert log_in("bo", address="10.0.0.8").status_code == 302
    pass_by(6)
    assert log_in(address="10.0.0.8").status_code == 302


def test_an_address_is_known_for_thirty_days() -> None:
    log_in(address="10.0.0.9")
    pass_by(30 * 24 * 3600 + 1)
    guess_from_everywhere(50)
    assert log_in(address="10.0.0.9").status_code == 429
    log_in("bo")
    assert list(AccessLog.objects.values_list("username", flat=True)) == ["bo"]


@pytest.mark.parametrize("address", ["", "nonsense", "1.2.3.4, 5.6.7.8"])
def test_what_is_no_address_is_that_of_the_connection(address: str) -> None:
    fail(10, address=address)
    assert log_in(address="127.0.0.1").status_code == 429
