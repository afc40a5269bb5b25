"""Tests of the web app about the event: its days, its time zone, its zones on maps; few calls for a view."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import DESKTOP, PHONE, a_page, axe_violations
from tests.system import API, APP, STAGES, System
from tests.test_app import DAY, FINN
from tests.test_app_live import store_ping
from tests.test_app_states import wait_until_idle
from tests.test_journey import BOOTH, make_person

# One stage: the pages are the same at all stages.
pytestmark = pytest.mark.parametrize("stage", [STAGES[-1]], indirect=True)
MAP_VIEWS = {
    "person": f"/people/{FINN}",
    "snapshot": "/crowd",
    "heat map": "/crowd?show=heat",
}
MOST_CALLS = {"/": 8, "/status": 7}  # by path; the status page asks each process that serves clients
MOST_CALLS_ELSEWHERE = 6
EVENT = {"name": "Expo", "time_zone": "Europe/Berlin", "first_day": "2026-05-11", "last_day": "2026-05-12"}


@pytest.fixture
def stray_pings(event: System) -> Iterator[None]:
    """Pings of Finn outside of the event's days: years ago and in years to come."""
    place = {"person_id": FINN, "latitude": 52.5, "longitude": 13.4}
    times = ("2020-02-02T10:00:00Z", "2031-03-03T10:00:00Z")
    sent = event.ask("POST", "/api/locations", json=[place | {"creation_time": each} for each in times])
    assert sent.status_code == 202, sent.text
    event.settle()
    yield
    event.sql("DELETE FROM locations_location WHERE creation_time NOT BETWEEN '2026-05-01' AND '2026-06-01'")


def chosen_day(page: Page) -> str:
    expect(page.locator(".calendar [aria-pressed=true]")).to_have_count(1)
    return str(page.locator(".calendar [aria-pressed=true]").get_attribute("aria-label"))


def put(system: System, path: str, body: dict[str, Any]) -> None:
    answer = system.ask("PUT", path, json=body)
    assert answer.ok, answer.text


# --- the day that a view opens ---------------------------------------------------------------------


@pytest.mark.usefixtures("stray_pings")
@pytest.mark.parametrize("path", [f"/people/{FINN}", "/crowd"])
def test_a_ping_of_another_day_does_not_hide_the_event_and_stays_reachable(
    event: System, page: Page, path: str
) -> None:
    page.goto(event.url(path, APP))
    expect(page.locator(".player")).to_be_visible()
    assert "12 May 2026, has pings" in chosen_day(page)
    page.goto(event.url(f"{path}?start=2031-03-01T23:00:00Z&end=2031-03-02T23:00:00Z", APP))
    page.get_by_role("button", name="3 March 2031, has pings").click()
    expect(page.locator(".player")).to_be_visible()


def test_a_view_opens_on_today_during_the_event(event: System, page: Page) -> None:
    today = store_ping(event, FINN, BOOTH, 5)
    page.goto(event.url(f"/people/{FINN}", APP))
    expect(page.locator(".player")).to_be_visible()
    assert "12 May 2026, has pings" in chosen_day(page)
    event.sql("UPDATE venue_event SET last_day = current_date + 1")
    page.goto(event.url(f"/people/{FINN}", APP))
    expect(page.locator(".player")).to_be_visible()
    assert f"{today.day} {today:%B %Y}, has pings" in chosen_day(page)
    event.sql("UPDATE venue_event SET last_day = '2026-05-12'")
    event.sql("DELETE FROM locations_location WHERE creation_time > '2026-06-01'")


# --- the time zone ---------------------------------------------------------------------------------


def test_times_are_on_a_clock_of_12_hours_where_the_locale_has_it(
    event: System, browser: Browser, origins: set[str]
) -> None:
    with a_page(browser, origins, zone="America/New_York", locale="en-US") as page:
        page.goto(event.url(f"/people/{FINN}?start=2026-05-11T10:00:00Z&end=2026-05-11T12:00:00Z", APP))
        wait_until_idle(page)
        expect(page.locator(".calendar p").last).to_have_text(
            re.compile(r"Showing May 11, 12:00\s–\s2:00\sPM, Europe/Berlin time\.")
        )


# --- few calls -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/people", *MAP_VIEWS.values(), "/status", f"/share?person={FINN}"])
def test_a_view_needs_few_calls(event: System, page: Page, path: str) -> None:
    called: list[str] = []
    page.on("request", lambda request: called.append(request.url))
    page.goto(event.url(path, APP))
    wait_until_idle(page)
    expect(page.locator("main")).to_be_visible()
    calls = [url for url in called if url.startswith(event.url("", API))]
    assert 0 < len(calls) <= MOST_CALLS.get(path, MOST_CALLS_ELSEWHERE), calls
    assert len(calls) == len(set(calls)), calls


def test_another_view_asks_for_the_event_and_its_zones_no_more(event: System, page: Page) -> None:
    page.goto(event.url(f"/people/{FINN}", APP))
    wait_until_idle(page)
    called: list[str] = []
    page.on("request", lambda request: called.append(request.url))
    page.get_by_role("link", name="Crowd").click()
    expect(page.locator(".near")).to_contain_text("people")
    expect(page.locator(".zone").first).to_be_attached()
    assert not [url for url in called if "/api/event" in url or "/api/zones" in url]


