"""A real browser for tests of pages. Errors in a page and requests to other origins fail the test."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, expect, sync_playwright

# Chromium has no sandbox as root, test machines have no GPU, and the browser must not send telemetry.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
TIMEOUT_MS = 60_000
# Playwright runs an event loop in the thread of the test, where Django refuses queries.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
expect.set_options(timeout=TIMEOUT_MS)


@contextlib.contextmanager
def a_browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@contextlib.contextmanager
def a_page(
    browser: Browser,
    origins: set[str],
    *,
    zone: str = "Europe/Berlin",
    locale: str = "en-GB",
    **context_options: Any,
) -> Iterator[Page]:
    """A page. Its errors, its failed requests and its requests to origins not in `origins` fail the test.

    A test that provokes an error adds a part of its text to `page.expected_errors`.
    """
    context = browser.new_context(
        viewport=context_options.pop("viewport", DESKTOP),
        locale=locale,
        timezone_id=zone,
        accept_downloads=True,
        **context_options,
    )
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    errors: list[str] = []
    expected_errors: list[str] = []
    cast("Any", page).expected_errors = expected_errors

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(f"console: {message.text} {message.location.get('url', '')}".strip())

    def on_failure(request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the app aborts requests that it no longer needs
            errors.append(f"failed: {request.url} {request.failure}")

    def on_request(request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in ("blob", "data") and f"{url.scheme}://{url.netloc}" not in origins:
            errors.append(f"other origin: {request.url}")

    def on_response(response: Response) -> None:
        if response.status >= 400:
            errors.append(f"{response.status}: {response.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: errors.append(f"error: {error}"))
    page.on("requestfailed", on_failure)
    page.on("request", on_request)
    page.on("response", on_response)
    try:
        yield page
    finally:
        context.close()
    unexpected = [error for error in errors if not any(part in error for part in expected_errors)]
    assert not unexpected, unexpected


def log_in_to_admin(page: Page, url: str, name: str, password: str) -> None:
    """Opens the front page of the admin site at `url` as this user."""
    page.goto(url)
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#figures")).to_be_visible()


def axe_violations(page: Page) -> list[str]:
    """The accessibility violations that axe finds, as `rule: element`."""
    # The preload of style sheets requests their imports at wrong URLs.
    violations = Axe().run(page, options={"preload": False}).response["violations"]
    return [f"{each['id']}: {node['target']}" for each in violations for node in each["nodes"]]
