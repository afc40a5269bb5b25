"""The web app as people use it, in a real browser on a real system, at the first stage and at the last.

What the pages show is compared with what the API answers, whose own truth other tests hold.
"""

import csv
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.gunicorn_server import until
from tests.system import APP, STAGES, System

pytestmark = pytest.mark.parametrize("stage", [STAGES[0], STAGES[-1]], indirect=True)

FINN = 1_000_001
# The event's first day as it is in Berlin.
DAY = "start=2026-05-10T22:00:00.000Z&end=2026-05-11T22:00:00.000Z"
ASKED = "start_date=2026-05-10T22:00:00Z&end_date=2026-05-11T22:00:00Z&min_duration=60"


def person_page(page: Page, system: System, more: str = "") -> None:
    page.goto(system.url(f"/people/{FINN}?{DAY}{more}", APP))
    expect(page.locator(".list h2")).to_contain_text("encounter")


def met(system: System, more: str = "") -> list[dict[str, Any]]:
    answer = system.get(f"/api/persons/{FINN}/encounters?{ASKED}{more}")
    assert answer.ok, answer.text
    return list(answer.json())


def name(person: dict[str, Any]) -> str:
    return f"{person['first_name']} {person['last_name']}"


def moment(page: Page) -> datetime:
    """Where the scrubber is."""
    value = page.get_by_role("slider", name="Moment").input_value()
    return datetime.fromtimestamp(float(value) / 1000, UTC)


# --- people --------------------------------------------------------------------------------------


def test_somebody_is_found_while_typing_and_opened_by_keyboard(event: System, page: Page) -> None:
    page.goto(event.url("/", APP))
    everybody = page.get_by_role("list", name="People").get_by_role("listitem")
    expect(everybody).to_have_count(50)
    finn = event.get(f"/api/persons/{FINN}").json()

    page.keyboard.type(finn["last_name"][:4].lower())  # the search has the focus

    found = event.get(f"/api/persons?search={finn['last_name'][:4].lower()}").json()
    assert 0 < len(found) < 50
    expect(everybody).to_have_count(len(found))
    assert [line.split("\n")[0] for line in everybody.all_inner_texts()] == [name(one) for one in found]
    expect(page).to_have_url(re.compile(f"search={finn['last_name'][:4].lower()}$"))
    for _ in range([one["id"] for one in found].index(FINN) + 1):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=name(finn))).to_be_visible()
    page.go_back()
    expect(everybody).to_have_count(len(found))


def test_pages_of_people_go_forth_and_back(event: System, page: Page) -> None:
    page.goto(event.url("/", APP))
    people = page.get_by_role("list", name="People").get_by_role("listitem")
    page.get_by_role("link", name="Next page").click()
    expect(people).to_have_count(10)
    expect(page.get_by_role("link", name="Next page")).to_have_count(0)
    page.get_by_role("button", name="Page before").click()
    expect(people).to_have_count(50)


def test_a_search_among_a_hundred_thousand_people(event: System, page: Page) -> None:
    event.sql(
        "INSERT INTO persons_person (id, first_name, last_name, company_name) SELECT 5000000 + n, "
        "'Guest' || n, 'Number' || n % 977, 'Company ' || n % 1013 FROM generate_series(1, 100000) n"
    )
    page.goto(event.url("/", APP))
    page.get_by_label("Name or company").type("guest77777")
    people = page.get_by_role("list", name="People").get_by_role("listitem")
    expect(people).to_have_count(1)
    expect(people).to_contain_text("Guest77777 Number594")
    event.sql("DELETE FROM persons_person WHERE id > 5000000")


# --- one person ----------------------------------------------------------------------------------


