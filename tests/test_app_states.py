"""The web app for everybody: axe, phones, zones; where there is nothing to see; where something is wrong."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import DESKTOP, PHONE, a_page, barriers
from tests.system import APP, STAGES, System
from tests.test_app import DAY, FINN, person_page

pytestmark = pytest.mark.parametrize("stage", [STAGES[-1]], indirect=True)  # the page is the same at all
VIEWS = {
    "people": "/",
    "one found": "/?search=finn",
    "nobody found": "/?search=zzz",
    "person": f"/people/{FINN}?{DAY}&at=2026-05-11T10:00:00Z",
    "a moment, closely": f"/people/{FINN}?{DAY}&at=2026-05-11T10:00:00Z&follow=1",
    "no pings that day": f"/people/{FINN}?start=2026-05-01T00:00:00Z&end=2026-05-02T00:00:00Z",
    "nobody near": f"/people/{FINN}?{DAY}&distance=0.1&within=0",
    "unknown person": "/people/999",
    "crowd": f"/crowd?{DAY}&at=2026-05-11T10:00:00Z",
    "heat": f"/crowd?{DAY}&show=heat",
    "status": "/status",
}


def quiet(page: Page) -> None:
    """Everything that was asked has been answered, and is shown."""
    page.wait_for_load_state("networkidle")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator(".loading, [aria-busy=true]")).to_have_count(0)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    event: System, browser: Browser, origins: set[str], viewport: dict[str, int], scheme: str
) -> None:
    with a_page(browser, origins, viewport=viewport, color_scheme=scheme) as page:
        page.forgiven += ["404"]  # type: ignore[attr-defined] # of the unknown person
        for view, path in VIEWS.items():
            page.goto(event.url(path, APP))
            quiet(page)
            assert barriers(page) == [], view
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= viewport["width"], f"{view} is {wide} pixels wide"


def test_a_link_carries_the_whole_state(
    event: System, browser: Browser, origins: set[str], page: Page
) -> None:
    person_page(page, event, "&distance=3&within=30&max_gap=120&min_duration=120")
    page.get_by_label("follow closely").check()
    page.get_by_label("a second is").select_option("15 min")
    page.locator(".list li button").nth(2).click()
    expect(page).to_have_url(re.compile("at=2026-05-11T"))
    quiet(page)
    page.wait_for_function("document.querySelectorAll('.map .name').length > 0")
    with a_page(browser, origins) as other:
        other.goto(page.url)
        quiet(other)
        for part in (".list", ".terms", ".near", ".player output", ".calendar"):
            expect(other.locator(part)).to_have_text(page.locator(part).inner_text(), use_inner_text=True)
        expect(other.get_by_role("slider")).to_have_value(page.get_by_role("slider").input_value())


def test_a_link_carries_where_the_map_was(
    event: System, browser: Browser, origins: set[str], page: Page
) -> None:
    page.goto(event.url(VIEWS["crowd"], APP))
    quiet(page)
    box = page.locator(".map").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.mouse.wheel(0, -300)
    expect(page).to_have_url(re.compile("map="))
    quiet(page)
    with a_page(browser, origins) as other:
        other.goto(page.url)
        quiet(other)
        assert other.url == page.url
        expect(other.locator(".leaflet-control-scale-line")).to_have_text(
            page.locator(".leaflet-control-scale-line").inner_text()
        )
    page.get_by_role("button", name=re.compile("12 May 2026")).click()
    expect(page).not_to_have_url(re.compile("map="))  # another day is framed anew


@pytest.mark.parametrize(
    ("zone", "locale", "clock"),
    [("America/New_York", "en-US", "6:00 – 8:00 AM"), ("Asia/Tokyo", "de-DE", "19:00–21:00 Uhr")],
)
def test_times_are_those_of_the_reader(
    event: System, browser: Browser, origins: set[str], zone: str, locale: str, clock: str
) -> None:
    """The link's instants stay what they are: whoever opens it is shown the same encounters."""
    here = event.get(
        f"/api/persons/{FINN}/encounters?start_date=2026-05-11T10:00:00Z&end_date=2026-05-11T12:00:00Z&min_duration=60"
    ).json()
    span = "start=2026-05-11T10:00:00Z&end=2026-05-11T12:00:00Z"
    with a_page(browser, origins, zone=zone, locale=locale) as page:
        page.goto(event.url(f"/people/{FINN}?{span}", APP))
        quiet(page)
        expect(page.locator(".list h2")).to_contain_text(f"{len(here)} encounters")
        expect(page.locator(".calendar")).to_contain_text(zone.replace("_", " "))
        expect(page.locator(".calendar p").last).to_contain_text(re.compile(clock.replace(" ", r"\s")))


def test_a_day_without_pings_and_terms_without_anybody_say_what_to_do(event: System, page: Page) -> None:
    page.goto(event.url(VIEWS["no pings that day"], APP))
    expect(page.locator(".note")).to_contain_text("Choose a day with a dot")
    page.goto(event.url(VIEWS["nobody near"], APP))
    expect(page.locator(".note")).to_contain_text("Allow more metres or seconds")
    with page.expect_download() as download:  # the way alone is worth keeping, too
        page.get_by_role("button", name="GeoJSON").click()
    features = json.loads(Path(download.value.path()).read_text())["features"]
    assert [each["geometry"]["type"] for each in features] == ["LineString"]
    page.goto(event.url(VIEWS["nobody found"], APP))
    expect(page.locator(".note")).to_contain_text("Nobody is called “zzz”.")


def test_who_is_not_there_is_said_to_be(event: System, page: Page) -> None:
    page.forgiven += ["404"]  # type: ignore[attr-defined]
    page.goto(event.url(VIEWS["unknown person"], APP))
    expect(page.get_by_role("alert")).to_contain_text("There is no person 999.")


def test_an_api_that_is_away_is_waited_for_in_place(event: System, page: Page) -> None:
    """The browser loses its network, and gets it back."""
    page.forgiven += ["ERR_INTERNET_DISCONNECTED"]  # type: ignore[attr-defined]
    person_page(page, event)
    page.context.set_offline(True)
    page.get_by_role("button", name="12 May 2026").click()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached from here")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".list h2")).to_contain_text("encounters")


def test_an_empty_system_says_how_to_begin(fresh: System, page: Page) -> None:
    page.goto(fresh.url("/", APP))
    expect(page.locator(".note")).to_contain_text("manage.py simulate")
    page.goto(fresh.url("/crowd", APP))
    expect(page.locator(".note")).to_contain_text("No ping has come in yet.")
    page.goto(fresh.url("/status", APP))
    expect(page.locator("dl > div", has_text="newest ping")).to_contain_text("none yet")
    person: dict[str, Any] = fresh.ask(
        "POST", "/api/persons", json={"first_name": "Ada", "last_name": "Lee", "company_name": "Acme"}
    ).json()
    page.goto(fresh.url(f"/people/{person['id']}", APP))
    expect(page.locator(".note")).to_contain_text("No ping of theirs has come in yet.")
