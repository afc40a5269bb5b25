"""The admin site in a browser: figures, replay, and accessibility in both color schemes and two widths."""

import re
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connections
from playwright.sync_api import Browser, Page, expect

from consumers.batch_store import UNKNOWN
from consumers.models import RejectedPing
from consumers.tests.conftest import at
from consumers.tests.test_replay import reject
from locations import storage
from persons import services as persons
from tests.browser import a_browser, a_page, axe_violations, log_in_to_admin
from tests.gunicorn_server import Server, until

NAME, PASSWORD = "ada", "a long one"


@pytest.fixture
def staff(people: None, admin_user: User) -> None:
    User.objects.create_superuser(NAME, password=PASSWORD)


def enter(page: Page, server: Server) -> None:
    log_in_to_admin(page, server.url("/admin/"), NAME, PASSWORD)
    page.wait_for_load_state()  # the page's script runs


@pytest.fixture
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser
        connections.close_all()  # queries within Playwright's event loop use their own connection


@pytest.fixture
def page(staff: None, browser: Browser, server: Server) -> Iterator[Page]:
    with a_page(browser, {server.url("")}) as page:
        yield page


def test_staff_replay_a_rejected_ping_from_the_front_page(page: Page, server: Server) -> None:
    reject(at(10, 0), at(11, 0))
    assert persons.create(first_name="New", last_name="Here", company_name="C").id == 10

    enter(page, server)
    expect(page.locator("#figure-people .value")).to_have_text("10")
    expect(page.locator("#figure-unwritten")).to_contain_text("without a topic")
    rejected = page.locator("#figure-rejected")
    expect(rejected.locator(".value")).to_have_text("2")
    rejected.get_by_role("link", name=UNKNOWN).click()

    page.get_by_role("row", name="10").get_by_role("checkbox").check()
    page.locator("select[name=action]").select_option("Record the selected pings again")
    page.get_by_role("button", name="Go").click()

    expect(page.locator(".messagelist")).to_have_text(
        "Recorded again: 1 read, 1 stored, 0 repeats, 0 still rejected."
    )
    assert list(storage.list_between(person_id=10)) == [at(10, 0)]
    assert RejectedPing.objects.get().person_id == 11


def test_the_figures_refresh_automatically(page: Page, server: Server) -> None:
    page.clock.install()
    enter(page, server)
    expect(page.locator("#figure-locations .value")).to_have_text("0")
    rate = page.locator("#figure-stored")
    expect(rate.locator(".value")).to_have_text("–")

    storage.record([at(1, 0), at(1, 1)])

    def has_a_rate() -> bool:
        page.clock.fast_forward(5000)
        return rate.locator(".value").inner_text() not in ("–", "0")

    until(has_a_rate)  # PostgreSQL's statistics lag some seconds behind
    expect(page.locator("#figure-locations .value")).to_have_text("2")
    expect(rate.locator(".over")).to_contain_text("per second, over the last")
    expect(rate.locator("polyline")).to_have_attribute("points", re.compile(r"\d+,\d+"))
    expect(page.locator("#stale")).to_be_empty()


def test_a_hidden_tab_does_not_poll(page: Page, server: Server) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "figures/" in request.url else None)
    page.clock.install()
    enter(page, server)
    show = "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
    show += "document.dispatchEvent(new Event('visibilitychange')) }"

    page.evaluate(show, True)
    page.clock.fast_forward(60_000)
    page.evaluate("0")
    assert asked == []
    with page.expect_response("**/figures/"):
        page.evaluate(show, False)


def test_an_expired_session_keeps_the_last_figures_and_marks_them_as_stale(
    page: Page, server: Server
) -> None:
    page.clock.install()
    enter(page, server)
    Session.objects.all().delete()

    page.clock.fast_forward(5000)

    expect(page.locator("#stale")).to_contain_text("the last refresh failed")
    expect(page.locator("#figure-people .value")).to_have_text("9")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_have_no_accessibility_violations(
    staff: None, browser: Browser, server: Server, scheme: str, width: int
) -> None:
    storage.record([at(1, 0), at(2, 1)])
    reject(at(11, 0), b"\xff")
    viewport = {"width": width, "height": 900}
    with a_page(browser, {server.url("")}, color_scheme=scheme, viewport=viewport) as page:
        page.goto(server.url("/admin/"))
        found = {"login": axe_violations(page)}
        enter(page, server)
        for path in (
            "",
            "persons/person/",
            "persons/person/1/change/",
            "persons/person/import/",
            "locations/location/",
            f"locations/location/{at(1, 0).id}/",
            "consumers/rejectedping/",
        ):
            page.goto(server.url(f"/admin/{path}"))
            found[path] = axe_violations(page)
        assert found == {path: [] for path in found}
