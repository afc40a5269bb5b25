"""Edge cases of the web app: fast input, unusual names and tracks, slow and failing API responses."""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.gunicorn_server import until
from tests.system import APP, STAGES, System
from tests.test_app import (
    DAY,
    FIND_POINT,
    FINN,
    full_name,
    get_encounters,
    open_criteria,
    open_person,
    slider_time,
)
from tests.test_app_states import wait_until_idle

# One stage: the pages are the same at all stages.
pytestmark = pytest.mark.parametrize("stage", [STAGES[-1]], indirect=True)


WAIT_20_FRAMES = """async () => {
  for (let n = 0; n < 20; n++) await new Promise(requestAnimationFrame);
}"""


@contextlib.contextmanager
def delayed_responses(page: Page, pattern: str) -> Iterator[None]:
    """Holds back the responses to matching requests until the block ends."""
    waiting: list[Route] = []
    released = False

    def hold(route: Route) -> None:
        if released:
            route.continue_()
        else:
            waiting.append(route)

    page.route(re.compile(pattern), hold)
    yield
    released = True
    for each in waiting:
        each.continue_()


def start_playback(page: Page) -> None:
    before = slider_time(page)
    page.get_by_role("button", name="Play").click()
    until(lambda: slider_time(page) > before)


# --- during playback -----------------------------------------------------------------------------


def test_playback_does_not_prevent_a_change_of_day_or_view(event: System, page: Page) -> None:
    open_person(page, event)
    start_playback(page)
    page.get_by_role("button", name="12 May 2026").click()
    expect(page.locator(".calendar p").last).to_contain_text("12 May")
    wait_until_idle(page)
    expect(page).to_have_url(re.compile(re.escape("start=2026-05-11T22%3A00%3A00.000Z")))
    page.get_by_role("link", name="Crowd").click()
    expect(page.get_by_role("heading", name="The crowd")).to_be_visible()
    wait_until_idle(page)
    expect(page).to_have_url(re.compile("/crowd"))


def test_an_option_changed_during_playback_applies_at_once_and_stays(event: System, page: Page) -> None:
    open_person(page, event)
    start_playback(page)
    page.get_by_label("follow closely").check()
    before = slider_time(page)
    until(lambda: slider_time(page) > before)
    expect(page.locator(".map")).to_have_class(re.compile(r"\bclose\b"))
    page.get_by_role("button", name="Pause").click()
    expect(page).to_have_url(re.compile("follow=1&at="))


def test_a_screen_reader_does_not_announce_every_frame(event: System, page: Page) -> None:
    open_person(page, event)
    expect(page.locator(".player output")).to_have_attribute("aria-live", "off")
    slider = page.get_by_role("slider")
    before = str(slider.get_attribute("aria-valuetext"))
    slider.focus()
    page.keyboard.press("ArrowRight")  # one second
    expect(slider).not_to_have_attribute("aria-valuetext", before)


# --- by keyboard ---------------------------------------------------------------------------------


def test_enter_opens_the_first_result_of_the_typed_search_not_of_the_previous_one(
    event: System, page: Page
) -> None:
    page.goto(event.url("/people", APP))
    last = event.get("/api/persons?search=dietrich").json()[0]
    expect(page.get_by_role("list", name="People").get_by_role("listitem")).to_have_count(50)
    page.keyboard.type("dietrich")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=full_name(last))).to_be_visible()


def test_typing_loses_no_letter_when_the_search_runs_in_between(event: System, page: Page) -> None:
    page.goto(event.url("/people", APP))
    field = page.get_by_label("Name or company")
    for delay in (150, 155):  # around the debounce time of the search
        field.fill("")
        field.press_sequentially("abcdefghijklmnopqrst", delay=delay)
        expect(field).to_have_value("abcdefghijklmnopqrst")


def test_the_focus_follows_links_and_the_tab_key(event: System, page: Page) -> None:
    open_person(page, event)
    page.get_by_role("link", name="Skip to content").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#view")).to_be_focused()
    open_criteria(page)
    page.get_by_label("Maximum distance in metres").fill("4")
    page.keyboard.press("Tab")
    expect(page).to_have_url(re.compile("distance=4"))
    wait_until_idle(page)
    expect(page.get_by_label("Maximum time difference in seconds")).to_be_focused()
    page.go_back()
    expect(page.get_by_label("Maximum distance in metres")).to_have_value("5")
    wait_until_idle(page)
    page.locator(".list li button").nth(2).focus()
    expect(page.locator(".list li").nth(2)).to_have_class("marked")
    expect(page.locator(".bars i.marked")).to_have_count(1)


# --- the crowd -----------------------------------------------------------------------------------


