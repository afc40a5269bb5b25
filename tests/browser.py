"""A browser for the tests that need a real one: what goes wrong in it fails them."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from django.db import connections
from playwright.sync_api import Page, Request, sync_playwright

CHROMIUM = "/usr/bin/chromium"

# Playwright's calls that wait run a loop of events in the test's own thread, where Django takes every query
# for a mistake.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"


@contextlib.contextmanager
def a_page(**context: Any) -> Iterator[Page]:
    """Errors in its console and requests that fail are failures; `context` is that of Playwright.

    What a page was still fetching when it was left has not failed.
    """
    wrong: list[str] = []

    def failed(request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":
            wrong.append(f"{request.url}: {request.failure}")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        page = browser.new_context(**context).new_page()
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", failed)
        yield page
        browser.close()
        connections.close_all()  # what was asked meanwhile had a connection of its own, because of that loop
    assert not wrong, wrong


def barriers(page: Page) -> list[str]:
    """What axe finds that keeps people from using the page: rule and place."""
    # Its reading ahead of style sheets would ask for those that they import, at wrong addresses.
    found = Axe().run(page, options={"preload": False}).response["violations"]
    return [f"{one['id']}: {node['target']}" for one in found for node in one["nodes"]]
