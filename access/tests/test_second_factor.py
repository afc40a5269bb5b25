"""With STAFF_SECOND_FACTOR staff give a code before the admin site opens and their session counts."""

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
    """Logged in with the password alone."""
    settings.STAFF_SECOND_FACTOR = True
    client.force_login(User.objects.create_superuser(NAME, password=PASSWORD))
    return client


def shown_key(page: str) -> bytes:
    return base64.b32decode(re.search(r'id="key">([A-Z2-7]+)', page)[1])  # type: ignore[index]


def code_of(key: bytes, *, steps: int = 0) -> str:
    totp = TOTP(key)
    totp.drift = steps
    return f"{totp.token():06}"


def is_in(client: Client) -> tuple[bool, bool]:
    """In the admin site, and as a caller at the API."""
    caller = services.of_session(client.session.session_key or "")
    return client.get("/admin/persons/person/").status_code == 200, caller is not None


def enrol(client: Client) -> bytes:
    key = shown_key(client.get(FORM).content.decode())
    assert client.post(FORM, {"code": code_of(key)}).status_code == 302
    return key


def test_the_password_alone_opens_nothing(staff: Client) -> None:
    assert is_in(staff) == (False, False)
    for path in ("/admin/", "/admin/figures/", "/admin/persons/person/export/", "/admin/app/"):
        assert staff.get(path)["Location"].startswith(f"{FORM}?next=%2Fadmin%2F")


def test_an_app_is_enrolled_by_its_first_code(staff: Client) -> None:
    key = shown_key(staff.get(FORM).content.decode())
    assert staff.post(FORM, {"code": "12345"}).status_code == 200
    assert is_in(staff) == (False, False)
    answer = staff.post(f"{FORM}?next=/admin/persons/person/", {"code": code_of(key)})
    assert answer["Location"] == "/admin/persons/person/"
    assert is_in(staff) == (True, True)
    assert 'id="key"' not in staff.get(FORM).content.decode()  # it is shown until then only


def test_each_login_takes_a_code_and_a_code_is_good_once(staff: Client) -> None:
    key = enrol(staff)
    staff.logout()
    staff.force_login(User.objects.get())
    assert is_in(staff) == (False, False)
    assert staff.post(FORM, {"code": code_of(key)}).status_code == 200
    TOTPDevice.objects.update(throttling_failure_count=0, throttling_failure_timestamp=None)
    assert staff.post(FORM, {"code": code_of(key, steps=1)}).status_code == 302
    assert is_in(staff) == (True, True)


def test_guessing_is_slowed(staff: Client) -> None:
    key = enrol(staff)
    right = code_of(key, steps=1)
    wrong = f"{(int(right) + 1) % 1_000_000:06}"
    for _ in range(3):
        staff.post(FORM, {"code": wrong})
    assert staff.post(FORM, {"code": right}).status_code == 200


def test_nobody_is_led_elsewhere(staff: Client) -> None:
    key = shown_key(staff.get(FORM).content.decode())
    answer = staff.post(f"{FORM}?next=https://evil.example/", {"code": code_of(key)})
    assert answer["Location"] == "/admin/"


def test_strangers_are_led_to_the_login(client: Client, settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR = True
    assert client.get(FORM)["Location"] == "/admin/login/"
    assert not TOTPDevice.objects.exists()


def test_whoever_lost_the_app_enrols_another(staff: Client) -> None:
    enrol(staff)
    out = StringIO()
    call_command("reset_second_factor", NAME, stdout=out)
    assert out.getvalue() == "Removed: 1\n"
    assert is_in(staff) == (False, False)
    enrol(staff)
    assert is_in(staff) == (True, True)
    with pytest.raises(CommandError):
        call_command("reset_second_factor", "nobody")


def test_without_the_setting_nothing_is_asked(client: Client) -> None:
    client.force_login(User.objects.create_superuser(NAME))
    assert is_in(client) == (True, True)


@pytest.fixture
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser
        connections.close_all()  # while its loop runs, queries have a connection of their own


@pytest.mark.django_db(transaction=True)
def test_in_a_browser(browser: Browser) -> None:
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
        page.get_by_label("Code").fill(code_of(shown_key(page.content())))
        page.get_by_role("button", name="Go on").click()
        expect(page.locator("#figures")).to_be_visible()