# --- the zones -------------------------------------------------------------------------------------

# The names on the map as [text, left, top, right, bottom].
NAME_BOXES = """() => [...document.querySelectorAll(".zone-name span")].map((each) => {
  const { left, top, right, bottom } = each.getBoundingClientRect();
  return [each.textContent, left, top, right, bottom];
})"""


def overlapping(boxes: list[tuple[str, float, float, float, float]]) -> list[tuple[str, str]]:
    return [
        (one[0], other[0])
        for index, one in enumerate(boxes)
        for other in boxes[:index]
        if one[1] < other[3] and other[1] < one[3] and one[2] < other[4] and other[2] < one[4]
    ]


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_map_has_the_zones_and_their_names_do_not_overlap(
    event: System, browser: Browser, origins: set[str], viewport: dict[str, int], scheme: str
) -> None:
    zones = event.get("/api/zones").json()["features"]
    halls = {each["properties"]["name"] for each in zones if each["properties"]["kind"] == "hall"}
    assert len(zones) > 10
    assert halls
    with a_page(browser, origins, viewport=viewport, color_scheme=scheme) as page:
        for view, path in MAP_VIEWS.items():
            page.goto(event.url(path, APP))
            wait_until_idle(page)
            expect(page.locator(".map .zone")).to_have_count(len(zones))
            for zooms in range(4):
                boxes = page.evaluate(NAME_BOXES)
                assert halls <= {each[0] for each in boxes}, view
                assert overlapping(boxes) == [], (view, zooms)
                page.get_by_role("button", name="Zoom in").press("Enter")
                expect(page.locator(".leaflet-zoom-anim")).to_have_count(0)
            assert axe_violations(page) == [], view
            assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], view


def test_a_map_opens_on_the_bounds_of_the_event_unless_the_pings_are_elsewhere(
    event: System, page: Page
) -> None:
    box = """() => {
      const box = (selector) => document.querySelector(selector).getBoundingClientRect();
      const [map, hall] = [box(".map"), box(".zone.hall")];
      return [hall.left - map.left, map.right - hall.right, hall.top - map.top, map.bottom - hall.bottom];
    }"""
    page.goto(event.url(f"/people/{FINN}?{DAY}", APP))
    wait_until_idle(page)
    assert all(each > 0 for each in page.evaluate(box))
    assert min(page.evaluate(box)) < 200
    ping = {"person_id": FINN, "latitude": 48.1, "longitude": 11.6, "creation_time": "2026-05-20T10:00:00Z"}
    assert event.ask("POST", "/api/locations", json=ping).status_code == 202
    event.settle()
    page.goto(event.url(f"/people/{FINN}?start=2026-05-19T22:00:00Z&end=2026-05-20T22:00:00Z", APP))
    expect(page.locator(".map path.me")).to_be_in_viewport()
    event.sql("DELETE FROM locations_location WHERE creation_time > '2026-05-15'")


# --- other events, or none: these tests empty the system ------------------------------------------------


def test_without_an_event_a_view_opens_on_the_newest_day(fresh: System, page: Page) -> None:
    ann = make_person(fresh, "Ann")
    for day in (1, 2):
        ping = {"person_id": ann, **BOOTH, "creation_time": f"2026-04-0{day}T10:00:00Z"}
        assert fresh.ask("POST", "/api/locations", json=ping).status_code == 202
    fresh.settle()
    page.goto(fresh.url(f"/people/{ann}", APP))
    expect(page.locator(".player")).to_be_visible()
    assert "2 April 2026, has pings" in chosen_day(page)
    expect(page.locator(".calendar")).to_contain_text("Europe/Berlin time")  # the browser's
    expect(page.locator(".zone")).to_have_count(0)


def test_days_and_times_are_those_of_the_event_in_another_time_zone(fresh: System, page: Page) -> None:
    """The browser is in Berlin. In Auckland the summer ended on 5 April 2026, a day of 25 hours."""
    ann = make_person(fresh, "Ann")
    put(
        fresh,
        "/api/event",
        EVENT | {"time_zone": "Pacific/Auckland", "first_day": "2026-04-05", "last_day": "2026-04-06"},
    )
    # The first and the last minute of 5 April in Auckland, and the first one of 6 April.
    for time in ("2026-04-04T11:00:00Z", "2026-04-05T11:59:00Z", "2026-04-05T12:00:00Z"):
        ping = {"person_id": ann, **BOOTH, "creation_time": time}
        assert fresh.ask("POST", "/api/locations", json=ping).status_code == 202
    fresh.settle()
    page.goto(fresh.url(f"/people/{ann}", APP))
    expect(page.locator(".player output")).to_have_text("00:00:00")
    assert "6 April 2026, has pings" in chosen_day(page)
    expect(page.locator(".calendar .marked")).to_have_count(2)
    expect(page.get_by_text("Pacific/Auckland time")).to_have_count(1)

    page.get_by_role("button", name="5 April 2026, has pings").click()
    expect(page).to_have_url(
        re.compile(re.escape("start=2026-04-04T11%3A00%3A00.000Z&end=2026-04-05T12%3A00%3A00.000Z"))
    )
    slider = page.get_by_role("slider", name="Time")
    expect(slider).to_have_attribute("aria-valuetext", "5 Apr 2026, 00:00:00")
    slider.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "5 Apr 2026, 23:59:00")
