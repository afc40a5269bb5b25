"""The web app under hasty hands, odd people and their tracks, and an API that comes and goes."""

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
from tests.test_app import DAY, FINN, SPOT, met, moment, name, person_page
from tests.test_app_states import quiet

pytestmark = pytest.mark.parametrize("stage", [STAGES[-1]], indirect=True)  # the page is the same at all


FRAMES = """async () => {
  for (let n = 0; n < 20; n++) await new Promise(requestAnimationFrame);
}"""


@contextlib.contextmanager
def held(page: Page, what: str) -> Iterator[None]:
    """The API's answers are on their way until the end."""
    waiting: list[Route] = []
    over = False

    def hold(route: Route) -> None:
        if over:
            route.continue_()
        else:
            waiting.append(route)

    page.route(re.compile(what), hold)
    yield
    over = True
    for each in waiting:
        each.continue_()


def plays(page: Page) -> None:
    before = moment(page)
    page.get_by_role("button", name="Play").click()
    until(lambda: moment(page) > before)


# --- while it plays ------------------------------------------------------------------------------


def test_a_day_that_plays_can_be_left_for_another_day_and_another_view(event: System, page: Page) -> None:
    person_page(page, event)
    plays(page)
    page.get_by_role("button", name="12 May 2026").click()
    expect(page.locator(".calendar p").last).to_contain_text("12 May")
    quiet(page)
    expect(page).to_have_url(re.compile(re.escape("start=2026-05-11T22%3A00%3A00.000Z")))
    page.get_by_role("link", name="Crowd").click()
    expect(page.get_by_role("heading", name="The crowd")).to_be_visible()
    quiet(page)
    expect(page).to_have_url(re.compile("/crowd"))


def test_what_is_chosen_while_it_plays_counts_at_once_and_stays(event: System, page: Page) -> None:
    person_page(page, event)
    plays(page)
    page.get_by_label("follow closely").check()
    before = moment(page)
    until(lambda: moment(page) > before)
    expect(page.locator(".map")).to_have_class(re.compile(r"\bclose\b"))
    page.get_by_role("button", name="Pause").click()
    expect(page).to_have_url(re.compile("follow=1&at="))


def test_a_reader_by_ear_is_not_told_of_every_frame(event: System, page: Page) -> None:
    person_page(page, event)
    expect(page.locator(".player output")).to_have_attribute("aria-live", "off")
    slider = page.get_by_role("slider")
    before = str(slider.get_attribute("aria-valuetext"))
    slider.focus()
    page.keyboard.press("ArrowRight")  # a second
    expect(slider).not_to_have_attribute("aria-valuetext", before)


# --- by keyboard ---------------------------------------------------------------------------------


def test_enter_opens_whom_the_letters_mean_not_who_was_listed_before(event: System, page: Page) -> None:
    page.goto(event.url("/", APP))
    last = event.get("/api/persons?search=dietrich").json()[0]
    expect(page.get_by_role("list", name="People").get_by_role("listitem")).to_have_count(50)
    page.keyboard.type("dietrich")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=name(last))).to_be_visible()


def test_no_letter_is_lost_however_the_search_falls_between_them(event: System, page: Page) -> None:
    page.goto(event.url("/", APP))
    field = page.get_by_label("Name or company")
    for delay in (150, 155):  # the search waits as long
        field.fill("")
        field.press_sequentially("abcdefghijklmnopqrst", delay=delay)
        expect(field).to_have_value("abcdefghijklmnopqrst")


def test_the_focus_goes_where_it_is_sent(event: System, page: Page) -> None:
    person_page(page, event)
    page.get_by_role("link", name="To the content").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#view")).to_be_focused()
    page.get_by_label("Near is who was within").fill("4")
    page.keyboard.press("Tab")
    expect(page).to_have_url(re.compile("distance=4"))
    quiet(page)
    expect(page.get_by_label("and so many seconds.")).to_be_focused()
    page.go_back()
    expect(page.get_by_label("Near is who was within")).to_have_value("5")
    quiet(page)
    page.locator(".list li button").nth(2).focus()
    expect(page.locator(".list li").nth(2)).to_have_class("marked")
    expect(page.locator(".bars i.marked")).to_have_count(1)


# --- the crowd -----------------------------------------------------------------------------------


def test_a_popup_closes_without_a_step_and_no_canvas_is_left_behind(event: System, page: Page) -> None:
    page.goto(event.url(f"/crowd?{DAY}&at=2026-05-11T12:00:00Z", APP))
    expect(page.locator(".near")).to_contain_text("people")
    page.mouse.click(*page.evaluate(SPOT, False))
    expect(page.locator(".leaflet-popup-content a")).to_be_visible()
    page.get_by_role("button", name="Close popup").click()
    expect(page.locator(".leaflet-popup")).to_have_count(0)
    assert "#" not in page.url
    for _ in range(2):
        page.get_by_label("Over the time").check()
        expect(page.locator(".leaflet-heatmap-layer")).to_be_attached()
        page.get_by_label("At a moment").check()
        expect(page.locator(".near")).to_contain_text("people")
    expect(page.locator(".map canvas")).to_have_count(1)


def test_the_crowd_waits_for_its_places(event: System, page: Page) -> None:
    page.goto(event.url(f"/crowd?{DAY}&at=2026-05-11T12:00:00Z", APP))
    expect(page.locator(".near")).to_contain_text("people")
    quiet(page)
    with held(page, "/api/locations"):
        page.get_by_role("button", name="Play").click()
        expect(page.locator(".near")).to_contain_text("loading")
        stood = moment(page)
        page.evaluate(FRAMES)
        assert moment(page) == stood
    until(lambda: moment(page) > stood)


# --- an API that is slow, or breaks off ----------------------------------------------------------


