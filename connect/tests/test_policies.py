"""The content security policies, in a browser: pages work, and injected scripts do not run."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
from django.contrib.auth.models import User
from django.db import connections
from playwright.sync_api import Browser, Page, expect

from persons.models import Person
from tests.browser import a_browser, a_page, log_in_to_admin
from tests.gunicorn_server import Server

UNREACHABLE = "http://127.0.0.1:9"
NAME, PASSWORD = "ada", "a long one"


@pytest.fixture
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser
        connections.close_all()  # Playwright's event loop thread has its own database connection


@pytest.fixture(scope="module")
def all_apps_server(django_db_setup: None) -> Iterator[Server]:
    """One process that serves all apps, including the web app."""
    apps = "persons,locations,connections,admin,webapp"
    with Server(WEB_WORKERS="1", SERVED_APPS=apps, API_URL=UNREACHABLE) as running:
        yield running


@pytest.fixture
def page(transactional_db: None, browser: Browser, server: Server, all_apps_server: Server) -> Iterator[Page]:
    Person.objects.create(first_name="Ann", last_name="Lee", company_name="Acme")
    User.objects.create_superuser(NAME, password=PASSWORD)
    with a_page(browser, {server.url(""), all_apps_server.url("")}) as page:
        yield page


def test_the_browsable_api_and_the_docs_work(page: Page, server: Server) -> None:
    page.goto(server.url("/api/persons"))
    expect(page.locator(".response-info")).to_contain_text("Lee")
    page.goto(server.url("/api/docs"))
    expect(page.locator(".opblock-summary-path").first).to_be_visible()
    # The policy blocks the external logo of Redoc.
    cast("Any", page).expected_errors.append("cdn.redoc.ly")
    page.goto(server.url("/api/redoc"))
    expect(page.get_by_role("heading", name="Connect API").first).to_be_visible()
    page.locator("input[type=text]").first.fill("encounters")
    expect(
        page.locator("[role=search] [role=menuitem], [data-role='search:results'] li").first
    ).to_be_visible()


def test_the_admin_pages_work(page: Page, server: Server) -> None:
    log_in_to_admin(page, server.url("/admin/"), NAME, PASSWORD)
    for path in ("persons/person/", "persons/person/add/", "locations/location/", "auth/user/"):
        page.goto(server.url(f"/admin/{path}"))
        expect(page.locator("#content")).to_be_visible()


@pytest.mark.parametrize(
    "path", ["/", "/people/1", "/api/persons", "/api/docs", "/api/redoc", "/admin/login/"]
)
def test_no_page_runs_an_injected_inline_script(page: Page, all_apps_server: Server, path: str) -> None:
    expected = ["Content Security Policy", "cdn.redoc.ly", UNREACHABLE, "ERR_"]
    cast("Any", page).expected_errors.extend(expected)
    page.goto(all_apps_server.url(path))
    ran = """() => {
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
        return window.ran === true;
    }"""
    assert page.evaluate(ran) is False
