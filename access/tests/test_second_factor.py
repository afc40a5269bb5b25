"""With STAFF_SECOND_FACTOR staff need a code for the admin site and for their session at the API."""

import base64
import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice
from playwright.sync_api import Browser, expect

from access import services
from tests.browser import a_browser, a_page, axe_violations
from tests.gunicorn_server import Server

pytestmark = pytest.mark.django_db
NAME, PASSWORD = "ada", "a long one"
FORM = "/admin/second-factor/"


@pytest.fixture
def staff(settings: Any, client: Client) -> Client:
    """Logged in with the password, without a code."""
    settings.STAFF_SECOND_FACTOR = True
    client.force_login(User.objects.create_superuser(NAME, password=PASSWORD))
    return client


def key_on(page: str) -> bytes:
    return base64.b32decode(re.search(r'id="key">([A-Z2-7]+)', page)[1])  # type: ignore[index]


def code_of(key: bytes, *, steps: int = 0) -> str:
    totp = TOTP(key)
    totp.drift = steps
    return f"{totp.token():06}"


def is_signed_in(client: Client) -> tuple[bool, bool]:
    """Whether the session opens the admin site, and whether the API accepts it."""
    caller = services.identify_session(client.session.session_key or "")
    return client.get("/admin/persons/person/").status_code == 200, caller is not None


def enrol(client: Client) -> bytes:
    key = key_on(client.get(FORM).content.decode())
    assert client.post(FORM, {"code": code_of(key)}).status_code == 302
    return key


def test_the_password_alone_is_not_enough(staff: Client) -> None:
    assert is_signed_in(staff) == (False, False)
    for path in ("/admin/", "/admin/figures/", "/admin/persons/person/export/", "/admin/app/"):
        assert staff.get(path)["Location"].startswith(f"{FORM}?next=%2Fadmin%2F")


def test_the_first_code_enrols_the_app(staff: Client) -> None:
    key = key_on(staff.get(FORM).content.decode())
    assert staff.post(FORM, {"code": "12345"}).status_code == 200
    assert is_signed_in(staff) == (False, False)
    answer = staff.post(f"{FORM}?next=/admin/persons/person/", {"code": code_of(key)})
    assert answer["Location"] == "/admin/persons/person/"
    assert is_signed_in(staff) == (True, True)
    assert 'id="key"' not in staff.get(FORM).content.decode()  # the key is not shown after enrolment


def test_each_login_needs_a_code_and_a_code_works_once(staff: Client) -> None:
    key = enrol(staff)
    staff.logout()
    staff.force_login(User.objects.get())
    assert is_signed_in(staff) == (False, False)
    assert staff.post(FORM, {"code": code_of(key)}).status_code == 200
    TOTPDevice.objects.update(throttling_failure_count=0, throttling_failure_timestamp=None)
    assert staff.post(FORM, {"code": code_of(key, steps=1)}).status_code == 302
    assert is_signed_in(staff) == (True, True)


def test_wrong_codes_are_throttled(staff: Client) -> None:
    key = enrol(staff)
    right = code_of(key, steps=1)
    wrong = f"{(int(right) + 1) % 1_000_000:06}"
    for _ in range(3):
        staff.post(FORM, {"code": wrong})
    assert staff.post(FORM, {"code": right}).status_code == 200


def test_there_is_no_redirect_to_another_host(staff: Client) -> None:
    key = key_on(staff.get(FORM).content.decode())
    answer = staff.post(f"{FORM}?next=https://evil.example/", {"code": code_of(key)})
    assert answer["Location"] == "/admin/"


def test_an_anonymous_user_is_redirected_to_the_login(client: Client, settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR = True
    assert client.get(FORM)["Location"] == "/admin/login/"
    assert not TOTPDevice.objects.exists()


def test_a_user_who_lost_the_app_can_enrol_a_new_one(staff: Client) -> None:
    enrol(staff)
    out = StringIO()
    call_command("reset_second_factor", NAME, stdout=out)
    assert out.getvalue() == "Removed: 1\n"
    assert is_signed_in(staff) == (False, False)
    enrol(staff)
    assert is_signed_in(staff) == (True, True)
    with pytest.raises(CommandError):
        call_command("reset_second_factor", "nobody")


def test_without_the_setting_no_code_is_needed(client: Client) -> None:
    client.force_login(User.objects.create_superuser(NAME))
    assert is_signed_in(client) == (True, True)


@pytest.fixture
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser
        connections.close_all()  # while its loop runs, queries use another connection


@pytest.mark.django_db(transaction=True)
def test_enrolment_in_a_browser(browser: Browser) -> None:
    User.objects.create_superuser(NAME, password=PASSWORD)
    with (
        Server(WEB_WORKERS="1", WEB_THREADS="4", ACCESS="tokens", STAFF_SECOND_FACTOR="true") as server,
        a_page(browser, {server.url("")}) as page,
    ):
        page.goto(server.url("/admin/"))
        page.get_by_label("Username").fill(NAME)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_alt_text("QR code for the authenticator app")).to_be_visible()
        assert axe_violations(page) == []
        page.get_by_label("Code").fill(code_of(key_on(page.content())))
        page.get_by_role("button", name="Continue").click()
        expect(page.locator("#figures")).to_be_visible()
