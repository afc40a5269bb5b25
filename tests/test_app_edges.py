"""The web app under hasty hands, odd people and their tracks, and an API that comes and goes."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.serving import until
from tests.system import APP, STAGES, System
from tests.test_app import DAY, FINN, SPOT, moment, name, person_page
from tests.test_app_states import quiet

pytestmark = pytest.mark.parametrize("stage", [STAGES[-1]], indirect=True)  # the page is the same at all


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
