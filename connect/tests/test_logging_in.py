"""Lockout after wrong passwords: per user name and address, with a growing wait."""

from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt, AccessLog
from django.contrib.auth.models import User
from django.db.models import F
from django.test import Client

pytestmark = pytest.mark.django_db
NAME, PASSWORD, WRONG = "ada", "a long one", "a wrong one"
PROXY_HEADER_VALUE = "the-proxy-knows-it"


@pytest.fixture(autouse=True)
def behind_the_proxy(settings: Any) -> None:
    settings.PROXY_SECRET = PROXY_HEADER_VALUE


@pytest.fixture(autouse=True)
def staff(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast
    User.objects.create_superuser(NAME, password=PASSWORD)
    User.objects.create_superuser("bo", password=PASSWORD)


def log_in(name: str = NAME, password: str = PASSWORD, *, address: str = "10.0.0.1") -> Any:
    answer = Client().post(
        "/admin/login/",
        {"username": name, "password": password},
        headers={"X-Forwarded-For": address, "X-Connect-Proxy": PROXY_HEADER_VALUE},
    )
    assert answer.status_code in (200, 302, 429)
    return answer


def fail(times: int, name: str = NAME, *, address: str = "10.0.0.1") -> Any:
    return [log_in(name, WRONG, address=address) for _ in range(times)][-1]


def age_attempts(seconds: int) -> None:
    ago = timedelta(seconds=seconds)
    AccessAttempt.objects.update(attempt_time=F("attempt_time") - ago)
    AccessLog.objects.update(attempt_time=F("attempt_time") - ago)


def test_ten_failures_lock_out_even_the_right_password() -> None:
    assert fail(9).status_code == 200
    last, answer = fail(1), log_in()
    assert (last.status_code, answer.status_code) == (429, 429)
    assert 50 < int(answer["Retry-After"]) <= 60
    page = answer.content.decode()
    assert "Wait 1 minute," in page
    assert "Connect" in page
    assert 'class=" login"' in page


def test_the_lockout_affects_only_this_name_at_this_address() -> None:
    fail(11)
    assert log_in("bo").status_code == 302  # at the same address
    assert log_in(address="10.0.0.2").status_code == 302  # the same name elsewhere


def test_failures_double_the_lockout_up_to_an_hour_but_attempts_during_it_do_not() -> None:
    fail(10)
    for minutes in (1, 2, 4, 8, 16, 32, 60, 60):
        age_attempts(minutes * 60 - 15)
        assert fail(3).status_code == log_in().status_code == 429
        age_attempts(16)
        assert fail(1).status_code == 429  # the attempt counts and starts a new lockout
    age_attempts(3601)
    assert log_in().status_code == 302


def test_failures_expire_after_a_day() -> None:
    fail(13)
    age_attempts(24 * 3600 + 1)
    assert fail(9).status_code == 200


def test_a_successful_login_resets_the_failures() -> None:
    for _ in range(3):
        fail(6)
        assert log_in().status_code == 302


def guess_from_many_addresses(times: int) -> list[int]:
    return [fail(1, address=f"10.1.{n // 250}.{n % 250}").status_code for n in range(times)]


def test_distributed_guessing_locks_out_unknown_addresses_only() -> None:
    assert log_in(address="10.0.0.9").status_code == 302
    assert guess_from_many_addresses(50)[:49] == [200] * 49
    assert log_in(address="10.0.0.8").status_code == 429
    assert log_in(address="10.0.0.9").status_code == 302
    assert log_in("bo", address="10.0.0.8").status_code == 302
    age_attempts(6)
    assert log_in(address="10.0.0.8").status_code == 302


def test_an_address_stays_known_for_thirty_days() -> None:
    log_in(address="10.0.0.9")
    age_attempts(30 * 24 * 3600 + 1)
    guess_from_many_addresses(50)
    assert log_in(address="10.0.0.9").status_code == 429
    log_in("bo")
    assert list(AccessLog.objects.values_list("username", flat=True)) == ["bo"]


@pytest.mark.parametrize("address", ["", "nonsense", "1.2.3.4, 5.6.7.8"])
def test_an_invalid_forwarded_address_falls_back_to_the_connection(address: str) -> None:
    fail(10, address=address)
    assert log_in(address="127.0.0.1").status_code == 429
