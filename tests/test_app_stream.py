"""Tests of the web app during a running event: views follow the live events, or else poll."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, Request, expect

from local.supervision import Supervisor
from tests.gunicorn_server import until
from tests.system import APP, STAGES, System
from tests.test_app import FIND_POINT, slider_time
from tests.test_app_live import around_now, store_ping, tells_of_nobody
from tests.test_journey import BESIDE, BOOTH, make_person

POLLS = "Updated every 10 s"
last_stage = pytest.mark.parametrize("stage", [STAGES[-1]], indirect=True)


@pytest.fixture
def calls(page: Page) -> list[Request]:
    """The calls of the page, which the test may clear."""
    found: list[Request] = []
    page.on("request", lambda request: found.append(request) if "/api/" in request.url else None)
    return found


def paths(calls: list[Request]) -> set[str]:
    return {re.sub(r".*?(/api/[^?]*).*", r"\1", request.url) for request in calls}


def expect_live(page: Page) -> None:
    expect(page.locator(".live")).to_have_text("LIVE")


@contextmanager
def stopped(system: System, process: str) -> Iterator[Callable[[], None]]:
    """A process that is stopped; it starts at the end, or when the test calls what it gets."""
    rpc, program = Supervisor(system.instance).rpc, system.processes()[process].program
    is_stopped = True

    def start() -> None:
        nonlocal is_stopped
        if is_stopped:
            is_stopped = False
            rpc.startProcess(program)

    rpc.stopProcess(program)
    try:
        yield start
    finally:
        start()


@last_stage
def test_a_person_moves_in_the_crowd_without_a_question(
    fresh: System, page: Page, calls: list[Request]
) -> None:
    until(lambda: tells_of_nobody(fresh))  # of those of the test before
    ann = make_person(fresh, "Ann")
    store_ping(fresh, ann, BOOTH, 60)
    page.goto(fresh.url(f"/crowd?{around_now()}", APP))
    expect_live(page)
    expect(page.locator(".near")).to_contain_text("1 person")
    _, before = page.evaluate(FIND_POINT, False)
    calls.clear()
    moved = store_ping(fresh, ann, BESIDE, 0)
    until(lambda: slider_time(page) == moved)
    until(lambda: page.evaluate(FIND_POINT, False)[1] < before - 5)  # to the north
    bo = make_person(fresh, "Bo")
    store_ping(fresh, bo, BOOTH, 0)
    expect(page.locator(".near")).to_contain_text("2 people")
    assert not calls


@last_stage
def test_a_persons_encounter_appears_when_it_happens(fresh: System, page: Page, calls: list[Request]) -> None:
    ann, bo = make_person(fresh, "Ann"), make_person(fresh, "Bo")
    store_ping(fresh, ann, BOOTH, 50)
    page.goto(fresh.url(f"/people/{ann}?{around_now()}&min_duration=0", APP))
    expect_live(page)
    expect(page.locator(".list .note")).to_contain_text("Nobody was near")
    calls.clear()
    store_ping(fresh, bo, BESIDE, 40)  # no live event about Ann, but an encounter
    expect(page.locator(".list h2")).to_have_text("1 encounter with 1 person")
    last = store_ping(fresh, ann, BOOTH, 10)
    until(lambda: slider_time(page) == last)
    expect(page.locator(".near")).to_have_text("1 near: Bo Lee")
    assert paths(calls) == {f"/api/persons/{ann}/encounters", f"/api/persons/{ann}/connection"}


@last_stage
def test_a_moment_that_the_user_chose_stays_until_they_go_to_now(fresh: System, page: Page) -> None:
    ann = make_person(fresh, "Ann")
    first = store_ping(fresh, ann, BOOTH, 60)
    store_ping(fresh, ann, BOOTH, 30)
    page.goto(fresh.url(f"/crowd?{around_now()}&at={first:%Y-%m-%dT%H:%M:%SZ}", APP))
    go_to_now = page.get_by_role("button", name="Go to now")
    expect(go_to_now).to_be_visible()
    newest = store_ping(fresh, ann, BESIDE, 0)
    until(lambda: page.get_by_role("slider").get_attribute("max") >= str(int(newest.timestamp() * 1000)))
    assert slider_time(page) == first
    go_to_now.click()
    expect_live(page)
    until(lambda: slider_time(page) >= newest)
    expect(page).not_to_have_url(re.compile("[&?]at="))


@last_stage
@pytest.mark.parametrize("view", ["crowd", "person"])
def test_a_view_polls_while_the_stream_is_away_and_then_resumes(
    fresh: System, page: Page, calls: list[Request], view: str
) -> None:
    page.expected_errors += ["503", "ERR_INCOMPLETE_CHUNKED_ENCODING"]  # type: ignore[attr-defined]
    ann = make_person(fresh, "Ann")
    store_ping(fresh, ann, BOOTH, 60)
    path = "/crowd" if view == "crowd" else f"/people/{ann}"
    page.goto(fresh.url(f"{path}?{around_now()}", APP))
    expect_live(page)
    followed = store_ping(fresh, ann, BOOTH, 0)
    until(lambda: slider_time(page) >= followed)
    with stopped(fresh, "live") as start:
        expect(page.locator(".live")).to_have_text(POLLS)
        while_away = store_ping(fresh, ann, BESIDE, 0)
        until(lambda: slider_time(page) >= while_away, at_most_s=60)
        start()
        expect_live(page)
    asked = [request.headers["last-event-id"] for request in calls if "/api/live" in request.url]
    assert asked[0] < asked[-1]
    calls.clear()
    after = store_ping(fresh, ann, BOOTH, 0)
    until(lambda: slider_time(page) >= after)
    assert not paths(calls) & {"/api/positions", "/api/days", "/api/locations"}


@pytest.mark.parametrize("stage", [STAGES[-2]], indirect=True)
@pytest.mark.parametrize("view", ["crowd", "person"])
def test_a_stage_without_the_stream_polls(fresh: System, page: Page, view: str) -> None:
    ann = make_person(fresh, "Ann")
    store_ping(fresh, ann, BOOTH, 60)
    path = "/crowd" if view == "crowd" else f"/people/{ann}"
    page.goto(fresh.url(f"{path}?{around_now()}", APP))
    expect(page.locator(".live")).to_have_text(POLLS)
    newest = store_ping(fresh, ann, BESIDE, 0)
    until(lambda: slider_time(page) >= newest, at_most_s=60)
    page.goto(fresh.url("/status", APP))
    expect(page.locator(".verdict")).to_have_text("Connect is ready.")
    expect(page.locator("dl > div", has_text="live")).to_have_count(0)
