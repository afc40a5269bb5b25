"""Tests of the web app in a real browser on a real system, at the first and the last stage.

They compare the pages with the answers of the API. Other tests cover the API itself.
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
# The first day of the event in Berlin time.
DAY = "start=2026-05-10T22:00:00.000Z&end=2026-05-11T22:00:00.000Z"
ENCOUNTER_QUERY = "start_date=2026-05-10T22:00:00Z&end_date=2026-05-11T22:00:00Z&min_duration=60"


def open_person(page: Page, system: System, more: str = "") -> None:
    page.goto(system.url(f"/people/{FINN}?{DAY}{more}", APP))
    expect(page.locator(".list h2")).to_contain_text("encounter")


def open_criteria(page: Page) -> None:
    """Opens the form, whose bounds the app then asks the API for."""
    page.get_by_text("What counts as an encounter").click()
    expect(page.get_by_label("Maximum distance in metres")).to_be_visible()


def get_encounters(system: System, more: str = "") -> list[dict[str, Any]]:
    answer = system.get(f"/api/persons/{FINN}/encounters?{ENCOUNTER_QUERY}{more}")
    assert answer.ok, answer.text
    return list(answer.json())


def full_name(person: dict[str, Any]) -> str:
    return f"{person['first_name']} {person['last_name']}"


def slider_time(page: Page) -> datetime:
    """The time of the playback slider."""
    value = page.get_by_role("slider", name="Time").input_value()
    return datetime.fromtimestamp(float(value) / 1000, UTC)


# --- the first view -------------------------------------------------------------------------------


def test_the_first_view_is_the_list_of_people_where_there_is_no_overview(
    event: System, page: Page, stage: str
) -> None:
    views = page.get_by_role("navigation", name="Views").get_by_role("link")
    if stage == STAGES[-1]:
        page.goto(event.url("/", APP))
        expect(page.locator(".tiles li")).to_have_count(5)
        expect(views).to_have_text(["Overview", "People", "Crowd", "Status"])
        return
    page.goto(event.url("/", APP))
    expect(page.locator(".persons li")).to_have_count(50)
    expect(page).to_have_url(event.url("/people", APP))
    expect(views).to_have_text(["People", "Crowd", "Status"])


# --- people --------------------------------------------------------------------------------------


def test_a_person_is_found_while_typing_and_opened_by_keyboard(event: System, page: Page) -> None:
    page.goto(event.url("/people", APP))
    people = page.get_by_role("list", name="People").get_by_role("listitem")
    expect(people).to_have_count(50)
    finn = event.get(f"/api/persons/{FINN}").json()

    page.keyboard.type(finn["last_name"][:4].lower())  # the search has the focus

    found = event.get(f"/api/persons?search={finn['last_name'][:4].lower()}").json()
    assert 0 < len(found) < 50
    expect(people).to_have_count(len(found))
    assert [line.split("\n")[0] for line in people.all_inner_texts()] == [full_name(one) for one in found]
    expect(page).to_have_url(re.compile(f"search={finn['last_name'][:4].lower()}$"))
    for _ in range([one["id"] for one in found].index(FINN) + 1):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=full_name(finn))).to_be_visible()
    page.go_back()
    expect(people).to_have_count(len(found))


def test_the_list_of_people_has_next_and_previous_pages(event: System, page: Page) -> None:
    page.goto(event.url("/people", APP))
    people = page.get_by_role("list", name="People").get_by_role("listitem")
    page.get_by_role("link", name="Next page").click()
    expect(people).to_have_count(10)
    expect(page.get_by_role("link", name="Next page")).to_have_count(0)
    page.get_by_role("button", name="Previous page").click()
    expect(people).to_have_count(50)


def test_a_search_among_a_hundred_thousand_people(event: System, page: Page) -> None:
    event.sql(
        "INSERT INTO persons_person (id, first_name, last_name, company_name) SELECT 5000000 + n, "
        "'Guest' || n, 'Number' || n % 977, 'Company ' || n % 1013 FROM generate_series(1, 100000) n"
    )
    page.goto(event.url("/people", APP))
    page.get_by_label("Name or company").type("guest77777")
    people = page.get_by_role("list", name="People").get_by_role("listitem")
    expect(people).to_have_count(1)
    expect(people).to_contain_text("Guest77777 Number594")
    event.sql("DELETE FROM persons_person WHERE id > 5000000")


# --- one person ----------------------------------------------------------------------------------


def test_a_person_opens_on_their_last_day_and_the_calendar_marks_days_with_pings(
    event: System, page: Page
) -> None:
    page.goto(event.url(f"/people/{FINN}", APP))
    expect(page.get_by_role("button", name=re.compile("12 May 2026, has pings"))).to_have_attribute(
        "aria-pressed", "true"
    )
    expect(page.locator(".calendar .marked")).to_have_count(2)

    page.get_by_role("button", name=re.compile("11 May 2026, has pings")).click()
    expect(page).to_have_url(re.compile(re.escape("start=2026-05-10T22%3A00%3A00.000Z")))
    expect(page.locator(".list h2")).to_contain_text(f"{len(get_encounters(event))} encounters")

    page.get_by_label("several days").check()
    page.get_by_role("button", name="11 May 2026").click()
    page.get_by_role("button", name="12 May 2026").click()
    both = event.get(
        f"/api/persons/{FINN}/encounters?start_date=2026-05-10T22:00:00Z&end_date=2026-05-12T22:00:00Z"
        "&min_duration=60"
    ).json()
    expect(page.locator(".list h2")).to_contain_text(f"{len(both)} encounters")


def test_the_calendar_works_by_keyboard(event: System, page: Page) -> None:
    open_person(page, event)
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


def test_the_list_shows_person_time_duration_and_distance_of_each_encounter(
    event: System, page: Page
) -> None:
    open_person(page, event)
    expected = get_encounters(event)
    assert len(expected) > 20
    rows = page.locator(".list li")
    first = expected[0]
    start = datetime.fromisoformat(first["start"]) + timedelta(hours=2)
    for text in (full_name(first["person"]), first["person"]["company_name"], f"{start:%H:%M}"):
        expect(rows.first).to_contain_text(text)
    expect(rows.first).to_contain_text(f"nearest {first['min_distance_m']:g} m")
    minutes, seconds = divmod(round(first["duration_s"]), 60)
    expect(rows.first).to_contain_text(re.compile(f"{minutes} mins?( {seconds} secs?)?"))
    assert rows.count() == min(100, len(expected))
    while (more := page.get_by_role("button", name="Show more")).count():
        more.click()
    expect(rows).to_have_count(len(expected))
    assert [row.split("\n")[2] for row in rows.all_inner_texts()] == [
        f"{full_name(each['person'])} {each['person']['company_name']}" for each in expected
    ]


def test_the_criteria_change_the_list_of_encounters(event: System, page: Page) -> None:
    open_person(page, event)
    open_criteria(page)
    page.get_by_label("Maximum distance in metres").fill("2")
    page.keyboard.press("Tab")
    expect(page.locator(".list h2")).to_contain_text(
        f"{len(get_encounters(event, '&distance=2'))} encounters"
    )
    page.get_by_label("Minimum duration in seconds").fill("240")
    page.keyboard.press("Tab")
    longer = event.get(
        f"/api/persons/{FINN}/encounters?{ENCOUNTER_QUERY}&distance=2".replace("duration=60", "duration=240")
    ).json()
    assert 0 < len(longer) < len(get_encounters(event, "&distance=2"))
    expect(page.locator(".list h2")).to_contain_text(re.compile(f"{len(longer)} encounters?"))
    page.get_by_label("Maximum distance in metres").fill("0")
    page.keyboard.press("Tab")
    expect(page).to_have_url(re.compile("distance=2&"))  # an invalid value is not applied


def test_the_criteria_have_the_defaults_and_bounds_of_the_api(event: System, page: Page) -> None:
    open_person(page, event)
    open_criteria(page)
    described = event.ask("OPTIONS", f"/api/persons/{FINN}/encounters").json()["parameters"]
    for name, bounds in described.items():
        field = page.locator(f".criteria input[name={name}]")
        assert float(field.get_attribute("max") or 0) == bounds["maximum"], name
        if not bounds["exclusive_minimum"]:
            assert float(field.get_attribute("min") or -1) == bounds["minimum"], name
        if name != "min_duration":  # the app leaves out passers-by
            expect(field).to_have_value(f"{bounds['default'] or 0:g}".removeprefix("0"))


def test_the_list_the_map_and_the_bars_mark_the_same_encounter(event: System, page: Page) -> None:
    open_person(page, event, "&min_duration=1500")
    rows, bars = page.locator(".list li"), page.locator(".bars i")
    expect(bars).to_have_count(rows.count())
    person_name = rows.nth(1).locator("a").inner_text()
    rows.nth(1).hover()
    expect(page.locator(".leaflet-tooltip:not(.name)")).to_contain_text(person_name)
    expect(bars.nth(1)).to_have_class("marked")
    bars.nth(2).hover()
    expect(rows.nth(2)).to_have_class("marked")
    # The pointer finds an encounter on the map where no other covers it.
    box = page.locator(".map").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 3, box["y"] + 3)
    expect(page.locator(".list li.marked")).to_have_count(0)
    x, y = page.evaluate(FIND_POINT, True)
    page.mouse.move(x, y - 20)
    page.mouse.move(x, y, steps=10)
    expect(page.locator(".list li.marked")).to_have_count(1)
    marked = page.locator(".list li.marked a").inner_text()
    expect(page.locator(".leaflet-tooltip:not(.name)")).to_contain_text(marked)


# Page coordinates of an encounter (reddish) or a person on the canvas of the map.
FIND_POINT = """(reddish) => {
  const canvas = document.querySelector(".map canvas"), box = canvas.getBoundingClientRect();
  const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  for (let n = 0; n < data.length; n += 4)
    if (data[n + 3] > 120 && (reddish ? data[n] > 150 && data[n] > 1.5 * data[n + 1] : data[n] < 60)) {
      const at = n / 4, scale = width / box.width;
      return [box.x + (at % width) / scale, box.y + Math.floor(at / width) / scale + 2];
    }
}"""


def test_playback_shows_who_was_near_at_each_time(event: System, page: Page) -> None:
    open_person(page, event)
    expected = get_encounters(event)
    longest = max(expected, key=lambda each: each["duration_s"])
    middle = datetime.fromisoformat(longest["start"]) + timedelta(seconds=longest["duration_s"] / 2)
    page.goto(event.url(f"/people/{FINN}?{DAY}&at={middle:%Y-%m-%dT%H:%M:%SZ}", APP))
    page.get_by_label("follow closely").check()
    near = [
        full_name(each["person"])
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

    before = slider_time(page)
    page.get_by_role("button", name="Play").click()
    until(lambda: slider_time(page) > before + timedelta(minutes=3))
    page.get_by_role("button", name="Pause").click()
    expect(page).not_to_have_url(re.compile(f"{middle:%H}%3A{middle:%M}%3A{middle:%S}"))
    page.get_by_role("slider", name="Time").focus()
    at = slider_time(page)
    page.keyboard.press("ArrowRight")
    until(lambda: slider_time(page) > at)

    page.locator(".list li button").nth(3).click()
    start = datetime.fromisoformat(expected[3]["start"])
    until(lambda: timedelta() <= slider_time(page) - start < timedelta(seconds=1))
    expect(page.locator(".near")).to_contain_text(full_name(expected[3]["person"]))


def test_a_name_in_the_list_links_to_the_same_day_of_that_person(event: System, page: Page) -> None:
    open_person(page, event)
    link = page.locator(".list li a").first
    person_name = link.inner_text()
    link.click()
    expect(page.get_by_role("heading", name=person_name)).to_be_visible()
    finn = full_name(event.get(f"/api/persons/{FINN}").json())
    expect(page.locator(".list li a", has_text=finn).first).to_be_visible()


def test_encounters_and_path_can_be_downloaded_as_csv_and_geojson(
    event: System, page: Page, tmp_path: Path
) -> None:
    open_person(page, event)
    expected = get_encounters(event)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    assert download.value.suggested_filename == f"connect-{FINN}-2026-05-11.csv"
    download.value.save_as(tmp_path / "encounters.csv")
    with (tmp_path / "encounters.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["person_id"]), row["start"], float(row["duration_s"])) for row in rows] == [
        (each["person"]["id"], each["start"], each["duration_s"]) for each in expected
    ]
    with page.expect_download() as download:
        page.get_by_role("button", name="GeoJSON").click()
    download.value.save_as(tmp_path / "encounters.geojson")
    path, *points = json.loads((tmp_path / "encounters.geojson").read_text())["features"]
    track = event.get(
        f"/api/locations?person_id={FINN}&start=2026-05-10T22:00:00Z&end=2026-05-11T22:00:00Z"
    ).json()
    assert path["geometry"] == {
        "type": "LineString",
        "coordinates": [[float(each["longitude"]), float(each["latitude"])] for each in track],
    }
    assert [each["geometry"]["coordinates"] for each in points] == [
        [float(each["longitude"]), float(each["latitude"])] for each in expected
    ]


# --- the crowd -----------------------------------------------------------------------------------


def test_the_snapshot_of_the_crowd_plays_and_a_point_names_its_person(event: System, page: Page) -> None:
    page.goto(event.url(f"/crowd?{DAY}&at=2026-05-11T12:00:00Z", APP))
    seen = event.get("/api/locations?start=2026-05-11T11:58:00Z&end=2026-05-11T12:00:00.000001Z").json()
    count = len({each["person_id"] for each in seen})
    assert 40 < count <= 60
    expect(page.locator(".near")).to_contain_text(f"{count} people")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    with Path(download.value.path()).open(newline="") as file:
        assert {int(row["person_id"]) for row in csv.DictReader(file)} == {each["person_id"] for each in seen}

    page.mouse.click(*page.evaluate(FIND_POINT, False))
    popup = page.locator(".leaflet-popup-content a")
    person_name = popup.inner_text()
    before = slider_time(page)
    page.get_by_role("button", name="Play").click()
    until(lambda: slider_time(page) > before + timedelta(minutes=6))  # beyond the chunks loaded at first
    page.get_by_role("button", name="Pause").click()
    expect(page.locator(".near")).to_contain_text("people")
    popup.click()
    expect(page.get_by_role("heading", name=person_name)).to_be_visible()


def test_the_heat_map_of_a_day_shows_the_cells_of_the_api(event: System, page: Page) -> None:
    page.goto(event.url(f"/crowd?{DAY}", APP))
    page.get_by_label("Heat map").check()
    cells = event.get("/api/heat?start=2026-05-10T22:00:00Z&end=2026-05-11T22:00:00Z").json()
    total = sum(each["person_minutes"] for each in cells)
    expect(page.locator(".stage [role=status]")).to_contain_text(f"{total:,} person-minutes")
    count_hot_pixels = """() => {
      const canvas = document.querySelector(".leaflet-heatmap-layer");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let red = 0;
      for (let n = 0; n < data.length; n += 4) red += data[n + 3] > 100 && data[n] > 180 && data[n + 2] < 90;
      return red;
    }"""
    until(lambda: page.evaluate(count_hot_pixels) > 100)
    with page.expect_download() as download:
        page.get_by_role("button", name="GeoJSON").click()
    features = json.loads(Path(download.value.path()).read_text())["features"]
    assert [(each["geometry"]["coordinates"], each["properties"]) for each in features] == [
        (
            [float(each["longitude"]), float(each["latitude"])],
            {"person_minutes": each["person_minutes"], "people": each["people"]},
        )
        for each in cells
    ]


# --- the status ----------------------------------------------------------------------------------


def test_the_status_page_shows_each_need_and_the_newest_ping(event: System, page: Page) -> None:
    page.goto(event.url("/status", APP))
    expect(page.locator(".verdict")).to_have_text("Connect is ready.")
    for need, state in event.get("/health/ready").json()["needs"].items():
        expect(page.locator("dl > div", has_text=need)).to_contain_text(state)
    newest = max(
        each["creation_time"] for each in event.get("/api/locations?start=2026-05-12&end=2026-05-12").json()
    )
    local = datetime.fromisoformat(newest) + timedelta(hours=2)
    expect(page.locator("dl > div", has_text="newest ping")).to_contain_text(f"12 May 2026, {local:%H:%M:%S}")

    now = event.ask("POST", "/api/locations", json={"person_id": FINN, "latitude": 52.5, "longitude": 13.4})
    until(lambda: event.get(now.headers["Location"]).ok)
    expect(page.locator("dl > div", has_text="newest ping")).to_contain_text(re.compile("second|now"))
    event.sql("DELETE FROM locations_location WHERE creation_time > '2026-06-01'")
