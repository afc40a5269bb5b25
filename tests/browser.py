"""A real browser on a system's web app, and what must not happen in it unseen."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, expect, sync_playwright

# Root has no sandbox, a machine for tests no graphics card, and no browser is to call home.
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
PATIENCE_MS = 20_000
# Playwright runs a loop of events in the test's own thread, where Django takes every query for a mistake.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
expect.set_options(timeout=PATIENCE_MS)


@contextlib.contextmanager
def a_browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@contextlib.contextmanager
def a_page(
    browser: Browser, origins: set[str], *, zone: str = "Europe/Berlin", locale: str = "en-GB", **how: Any
) -> Iterator[Page]:
    """A page whose errors, failed requests and requests to elsewhere fail the test.

    What is in `page.forgiven` as part of a complaint is none: for tests that make something fail.
    """
    context = browser.new_context(
        viewport=how.pop("viewport", DESKTOP), locale=locale, timezone_id=zone, accept_downloads=True, **how
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    complaints: list[str] = []
    forgiven: list[str] = []
    cast("Any", page).forgiven = forgiven

    def console(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(f"console: {message.text} {message.location.get('url', '')}".strip())

    def failed(request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the app itself gave up on what nobody waits for any more
            complaints.append(f"failed: {request.url} {request.failure}")

    def asked(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("blob", "data") and f"{address.scheme}://{address.netloc}" not in origins:
            complaints.append(f"elsewhere: {request.url}")

    def answered(response: Response) -> None:
        if response.status >= 400:
            complaints.append(f"{response.status}: {response.url}")

    page.on("console", console)
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("requestfailed", failed)
    page.on("request", asked)
    page.on("response", answered)
    try:
        yield page
    finally:
        context.close()
    found = [one for one in complaints if not any(part in one for part in forgiven)]
    assert not found, found


def barriers(page: Page) -> list[str]:
    """What axe finds that keeps people from using the page: rule and place."""
    # Its reading ahead of style sheets would ask for those that they import, at wrong addresses.
    found = Axe().run(page, options={"preload": False}).response["violations"]
    return [f"{one['id']}: {node['target']}" for one in found for node in one["nodes"]]