def test_a_person_opens_on_their_last_day_and_days_with_pings_are_marked(event: System, page: Page) -> None:
    page.goto(event.url(f"/people/{FINN}", APP))
    expect(page.get_by_role("button", name=re.compile("12 May 2026, has pings"))).to_have_attribute(
        "aria-pressed", "true"
    )
    expect(page.locator(".calendar .marked")).to_have_count(2)

    page.get_by_role("button", name=re.compile("11 May 2026, has pings")).click()
    expect(page).to_have_url(re.compile(re.escape("start=2026-05-10T22%3A00%3A00.000Z")))
    expect(page.locator(".list h2")).to_contain_text(f"{len(met(event))} encounters")

    page.get_by_label("several days").check()
    page.get_by_role("button", name="11 May 2026").click()
    page.get_by_role("button", name="12 May 2026").click()
    both = event.get(
        f"/api/persons/{FINN}/encounters?start_date=2026-05-10T22:00:00Z&end_date=2026-05-12T22:00:00Z"
        "&min_duration=60"
    ).json()
    expect(page.locator(".list h2")).to_contain_text(f"{len(both)} encounters")


def test_the_calendar_goes_by_keyboard(event: System, page: Page) -> None:
    person_page(page, event)
    page.get_by_role("button", name="11 May 2026").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(":focus")).to_have_attribute("aria-label", re.compile("18 May 2026"))
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    expect(page.locator(":focus")).to_have_attribute("aria-label", re.compile("1 June 2026"))
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(re.escape("start=2026-05-11T22%3A00%3A00.000Z")))


def test_the_list_says_who_when_how_long_and_how_close(event: System, page: Page) -> None:
    person_page(page, event)
    expected = met(event)
    assert len(expected) > 20
    rows = page.locator(".list li")
    first = expected[0]
    start = datetime.fromisoformat(first["start"]) + timedelta(hours=2)
    for text in (name(first["person"]), first["person"]["company_name"], f"{start:%H:%M}"):
        expect(rows.first).to_contain_text(text)
    expect(rows.first).to_contain_text(f"nearest {first['min_distance_m']:g} m")
    minutes, seconds = divmod(round(first["duration_s"]), 60)
    expect(rows.first).to_contain_text(re.compile(f"{minutes} mins?( {seconds} secs?)?"))
    assert rows.count() == min(100, len(expected))
    while (more := page.get_by_role("button", name="Show more of them")).count():
        more.click()
    expect(rows).to_have_count(len(expected))
    assert [row.split("\n")[2] for row in rows.all_inner_texts()] == [
        f"{name(each['person'])} {each['person']['company_name']}" for each in expected
    ]


def test_the_terms_are_words_and_change_the_answer(event: System, page: Page) -> None:
    person_page(page, event)
    page.get_by_label("Near is who was within so many metres").fill("2")
    page.keyboard.press("Tab")
    expect(page.locator(".list h2")).to_contain_text(f"{len(met(event, '&distance=2'))} encounters")
    page.get_by_label("one shorter than so many seconds is left out.").fill("240")
    page.keyboard.press("Tab")
    long = event.get(
        f"/api/persons/{FINN}/encounters?{ASKED.replace('min_duration=60', 'min_duration=240')}&distance=2"
    ).json()
    assert 0 < len(long) < len(met(event, "&distance=2"))
    expect(page.locator(".list h2")).to_contain_text(re.compile(f"{len(long)} encounters?"))
    page.get_by_label("Near is who was within so many metres").fill("0")
    page.keyboard.press("Tab")
    expect(page).to_have_url(re.compile("distance=2&"))  # not taken


def test_list_map_and_bars_mark_each_other(event: System, page: Page) -> None:
    person_page(page, event, "&min_duration=1500")
    rows, bars = page.locator(".list li"), page.locator(".bars i")
    expect(bars).to_have_count(rows.count())
    who = rows.nth(1).locator("a").inner_text()
    rows.nth(1).hover()
    expect(page.locator(".leaflet-tooltip:not(.name)")).to_contain_text(who)
    expect(bars.nth(1)).to_have_class("marked")
    bars.nth(2).hover()
    expect(rows.nth(2)).to_have_class("marked")
    # An encounter that no other covers on the map is found by the pointer there.
    box = page.locator(".map").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 3, box["y"] + 3)
    expect(page.locator(".list li.marked")).to_have_count(0)
    x, y = page.evaluate(SPOT, True)
    page.mouse.move(x, y - 20)
    page.mouse.move(x, y, steps=10)
    expect(page.locator(".list li.marked")).to_have_count(1)
    marked = page.locator(".list li.marked a").inner_text()
    expect(page.locator(".leaflet-tooltip:not(.name)")).to_contain_text(marked)