def test_what_is_still_shown_of_another_day_says_so(event: System, page: Page) -> None:
    page.goto(event.url(f"/people/{FINN}?start=2026-05-01T22:00:00Z&end=2026-05-02T22:00:00Z", APP))
    expect(page.locator(".list .note")).to_contain_text("2 May")
    with held(page, "/encounters|/api/locations.*limit=10000"):
        page.get_by_role("button", name="11 May 2026").click()
        expect(page.locator(".list")).to_have_attribute("aria-busy", "true")
        expect(page.locator(".list")).to_have_css("opacity", "0.45")
        expect(page.locator(".list .note")).to_contain_text("2 May")
    expect(page.locator(".list h2")).to_contain_text(f"{len(met(event))} encounters")


def test_places_that_cannot_be_had_are_not_asked_for_with_every_frame(event: System, page: Page) -> None:
    page.forgiven += ["ERR_FAILED"]  # type: ignore[attr-defined]
    longest = max(met(event), key=lambda each: each["duration_s"])
    asked: list[str] = []

    def away(route: Route) -> None:
        asked.append(route.request.url)
        route.abort()

    page.route(re.compile("/connection"), away)
    person_page(page, event, f"&at={longest['start']}")
    page.get_by_label("a second is").select_option("1 min")
    plays(page)
    page.evaluate(FRAMES)
    page.evaluate(FRAMES)
    assert 0 < len(asked) < 10
    page.unroute(re.compile("/connection"))
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".map path.other").first).to_be_attached()  # by itself


def test_an_answer_that_breaks_off_is_said_to(event: System, page: Page) -> None:
    def broken(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.body()[:-1])

    person_page(page, event)
    page.route(re.compile("/encounters"), broken)
    page.get_by_role("button", name="12 May 2026").click()
    expect(page.get_by_role("alert")).to_contain_text("broke off")
    page.unroute(re.compile("/encounters"))
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".list h2")).to_contain_text("encounters")


# --- odd people ----------------------------------------------------------------------------------

ODD = [
    ("<img src=x onerror=alert(1)>", "\"'><svg/onload=alert(1)>", "=cmd|' /C calc'!A0"),
    ("\u202eesrever", "\u05e9\u05dc\u05d5\u05dd", "\u05d7\u05d1\u05e8\u05d4 123"),
    ("W" * 255, "m" * 255, "i" * 255),
]


def test_odd_names_over_the_180th_meridian(event: System, page: Page) -> None:
    """They neither run, nor turn or widen the page, and who walks over the meridian is not torn apart."""
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    keys = ("first_name", "last_name", "company_name")
    odd = [
        event.ask("POST", "/api/persons", json=dict(zip(keys, one, strict=True))).json()["id"] for one in ODD
    ]
    pings: list[dict[str, Any]] = [
        {
            "person_id": person,
            "latitude": -16.8 + 0.00001 * number,
            "longitude": (359.9995 + 0.0001 * minute / 6) % 360 - 180,
            "creation_time": f"2026-06-01T10:{minute:02}:00Z",
        }
        for number, person in enumerate(odd)
        for minute in range(60)
    ]
    assert event.ask("POST", "/api/locations", json=pings).status_code == 202
    event.settle()
    for size in (390, 1280):
        page.set_viewport_size({"width": size, "height": 900})
        for path in (
            f"/people/{odd[0]}?start=2026-06-01&end=2026-06-02&within=0&at=2026-06-01T10:30:00Z",
            f"/people/{odd[2]}?start=2026-06-01&end=2026-06-02&within=0",
            "/?search=mmm",
        ):
            page.goto(event.url(path, APP))
            quiet(page)
            assert page.evaluate("document.documentElement.scrollWidth") == size, path
        page.goto(event.url(f"/people/{odd[0]}?start=2026-06-01&end=2026-06-02&within=0", APP))
        quiet(page)
        expect(page.locator(".leaflet-control-attribution")).to_have_text(re.compile(r"grid \d+ m$"))
    expect(page.locator(".near a").first).to_have_css("unicode-bidi", "plaintext")
    page.locator(".list li").first.hover()
    expect(page.locator(".leaflet-tooltip:not(.name)")).to_contain_text("esrever")
    with page.expect_download() as download:
        page.get_by_role("button", name="GeoJSON").click()
    way = json.loads(Path(download.value.path()).read_text())["features"][0]
    assert all(-180 <= longitude <= 180 for longitude, _ in way["geometry"]["coordinates"])
    page.goto(event.url("/crowd?start=2026-06-01&end=2026-06-02&at=2026-06-01T10:29:30Z", APP))
    expect(page.locator(".near")).to_contain_text("3 people")
    expect(page.locator(".leaflet-control-attribution")).to_have_text(re.compile(r"grid \d+ m$"))
    for person in odd:
        event.ask("DELETE", f"/api/persons/{person}")


# --- the status ----------------------------------------------------------------------------------


def test_the_newest_of_many_pings_is_searched_for_once(event: System, page: Page) -> None:
    ends = [f"2026-05-13T08:00:00.{tenth}Z" for tenth in range(1, 5)]
    place = {"person_id": FINN, "latitude": 52.5, "longitude": 13.4}
    sent = event.ask("POST", "/api/locations", json=[place | {"creation_time": each} for each in ends])
    assert sent.status_code == 202
    event.settle()
    page.goto(event.url("/status", APP))
    expect(page.locator("dl > div", has_text="newest ping")).to_contain_text("13 May 2026, 10:00:00")
    quiet(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with page.expect_request(re.compile("/health/ready")):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # looked at again
    quiet(page)
    assert len([each for each in asked if "/api/locations" in each]) == 1
    event.sql("DELETE FROM locations_location WHERE creation_time > '2026-05-13'")
