"""Tests of the web app during a running event: pages update by themselves, and a chosen time stays."""

import os
import re
import signal
from datetime import UTC, datetime, timedelta

import pytest
import requests
from playwright.sync_api import Page, expect

from local.supervision import Supervisor
from tests.gunicorn_server import until
from tests.system import APP, STAGES, System
from tests.test_app import slider_time
from tests.test_journey import BESIDE, BOOTH, make_person

# One stage: the pages are the same at all stages.
pytestmark = pytest.mark.parametrize("stage", [STAGES[-1]], indirect=True)


def store_ping(system: System, person_id: int, place: dict[str, str], ago_s: int) -> datetime:
    """Sends a ping of `ago_s` seconds ago, waits until it is stored, and returns its time."""
    time = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=ago_s)
    sent = {"person_id": person_id, **place, "creation_time": time.isoformat()}
    answer = system.ask("POST", "/api/locations", json=sent)
    assert answer.status_code == 202, answer.text
    until(lambda: system.get(answer.headers["Location"]).ok)
    return time


def tells_of_nobody(system: System) -> bool:
    """Whether the live events of the last half minute are of nobody: who may be seen is known for seconds."""
    headers = {"Last-Event-ID": str(int(datetime.now(UTC).timestamp() * 1000))}
    with requests.get(system.url("/api/live"), headers=headers, stream=True, timeout=(10, 2)) as answer:
        try:
            return not any(line.startswith(b"data") for line in answer.iter_lines(chunk_size=1))
        except requests.ConnectionError:  # nothing more within two seconds
            return True


def around_now() -> str:
    now = datetime.now(UTC)
    start, end = now - timedelta(hours=1), now + timedelta(hours=1)
    return f"start={start:%Y-%m-%dT%H:%M:%SZ}&end={end:%Y-%m-%dT%H:%M:%SZ}"


def test_a_new_encounter_appears_without_a_reload(fresh: System, page: Page) -> None:
    ann, bo = make_person(fresh, "Ann"), make_person(fresh, "Bo")
    store_ping(fresh, ann, BOOTH, 50)
    page.goto(fresh.url(f"/people/{ann}?{around_now()}&min_duration=0", APP))
    expect(page.locator(".list .note")).to_contain_text("Nobody was near")

    store_ping(fresh, bo, BESIDE, 40)
    last = store_ping(fresh, ann, BOOTH, 20)

    expect(page.locator(".list h2")).to_have_text("1 encounter with 1 person")
    until(lambda: slider_time(page) == last)  # the slider follows the end
    expect(page.locator(".near")).to_have_text("1 near: Bo Lee")
    expect(page).not_to_have_url(re.compile("[&?]at="))

    page.locator(".list li button").first.click()  # a chosen time stays
    chosen = slider_time(page)
    assert chosen < last
    store_ping(fresh, bo, BESIDE, 10)
    newest = store_ping(fresh, ann, BOOTH, 0)
    until(lambda: page.get_by_role("slider").get_attribute("max") == str(int(newest.timestamp() * 1000)))
    assert slider_time(page) == chosen


@pytest.mark.parametrize(("show", "selector"), [("people", ".near"), ("heat", ".stage p[role=status]")])
def test_the_crowd_view_updates_without_a_reload(fresh: System, page: Page, show: str, selector: str) -> None:
    until(lambda: tells_of_nobody(fresh))  # of those of the test before
    texts = {"people": ("1 person", "2 people"), "heat": ("1 person-minute,", "2 person-minutes,")}[show]
    ann, bo = make_person(fresh, "Ann"), make_person(fresh, "Bo")
    store_ping(fresh, ann, BOOTH, 60)
    page.goto(fresh.url(f"/crowd?{around_now()}&show={show}", APP))
    expect(page.locator(selector)).to_contain_text(texts[0])
    store_ping(fresh, bo, BESIDE, 5)
    if show == "heat":  # polled once a minute, and when the page is shown again
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.locator(selector)).to_contain_text(texts[1])


def test_a_ping_far_in_the_future_does_not_hide_current_pings(fresh: System, page: Page) -> None:
    ann = make_person(fresh, "Ann")
    store_ping(fresh, ann, BOOTH, 60)
    store_ping(fresh, ann, BOOTH, -400 * 86_400)
    page.goto(fresh.url(f"/people/{ann}", APP))
    expect(page.locator(".calendar")).to_contain_text(str(datetime.now(UTC).year))
    page.goto(fresh.url("/status", APP))
    expect(page.locator("dl > div", has_text="newest ping")).to_contain_text(re.compile("ago"))


@pytest.mark.parametrize(
    ("process", "need"),
    [
        ("kafka", "broker"),
        ("location-writer", "writer"),
        ("encounter-finder", "finder"),
        ("webhooks", "webhooks"),
    ],
)
def test_the_status_page_reports_a_frozen_broker_and_frozen_consumers(
    fresh: System, page: Page, process: str, need: str
) -> None:
    page.expected_errors += ["503"]  # type: ignore[attr-defined]
    generation = fresh.processes().get(process)
    program = generation.program if generation else process
    pid = Supervisor(fresh.instance).programs()[program]["pid"]
    verdict, state = page.locator(".verdict"), page.locator("dl > div").filter(has_text=need)
    page.goto(fresh.url("/status", APP))
    expect(verdict).to_have_text("Connect is ready.", timeout=60_000)
    expect(state).to_contain_text("ok")
    os.kill(pid, signal.SIGSTOP)
    try:
        expect(verdict).to_have_text("Connect is not ready.", timeout=60_000)
        expect(state).to_contain_text("out of reach", timeout=60_000)
    finally:
        os.kill(pid, signal.SIGCONT)
    expect(verdict).to_have_text("Connect is ready.", timeout=60_000)