# Where the map's canvas has an encounter, or somebody, in the page's pixels.
SPOT = """(reddish) => {
  const canvas = document.querySelector(".map canvas"), box = canvas.getBoundingClientRect();
  const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  for (let n = 0; n < data.length; n += 4)
    if (data[n + 3] > 120 && (reddish ? data[n] > 150 && data[n] > 1.5 * data[n + 1] : data[n] < 60)) {
      const at = n / 4, scale = width / box.width;
      return [box.x + (at % width) / scale, box.y + Math.floor(at / width) / scale + 2];
    }
}"""


def test_the_scrubber_plays_and_tells_who_was_near_at_each_moment(event: System, page: Page) -> None:
    person_page(page, event)
    expected = met(event)
    longest = max(expected, key=lambda each: each["duration_s"])
    middle = datetime.fromisoformat(longest["start"]) + timedelta(seconds=longest["duration_s"] / 2)
    page.goto(event.url(f"/people/{FINN}?{DAY}&at={middle:%Y-%m-%dT%H:%M:%SZ}", APP))
    page.get_by_label("follow closely").check()
    near = [
        name(each["person"])
        for each in expected
        if datetime.fromisoformat(each["start"])
        <= middle.replace(microsecond=0)
        <= max(
            datetime.fromisoformat(each["end"]),
            datetime.fromisoformat(each["start"]) + timedelta(seconds=60),
        )
    ]
    assert 0 < len(near) <= 12
    expect(page.locator(".near")).to_have_text(f"{len(near)} near: {', '.join(near)}")
    expect(page.locator(".map .name")).to_have_count(len(near))
    assert sorted(page.locator(".map .name").all_inner_texts()) == sorted(near)

    before = moment(page)
    page.get_by_role("button", name="Play").click()
    until(lambda: moment(page) > before + timedelta(minutes=3))
    page.get_by_role("button", name="Pause").click()
    expect(page).not_to_have_url(re.compile(f"{middle:%H}%3A{middle:%M}%3A{middle:%S}"))
    page.get_by_role("slider", name="Moment").focus()
    at = moment(page)
    page.keyboard.press("ArrowRight")
    until(lambda: moment(page) > at)

    page.locator(".list li button").nth(3).click()
    start = datetime.fromisoformat(expected[3]["start"])
    until(lambda: timedelta() <= moment(page) - start < timedelta(seconds=1))
    expect(page.locator(".near")).to_contain_text(name(expected[3]["person"]))


def test_another_person_is_one_click_away_on_the_same_day(event: System, page: Page) -> None:
    person_page(page, event)
    link = page.locator(".list li a").first
    who = link.inner_text()
    link.click()
    expect(page.get_by_role("heading", name=who)).to_be_visible()
    finn = name(event.get(f"/api/persons/{FINN}").json())
    expect(page.locator(".list li a", has_text=finn).first).to_be_visible()


