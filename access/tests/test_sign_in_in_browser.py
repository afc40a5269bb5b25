"""Sign-in links in the web app: the consent page, and the confirmation before another person signs in."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from access import services
from persons.models import Person
from tests.browser import DESKTOP, PHONE, a_browser, a_page, axe_violations
from tests.gunicorn_server import Server

APPS = "persons,locations,connections,venue,admin,webapp"


@pytest.fixture
def app(transactional_db: None) -> Iterator[Server]:
    """App and API in one process, at one address."""
    own = "http://127.0.0.1:{port}"
    with Server(WEB_WORKERS="1", ACCESS="tokens", SERVED_APPS=APPS, API_URL=own, APP_URL=own) as running:
        yield running


@pytest.fixture
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser
        connections.close_all()  # while its loop runs, queries use another connection


def open_link(page: Page, app: Server, person: Person, *, host: str = "127.0.0.1") -> None:
    expires = timezone.now() + timedelta(days=1)
    code = services.make_link(person.id, name=str(person), expires=expires).partition("#")[2]
    page.goto("about:blank")
    page.goto(app.url(f"/#{code}").replace("127.0.0.1", host))


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_first_sign_in_asks_for_consent_and_a_second_link_for_confirmation(
    app: Server, browser: Browser, person: Callable[..., Person], viewport: dict[str, int], scheme: str
) -> None:
    ann, bo = person("Ann"), person("Bo")
    with a_page(browser, {app.url("")}, viewport=viewport, color_scheme=scheme) as page:
        open_link(page, app, ann)
        consent = page.get_by_role("heading", name="May others find you?")
        expect(consent).to_be_focused()
        expect(page.get_by_role("main")).to_contain_text("You are signed in as Ann Lee.")
        assert axe_violations(page) == []
        page.get_by_role("button", name="Keep me hidden").click()
        expect(page.get_by_role("heading", name="Ann Lee")).to_be_focused()
        expect(page.get_by_role("checkbox", name="Others may find me")).not_to_be_checked()
        ann.refresh_from_db()
        assert (ann.findable, ann.decided_at is None) == (False, False)

        open_link(page, app, bo)
        expect(page.get_by_role("heading", name="Sign in as Bo Lee?")).to_be_focused()
        expect(page.get_by_role("main")).to_contain_text("You are signed in as Ann Lee.")
        assert axe_violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        page.get_by_role("button", name="Stay signed in as Ann Lee").click()
        expect(page.get_by_role("heading", name="Ann Lee")).to_be_visible()

        open_link(page, app, bo)
        page.get_by_role("button", name="Sign in as Bo Lee").click()
        expect(consent).to_be_visible()  # Bo has not decided yet
        expect(page.get_by_role("main")).to_contain_text("You are signed in as Bo Lee.")


def test_the_app_calls_the_api_under_its_own_host_name(app: Server, browser: Browser, ann: Person) -> None:
    here = app.url("").replace("127.0.0.1", "localhost")
    with a_page(browser, {here}) as page:
        open_link(page, app, ann, host="localhost")
        expect(page.get_by_role("heading", name="May others find you?")).to_be_visible()
        assert page.locator("html").get_attribute("data-api") == here
