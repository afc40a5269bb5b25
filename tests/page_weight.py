"""Measures each view of the web app on the running system: API requests, bytes, time to a useful picture.

`python -m tests.page_weight [ROUNDS]`, after `make up`, with the same environment. It asserts nothing. Each
round has a browser profile of its own, so that nothing is cached. The phone has slow 4G and a slow processor.
"""

import os
import statistics
import sys
from typing import Any, NamedTuple

from playwright.sync_api import Browser, CDPSession

from local.instance import Instance
from local.seed import STAFF_USER
from local.tests.terminal import make_token
from tests.browser import DESKTOP, PHONE, a_browser, a_page
from tests.gunicorn_server import until
from tests.system import API, APP, Addresses

FINN = 1_000_001
# As "Slow 4G" of Chromium's developer tools: ms until an answer begins, bytes per second.
SLOW_4G = {"offline": False, "latency": 562.5, "downloadThroughput": 180_000, "uploadThroughput": 84_375}
SLOWER_PROCESSOR = {"rate": 4}
# Sets `usefulAt` when a view has its first useful picture.
WATCH = """
const isPainted = (selector) => [...document.querySelectorAll(selector)].some((canvas) =>
  canvas.width && canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean));
const timer = setInterval(() => {
  if (!(USEFUL)) return;
  globalThis.usefulAt = performance.now();
  clearInterval(timer);
}, 50);
"""
MAP, HEAT = "isPainted('.map canvas')", "isPainted('.leaflet-heatmap-layer')"
SIGN_IN = "localStorage.setItem('connect.shown', '{token}')"


class View(NamedTuple):
    path: str
    useful: str  # JavaScript: whether the first useful picture is there
    role: str = "staff"


VIEWS = {
    "overview": View("/", f"document.querySelector('.curve canvas') && {MAP}"),
    "people": View("/people", "document.querySelector('.persons li')"),
    "person": View(f"/people/{FINN}", f"document.querySelector('.player') && {MAP}"),
    "crowd snapshot": View(
        "/crowd", rf"/\d (person|people)/.test(document.querySelector('.near')?.textContent) && {MAP}"
    ),
    "crowd heat map": View("/crowd?show=heat", HEAT),
    "status": View("/status", "document.querySelector('.verdict')"),
    "share": View(
        f"/share?person={FINN}",
        "document.querySelector('[aria-labelledby=company] [role=status].soft')",
        "person",
    ),
}


class Measured(NamedTuple):
    """One load of a view."""

    api_requests: int
    preflights: int
    kilobytes: float
    useful_ms: float


class Traffic:
    """Counts requests to the API, their CORS preflights, and all bytes over the wire."""

    def __init__(self, devtools: CDPSession, api_url: str) -> None:
        self.api_requests = 0
        self.preflights = 0
        self.bytes = 0
        self.api_url = api_url
        devtools.send("Network.enable")
        devtools.on("Network.requestWillBeSent", self.on_request)
        devtools.on("Network.loadingFinished", self.on_finished)

    def on_request(self, event: dict[str, Any]) -> None:
        if not event["request"]["url"].startswith(self.api_url):
            return
        if event["initiator"]["type"] == "preflight":
            self.preflights += 1
        else:
            self.api_requests += 1

    def on_finished(self, event: dict[str, Any]) -> None:
        self.bytes += event["encodedDataLength"]


def measure(browser: Browser, system: Addresses, view: View, token: str | None, *, phone: bool) -> Measured:
    origins = {system.url("", APP), system.url("", API)}
    with a_page(browser, origins, viewport=PHONE if phone else DESKTOP) as page:
        devtools = page.context.new_cdp_session(page)
        traffic = Traffic(devtools, system.url("", API))
        if phone:
            devtools.send("Network.emulateNetworkConditions", SLOW_4G)
            devtools.send("Emulation.setCPUThrottlingRate", SLOWER_PROCESSOR)
        if token:
            page.add_init_script(SIGN_IN.replace("{token}", token))
        page.add_init_script(WATCH.replace("USEFUL", view.useful))
        page.goto(system.url(view.path, APP), wait_until="commit")
        until(lambda: page.evaluate("globalThis.usefulAt"), at_most_s=120)
        page.wait_for_load_state("networkidle", timeout=120_000)
        return Measured(
            traffic.api_requests, traffic.preflights, traffic.bytes / 1000, page.evaluate("usefulAt")
        )


def make_tokens(system: Addresses) -> dict[str, str]:
    """A token by role; the person has consented, so that the app does not ask."""
    known = dict(line.split("=", 1) for line in (system.instance.state / "env").read_text().splitlines())
    person = make_token(os.environ | known, "person", "--people", str(FINN))
    headers = {"Authorization": f"Bearer {person}"}
    system.ask(
        "PUT", f"/api/persons/{FINN}/consent", json={"findable": True}, headers=headers
    ).raise_for_status()
    return {"person": person, "staff": make_token(os.environ | known, "staff", "--user", STAFF_USER)}


def main(rounds: int) -> None:
    system = Addresses(Instance.from_environment())
    tokens = make_tokens(system) if system.instance.access == "tokens" else {}
    print("| view | API requests | preflights | kB | useful on a desktop, ms | useful on a slow phone, ms |")
    print("| --- | --- | --- | --- | --- | --- |")
    with a_browser() as browser:
        for name, view in VIEWS.items():
            token = tokens.get(view.role)
            desktop, phone = (
                [measure(browser, system, view, token, phone=phone) for _ in range(rounds)]
                for phone in (False, True)
            )
            requests, preflights, size, took = (
                statistics.median(each) for each in zip(*desktop, strict=True)
            )
            on_phone = statistics.median(each.useful_ms for each in phone)
            figures = (requests, preflights, size, took, on_phone)
            print(f"| {name} | {' | '.join(f'{each:,.0f}' for each in figures)} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
