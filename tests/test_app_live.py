"""The web app while an event is still running: what comes in shows by itself, and nobody is dragged along."""

import os
import re
import signal
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from local.supervision import Supervisor
from tests.gunicorn_server import until
from tests.system import APP, STAGES, System
from tests.test_app import moment
from tests.test_journey import BESIDE, BOOTH, make_person

pytestmark = pytest.mark.parametrize("stage", [STAGES[-1]], indirect=True)  # the page is the same at all


def ping(system: System, person_id: int, place: dict[str, str], ago_s: int) -> datetime:
    """So many seconds ago; returns when it can be seen."""
    time = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=ago_s)
    sent = {"person_id": person_id, **place, "creation_time": time.isoformat()}
    answer = system.ask("POST", "/api/locations", json=sent)
    assert answer.status_code == 202, answer.text
    until(lambda: system.get(answer.headers["Location"]).ok)
    return time


def around_now() -> str:
    now = datetime.now(UTC)
    start, end = now - timedelta(hours=1), now + timedelta(hours=1)
    return f"start={start:%Y-%m-%dT%H:%M:%SZ}&end={end:%Y-%m-%dT%H:%M:%SZ}"


def test_an_encounter_shows_as_it_happens(fresh: System, page: Page) -> None:
    ann, bo = make_person(fresh, "Ann"), make_person(fresh, "Bo")
    ping(fresh, ann, BOOTH, 50)
    page.goto(fresh.url(f"/people/{ann}?{around_now()}&min_duration=0", APP))
    expect(page.locator(".list .note")).to_contain_text("Nobody was near")

    ping(fresh, bo, BESIDE, 40)
    last = ping(fresh, ann, BOOTH, 20)

    expect(page.locator(".list h2")).to_have_text("1 encounter with 1 person")
    until(lambda: moment(page) == last)  # the scrubber stays at the end
    expect(page.locator(".near")).to_have_text("1 near: Bo Lee")
    expect(page).not_to_have_url(re.compile("[&?]at="))

    page.locator(".list li button").first.click()  # who looks at another moment stays there
    chosen = moment(page)
    assert chosen < last
    ping(fresh, bo, BESIDE, 10)
    newest = ping(fresh, ann, BOOTH, 0)
    until(lambda: page.get_by_role("slider").get_attribute("max") == str(int(newest.timestamp() * 1000)))
    assert moment(page) == chosen


@pytest.mark.parametrize(("show", "what"), [("people", ".near"), ("heat", ".stage [role=status]")])
def test_the_crowd_grows_as_people_come(fresh: System, page: Page, show: str, what: str) -> None:
    unit = {"people": ("1 person", "2 people"), "heat": ("1 ping,", "2 pings,")}[show]
    ann, bo = make_person(fresh, "Ann"), make_person(fresh, "Bo")
    ping(fresh, ann, BOOTH, 60)
    page.goto(fresh.url(f"/crowd?{around_now()}&show={show}", APP))
    expect(page.locator(what)).to_contain_text(unit[0])
    ping(fresh, bo, BESIDE, 5)
    expect(page.locator(what)).to_contain_text(unit[1])


def test_a_ping_of_the_far_future_does_not_hide_today(fresh: System, page: Page) -> None:
    ann = make_person(fresh, "Ann")
    ping(fresh, ann, BOOTH, 60)
    ping(fresh, ann, BOOTH, -400 * 86_400)
    page.goto(fresh.url(f"/people/{ann}", APP))
    expect(page.locator(".calendar")).to_contain_text(str(datetime.now(UTC).year))
    page.goto(fresh.url("/status", APP))
    expect(page.locator("dl > div", has_text="newest ping")).to_contain_text(re.compile("ago"))


@pytest.mark.parametrize(("process", "need"), [("kafka", "broker"), ("location-writer", "writer")])
def test_the_status_tells_of_a_frozen_broker_and_a_frozen_writer(
    fresh: System, page: Page, process: str, need: str
) -> None:
    page.forgiven += ["503"]  # type: ignore[attr-defined]
    generation = fresh.processes().get(process)
    program = generation.program if generation else process
    pid = Supervisor(fresh.place).programs()[program]["pid"]
    verdict, said = page.locator(".verdict"), page.locator("dl > div").filter(has_text=need)
    page.goto(fresh.url("/status", APP))
    expect(verdict).to_have_text("Connect is ready.", timeout=60_000)
    expect(said).to_contain_text("ok")
    os.kill(pid, signal.SIGSTOP)
    try:
        expect(verdict).to_have_text("Connect is not ready.", timeout=60_000)
        expect(said).to_contain_text("out of reach", timeout=60_000)
    finally:
        os.kill(pid, signal.SIGCONT)
    expect(verdict).to_have_text("Connect is ready.", timeout=60_000)