def test_closing_a_popup_adds_no_history_entry_and_switching_views_leaves_no_canvas(
    event: System, page: Page
) -> None:
    page.goto(event.url(f"/crowd?{DAY}&at=2026-05-11T12:00:00Z", APP))
    expect(page.locator(".near")).to_contain_text("people")
    page.mouse.click(*page.evaluate(FIND_POINT, False))
    expect(page.locator(".leaflet-popup-content a")).to_be_visible()
    page.get_by_role("button", name="Close popup").click()
    expect(page.locator(".leaflet-popup")).to_have_count(0)
    assert "#" not in page.url
    for _ in range(2):
        page.get_by_label("Heat map").check()
        expect(page.locator(".leaflet-heatmap-layer")).to_be_attached()
        page.get_by_label("Snapshot").check()
        expect(page.locator(".near")).to_contain_text("people")
    expect(page.locator(".map canvas")).to_have_count(1)


def test_playback_of_the_crowd_waits_for_positions(event: System, page: Page) -> None:
    page.goto(event.url(f"/crowd?{DAY}&at=2026-05-11T12:00:00Z", APP))
    expect(page.locator(".near")).to_contain_text("people")
    wait_until_idle(page)
    with delayed_responses(page, "/api/locations"):
        page.get_by_role("button", name="Play").click()
        expect(page.locator(".near")).to_contain_text("loading")
        stopped_at = slider_time(page)
        page.evaluate(WAIT_20_FRAMES)
        assert slider_time(page) == stopped_at
    until(lambda: slider_time(page) > stopped_at)


# --- a slow or failing API -----------------------------------------------------------------------


def test_the_list_of_the_previous_day_is_marked_busy_until_the_new_one_is_loaded(
    event: System, page: Page
) -> None:
    page.goto(event.url(f"/people/{FINN}?start=2026-05-01T22:00:00Z&end=2026-05-02T22:00:00Z", APP))
    expect(page.locator(".list .note")).to_contain_text("2 May")
    with delayed_responses(page, "/encounters|/api/locations.*limit=10000"):
        page.get_by_role("button", name="11 May 2026").click()
        expect(page.locator(".list")).to_have_attribute("aria-busy", "true")
        expect(page.locator(".list")).to_have_css("opacity", "0.45")
        expect(page.locator(".list .note")).to_contain_text("2 May")
    expect(page.locator(".list h2")).to_contain_text(f"{len(get_encounters(event))} encounters")


def test_failed_positions_are_not_requested_again_with_every_frame(event: System, page: Page) -> None:
    page.expected_errors += ["ERR_FAILED"]  # type: ignore[attr-defined]
    longest = max(get_encounters(event), key=lambda each: each["duration_s"])
    requested: list[str] = []

    def abort(route: Route) -> None:
        requested.append(route.request.url)
        route.abort()

    page.route(re.compile("/connection"), abort)
    open_person(page, event, f"&at={longest['start']}")
    page.get_by_label("Speed").select_option("1 min per second")
    start_playback(page)
    page.evaluate(WAIT_20_FRAMES)
    page.evaluate(WAIT_20_FRAMES)
    assert 0 < len(requested) < 10
    page.unroute(re.compile("/connection"))
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".map path.other").first).to_be_attached()  # after an automatic retry


def test_a_truncated_response_is_reported(event: System, page: Page) -> None:
    def truncate(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.body()[:-1])

    open_person(page, event)
    page.route(re.compile("/encounters"), truncate)
    page.get_by_role("button", name="12 May 2026").click()
    expect(page.get_by_role("alert")).to_contain_text("incomplete")
    page.unroute(re.compile("/encounters"))
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".list h2")).to_contain_text("encounters")


# --- unusual data --------------------------------------------------------------------------------

UNUSUAL_NAMES = [
    ("<img src=x onerror=alert(1)>", "\"'><svg/onload=alert(1)>", "=cmd|' /C calc'!A0"),
    ("\u202eesrever", "\u05e9\u05dc\u05d5\u05dd", "\u05d7\u05d1\u05e8\u05d4 123"),
    ("W" * 255, "m" * 255, "i" * 255),
]