def test_what_is_shown_can_be_kept_as_table_and_map(event: System, page: Page, tmp_path: Path) -> None:
    person_page(page, event)
    expected = met(event)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    assert download.value.suggested_filename == f"connect-{FINN}-2026-05-11.csv"
    download.value.save_as(tmp_path / "met.csv")
    with (tmp_path / "met.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["person_id"]), row["start"], float(row["duration_s"])) for row in rows] == [
        (each["person"]["id"], each["start"], each["duration_s"]) for each in expected
    ]
    with page.expect_download() as download:
        page.get_by_role("button", name="GeoJSON").click()
    download.value.save_as(tmp_path / "met.geojson")
    way, *points = json.loads((tmp_path / "met.geojson").read_text())["features"]
    track = event.get(
        f"/api/locations?person_id={FINN}&start=2026-05-10T22:00:00Z&end=2026-05-11T22:00:00Z"
    ).json()
    assert way["geometry"] == {
        "type": "LineString",
        "coordinates": [[float(each["longitude"]), float(each["latitude"])] for each in track],
    }
    assert [each["geometry"]["coordinates"] for each in points] == [
        [float(each["longitude"]), float(each["latitude"])] for each in expected
    ]


# --- the crowd -----------------------------------------------------------------------------------


def test_the_crowd_at_a_moment_plays_and_says_who_somebody_is(event: System, page: Page) -> None:
    page.goto(event.url(f"/crowd?{DAY}&at=2026-05-11T12:00:00Z", APP))
    seen = event.get("/api/locations?start=2026-05-11T11:58:00Z&end=2026-05-11T12:00:00.000001Z").json()
    count = len({each["person_id"] for each in seen})
    assert 40 < count <= 60
    expect(page.locator(".near")).to_contain_text(f"{count} people")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    with Path(download.value.path()).open(newline="") as file:
        assert {int(row["person_id"]) for row in csv.DictReader(file)} == {each["person_id"] for each in seen}

    page.mouse.click(*page.evaluate(SPOT, False))
    popup = page.locator(".leaflet-popup-content a")
    who = popup.inner_text()
    before = moment(page)
    page.get_by_role("button", name="Play").click()
    until(lambda: moment(page) > before + timedelta(minutes=6))  # further than what was loaded at first
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".near")).to_contain_text("people")
    popup.click()
    expect(page.get_by_role("heading", name=who)).to_be_visible()


def test_the_crowd_over_a_day_is_a_heat_map_of_every_ping(event: System, page: Page) -> None:
    page.goto(event.url(f"/crowd?{DAY}", APP))
    page.get_by_label("Over the time").check()
    pings = event.get("/api/locations?start=2026-05-10T22:00:00Z&end=2026-05-11T22:00:00Z").json()
    expect(page.locator(".stage [role=status]")).to_contain_text(f"{len(pings):,} pings")
    warm = """() => {
      const canvas = document.querySelector(".leaflet-heatmap-layer");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let red = 0;
      for (let n = 0; n < data.length; n += 4) red += data[n + 3] > 100 && data[n] > 180 && data[n + 2] < 90;
      return red;
    }"""
    until(lambda: page.evaluate(warm) > 100)
    with page.expect_download() as download:
        page.get_by_role("button", name="GeoJSON").click()
    assert len(json.loads(Path(download.value.path()).read_text())["features"]) == len(pings)


# --- the status ----------------------------------------------------------------------------------


def test_the_status_says_what_is_ready_and_how_old_the_newest_ping_is(event: System, page: Page) -> None:
    page.goto(event.url("/status", APP))
    expect(page.locator(".verdict")).to_have_text("Connect is ready.")
    for need, said in event.get("/health/ready").json()["needs"].items():
        expect(page.locator("dl > div", has_text=need)).to_contain_text(said)
    newest = max(
        each["creation_time"] for each in event.get("/api/locations?start=2026-05-12&end=2026-05-12").json()
    )
    local = datetime.fromisoformat(newest) + timedelta(hours=2)
    expect(page.locator("dl > div", has_text="newest ping")).to_contain_text(f"12 May 2026, {local:%H:%M:%S}")

    now = event.ask("POST", "/api/locations", json={"person_id": FINN, "latitude": 52.5, "longitude": 13.4})
    until(lambda: event.get(now.headers["Location"]).ok)
    expect(page.locator("dl > div", has_text="newest ping")).to_contain_text(re.compile("second|now"))
    event.sql("DELETE FROM locations_location WHERE creation_time > '2026-06-01'")
