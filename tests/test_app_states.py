"""Tests of the web app: accessibility, phones, time zones, links, empty states and errors."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import DESKTOP, PHONE, a_page, axe_violations
from tests.system import APP, STAGES, System
from tests.test_app import DAY, FINN, open_person

# One stage: the pages are the same at all stages.
pytestmark = pytest.mark.parametrize("stage", [STAGES[-1]], indirect=True)
VIEWS = {
    "overview": f"/?{DAY}",
    "overview, day without pings": "/?start=2026-05-01T00:00:00Z&end=2026-05-02T00:00:00Z",
    "overview, nobody met": f"/?{DAY}&min_duration=86400",
    "people of the day": f"/day/people?{DAY}",
    "encounters of the day": f"/day/encounters?{DAY}",
    "pairs of the day": f"/day/pairs?{DAY}",
    "zones of the day": f"/day/zones?{DAY}",
    "people": "/people",
    "search with results": "/people?search=finn",
    "search without results": "/people?search=zzz",
    "person": f"/people/{FINN}?{DAY}&at=2026-05-11T10:00:00Z",
    "person, follow closely": f"/people/{FINN}?{DAY}&at=2026-05-11T10:00:00Z&follow=1",
    "day without pings": f"/people/{FINN}?start=2026-05-01T00:00:00Z&end=2026-05-02T00:00:00Z",
    "no encounters": f"/people/{FINN}?{DAY}&distance=0.1&within=0",
    "unknown person": "/people/999",
    "crowd": f"/crowd?{DAY}&at=2026-05-11T10:00:00Z",
    "heat": f"/crowd?{DAY}&show=heat",
    "status": "/status",
    "share, choose a person": "/share",
    "share": f"/share?person={FINN}",
}


def wait_until_idle(page: Page) -> None:
    """Waits until all requests are answered and the view is rendered."""
    page.wait_for_load_state("networkidle")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator(".loading, [aria-busy=true]")).to_have_count(0)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_is_accessible_and_fits_the_viewport(
    event: System, browser: Browser, origins: set[str], viewport: dict[str, int], scheme: str
) -> None:
    with a_page(browser, origins, viewport=viewport, color_scheme=scheme) as page:
        page.expected_errors += ["404"]  # type: ignore[attr-defined]  # the unknown person
        for view, path in VIEWS.items():
            page.goto(event.url(path, APP))
            wait_until_idle(page)
            assert axe_violations(page) == [], view
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= viewport["width"], f"{view} is {width} pixels wide"


def test_a_link_restores_the_whole_state(
    event: System, browser: Browser, origins: set[str], page: Page
) -> None:
    open_person(page, event, "&distance=3&within=30&max_gap=120&min_duration=120")
    page.get_by_label("follow closely").check()
    page.get_by_label("Speed").select_option("15 min per second")
    page.locator(".list li button").nth(2).click()
    expect(page).to_have_url(re.compile("at=2026-05-11T"))
    wait_until_idle(page)
    page.wait_for_function("document.querySelectorAll('.map .name').length > 0")
    with a_page(browser, origins) as other:
        other.goto(page.url)
        wait_until_idle(other)
        for part in (".list", ".criteria", ".near", ".player output", ".calendar"):
            expect(other.locator(part)).to_have_text(page.locator(part).inner_text(), use_inner_text=True)
        expect(other.get_by_role("slider")).to_have_value(page.get_by_role("slider").input_value())


def test_a_link_restores_the_map_position(
    event: System, browser: Browser, origins: set[str], page: Page
) -> None:
    page.goto(event.url(VIEWS["crowd"], APP))
    wait_until_idle(page)
    box = page.locator(".map").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.mouse.wheel(0, -300)
    expect(page).to_have_url(re.compile("map="))
    wait_until_idle(page)
    with a_page(browser, origins) as other:
        other.goto(page.url)
        wait_until_idle(other)
        assert other.url == page.url
        expect(other.locator(".leaflet-control-scale-line")).to_have_text(
            page.locator(".leaflet-control-scale-line").inner_text()
        )
    page.get_by_role("button", name=re.compile("12 May 2026")).click()
    expect(page).not_to_have_url(re.compile("map="))  # the map fits itself to another day


@pytest.mark.parametrize(
    ("zone", "locale", "clock"),
    [("America/New_York", "en-US", "6:00 – 8:00 AM"), ("Asia/Tokyo", "de-DE", "19:00–21:00 Uhr")],
)
def test_times_without_an_event_are_in_the_time_zone_and_locale_of_the_browser(
    event: System, browser: Browser, origins: set[str], zone: str, locale: str, clock: str
) -> None:
    """The instants of a link do not depend on the time zone: every reader gets the same encounters."""
    event.sql("DELETE FROM venue_event")
    expected = event.get(
        f"/api/persons/{FINN}/encounters?start_date=2026-05-11T10:00:00Z&end_date=2026-05-11T12:00:00Z&min_duration=60"
    ).json()
    span = "start=2026-05-11T10:00:00Z&end=2026-05-11T12:00:00Z"
    with a_page(browser, origins, zone=zone, locale=locale) as page:
        page.goto(event.url(f"/people/{FINN}?{span}", APP))
        wait_until_idle(page)
        expect(page.locator(".list h2")).to_contain_text(f"{len(expected)} encounters")
        expect(page.locator(".calendar")).to_contain_text(zone.replace("_", " "))
        expect(page.locator(".calendar p").last).to_contain_text(re.compile(clock.replace(" ", r"\s")))


def test_empty_results_say_what_to_do(event: System, page: Page) -> None:
    page.goto(event.url(VIEWS["day without pings"], APP))
    expect(page.locator(".note")).to_contain_text("Choose a day with a dot")
    page.goto(event.url(VIEWS["no encounters"], APP))
    expect(page.locator(".note")).to_contain_text("Allow more metres or seconds")
    with page.expect_download() as download:  # the path alone can be downloaded, too
        page.get_by_role("button", name="GeoJSON").click()
    features = json.loads(Path(download.value.path()).read_text())["features"]
    assert [each["geometry"]["type"] for each in features] == ["LineString"]
    page.goto(event.url(VIEWS["search without results"], APP))
    expect(page.locator(".note")).to_contain_text("Nobody is called “zzz”.")


def test_an_unknown_person_is_reported(event: System, page: Page) -> None:
    page.expected_errors += ["404"]  # type: ignore[attr-defined]
    page.goto(event.url(VIEWS["unknown person"], APP))
    expect(page.get_by_role("alert")).to_contain_text("There is no person 999.")


def test_the_page_tries_again_when_the_network_is_back(event: System, page: Page) -> None:
    page.expected_errors += ["ERR_INTERNET_DISCONNECTED"]  # type: ignore[attr-defined]
    open_person(page, event)
    page.context.set_offline(True)
    page.get_by_role("button", name="12 May 2026").click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    page.context.set_offline(False)
    expect(page.locator(".list h2")).to_contain_text("encounters")


def test_an_empty_system_says_how_to_add_data(fresh: System, page: Page) -> None:
    for path in ("/", "/people"):
        page.goto(fresh.url(path, APP))
        expect(page.locator(".note")).to_contain_text("manage.py simulate")
    page.goto(fresh.url("/crowd", APP))
    expect(page.locator(".note")).to_contain_text("There are no pings yet.")
    page.goto(fresh.url("/status", APP))
    expect(page.locator("dl > div", has_text="newest ping")).to_contain_text("none yet")
    person: dict[str, Any] = fresh.ask(
        "POST", "/api/persons", json={"first_name": "Ada", "last_name": "Lee", "company_name": "Acme"}
    ).json()
    page.goto(fresh.url(f"/people/{person['id']}", APP))
    expect(page.locator(".note")).to_contain_text("This person has no pings yet.")