def test_unusual_names_and_a_track_over_the_180th_meridian(event: System, page: Page) -> None:
    """Names do not run as scripts, nor turn or widen the page. A track over the meridian stays whole."""
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    keys = ("first_name", "last_name", "company_name")
    person_ids = [
        event.ask("POST", "/api/persons", json=dict(zip(keys, one, strict=True))).json()["id"]
        for one in UNUSUAL_NAMES
    ]
    pings: list[dict[str, Any]] = [
        {
            "person_id": person,
            "latitude": -16.8 + 0.00001 * number,
            "longitude": (359.9995 + 0.0001 * minute / 6) % 360 - 180,
            "creation_time": f"2026-06-01T10:{minute:02}:00Z",
        }
        for number, person in enumerate(person_ids)
        for minute in range(60)
    ]
    assert event.ask("POST", "/api/locations", json=pings).status_code == 202
    event.settle()
    for size in (390, 1280):
        page.set_viewport_size({"width": size, "height": 900})
        for path in (
            f"/people/{person_ids[0]}?start=2026-06-01&end=2026-06-02&within=0&at=2026-06-01T10:30:00Z",
            f"/people/{person_ids[2]}?start=2026-06-01&end=2026-06-02&within=0",
            "/people?search=mmm",
        ):
            page.goto(event.url(path, APP))
            wait_until_idle(page)
            assert page.evaluate("document.documentElement.scrollWidth") == size, path
        page.goto(event.url(f"/people/{person_ids[0]}?start=2026-06-01&end=2026-06-02&within=0", APP))
        wait_until_idle(page)
        expect(page.locator(".leaflet-control-attribution")).to_have_text(re.compile(r"grid \d+ m$"))
    expect(page.locator(".near a").first).to_have_css("unicode-bidi", "plaintext")
    page.locator(".list li").first.hover()
    expect(page.locator(".leaflet-tooltip:not(.name)")).to_contain_text("esrever")
    with page.expect_download() as download:
        page.get_by_role("button", name="GeoJSON").click()
    track = json.loads(Path(download.value.path()).read_text())["features"][0]
    assert all(-180 <= longitude <= 180 for longitude, _ in track["geometry"]["coordinates"])
    page.goto(event.url("/crowd?start=2026-06-01&end=2026-06-02&at=2026-06-01T10:29:30Z", APP))
    expect(page.locator(".near")).to_contain_text("3 people")
    expect(page.locator(".leaflet-control-attribution")).to_have_text(re.compile(r"grid \d+ m$"))
    for person in person_ids:
        event.ask("DELETE", f"/api/persons/{person}")


def test_an_accuracy_is_shown_and_bad_ones_are_left_out_on_request(event: System, page: Page) -> None:
    names = {"first_name": "Ida", "last_name": "Noddack", "company_name": "Rhenium"}
    ids = [event.ask("POST", "/api/persons", json=names).json()["id"] for _ in range(2)]
    pings = [
        {"person_id": person, "latitude": 52.5, "longitude": 13.4, "accuracy": accuracy}
        | {"creation_time": f"2026-06-02T10:{minute:02}:00Z"}
        for person, accuracy in zip(ids, (3.3, 42.5), strict=True)
        for minute in range(10)
    ]
    assert event.ask("POST", "/api/locations", json=pings).status_code == 202
    event.settle()
    page.goto(event.url(f"/people/{ids[0]}?start=2026-06-02&end=2026-06-03", APP))
    encounters = page.locator(".list h2")
    expect(encounters).to_contain_text("1 encounter")
    open_criteria(page)
    for accuracy, count in (("42.5", 1), ("42", 0), ("", 1)):
        page.get_by_label("Maximum accuracy in metres").fill(accuracy)
        page.keyboard.press("Tab")
        expect(encounters).to_contain_text(f"{count} encounter")
        assert (f"max_accuracy={accuracy}" in page.url) == bool(accuracy)
        wait_until_idle(page)

    page.goto(event.url("/crowd?start=2026-06-02&end=2026-06-03&at=2026-06-02T10:09:00Z", APP))
    expect(page.locator(".near")).to_contain_text("2 people")
    page.mouse.click(*page.evaluate(FIND_POINT, False))
    expect(page.locator(".leaflet-popup-content")).to_contain_text(re.compile(r"Accuracy: (3\.3|42\.5) m"))
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    assert "3.3" in Path(download.value.path()).read_text().splitlines()[1].split(",")[-1]
    for person in ids:
        event.ask("DELETE", f"/api/persons/{person}")


# --- the status ----------------------------------------------------------------------------------


def test_a_refresh_of_the_status_page_asks_once_for_the_newest_ping(event: System, page: Page) -> None:
    times = [f"2026-05-13T08:00:00.{tenth}Z" for tenth in range(1, 5)]
    location = {"person_id": FINN, "latitude": 52.5, "longitude": 13.4}
    sent = event.ask("POST", "/api/locations", json=[location | {"creation_time": each} for each in times])
    assert sent.status_code == 202
    event.settle()
    page.goto(event.url("/status", APP))
    expect(page.locator("dl > div", has_text="newest ping")).to_contain_text("13 May 2026, 10:00:00")
    wait_until_idle(page)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    with page.expect_request(re.compile("/health/ready")):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # triggers a refresh
    wait_until_idle(page)
    assert len([each for each in requested if "order=newest" in each]) == 1
    event.sql("DELETE FROM locations_location WHERE creation_time > '2026-05-13'")
