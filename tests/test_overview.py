"""Tests of the overview in a real browser: its numbers are those of the database and of the API."""

import csv
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import PHONE, a_page, axe_violations
from tests.system import APP, STAGES, System
from tests.test_app import DAY, full_name
from tests.test_app_live import store_ping
from tests.test_app_states import wait_until_idle
from tests.test_journey import BOOTH, make_person

pytestmark = pytest.mark.parametrize("stage", [STAGES[-1]], indirect=True)

# The first day of the event in Berlin time.
RANGE = "'2026-05-10T22:00Z' AND '2026-05-11T22:00Z'"
RANGE_QUERY = "start_date=2026-05-10T22:00:00Z&end_date=2026-05-11T22:00:00Z"
MET = f"""start BETWEEN {RANGE} AND "end" - start >= interval '5 min'"""


@pytest.fixture(scope="module")
def met(event: System) -> System:
    """With the encounters of the event's two days."""
    event.run("manage.py", "find_encounters", "--from", "2026-05-11", "--to", "2026-05-12")
    return event


@pytest.fixture
def overview(met: System, page: Page) -> Page:
    page.goto(met.url(f"/?{DAY}", APP))
    wait_until_idle(page)
    return page


def tile(page: Page, label: str) -> Locator:
    return page.locator(".tiles a").filter(has_text=label)


def follow(page: Page, label: str) -> Locator:
    """Follows a tile; returns the rows of the list that it leads to."""
    tile(page, label).click()
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    wait_until_idle(page)
    return page.locator(".day-list tbody tr")


def one(system: System, question: str) -> Any:
    [[value]] = system.rows(question)
    return value


def duration(seconds: float) -> str:
    """As the page writes an hour and more."""
    hours, minutes = divmod(round(seconds) // 60, 60)
    return f"{hours} hr{'s' if hours > 1 else ''} {minutes} min{'s' if minutes > 1 else ''}"


# --- the numbers and their lists -----------------------------------------------------------------


def test_people_seen_leads_to_everybody_with_a_ping(met: System, overview: Page) -> None:
    seen = one(
        met, f"SELECT count(DISTINCT person_id) FROM locations_location WHERE creation_time BETWEEN {RANGE}"
    )
    assert seen == 60
    expect(tile(overview, "People seen").locator("strong")).to_have_text(str(seen))
    rows = follow(overview, "People seen")
    expect(rows).to_have_count(seen)
    expect(overview).to_have_title("People seen · Connect")
    with overview.expect_download() as download:
        overview.get_by_role("button", name=f"CSV of these {seen} rows").click()
    table = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
    assert sum(float(row["Time together"]) for row in table) / 2 == pytest.approx(
        one(
            met, f"""SELECT extract(epoch FROM sum("end" - start)) FROM encounters_encounter WHERE {MET}"""
        ).__float__()
    )


def test_time_together_leads_to_the_encounters(met: System, overview: Page) -> None:
    [[encounters, seconds]] = met.rows(
        f"""SELECT count(*), extract(epoch FROM sum("end" - start))::float8 FROM encounters_encounter
             WHERE {MET}"""
    )
    assert encounters > 200
    expect(tile(overview, "Time together")).to_contain_text(f"{seconds / 3600:.0f} hrs")
    expect(tile(overview, "Time together")).to_contain_text(f"in {encounters:,} encounters")
    rows = follow(overview, "Time together")
    for count in range(100, encounters, 100):
        expect(rows).to_have_count(count)
        overview.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(encounters)
    expect(overview.get_by_role("button", name="Show more")).to_have_count(0)


def test_pairs_that_met_lead_to_the_pairs(met: System, overview: Page) -> None:
    pairs = met.rows(
        f"""SELECT person_a_id, person_b_id, extract(epoch FROM sum("end" - start))::float8 AS seconds
              FROM encounters_encounter WHERE {MET} GROUP BY 1, 2 ORDER BY seconds DESC, 1, 2"""
    )
    expect(tile(overview, "Pairs that met").locator("strong")).to_have_text(str(len(pairs)))
    expect(tile(overview, "Pairs that met")).to_contain_text(f"{len(pairs) / (60 * 59 / 2):.0%}")
    rows = follow(overview, "Pairs that met")
    while (more := overview.get_by_role("button", name="Show more")).count():
        shown = rows.count()
        more.click()
        expect(rows.nth(shown)).to_be_visible()
        wait_until_idle(overview)
    expect(rows).to_have_count(len(pairs))
    first, second, seconds = pairs[0]
    expect(rows.first.locator("a").first).to_have_text(full_name(met.get(f"/api/persons/{first}").json()))
    expect(rows.first.locator("a").nth(1)).to_have_text(full_name(met.get(f"/api/persons/{second}").json()))
    expect(rows.first).to_contain_text(duration(seconds))


def test_longest_together_leads_to_the_encounters_of_the_two(met: System, overview: Page) -> None:
    [[first, second, count, seconds]] = met.rows(
        f"""SELECT person_a_id, person_b_id, count(*),
                   extract(epoch FROM sum("end" - start))::float8 AS seconds
              FROM encounters_encounter WHERE {MET} GROUP BY 1, 2 ORDER BY seconds DESC, 1, 2 LIMIT 1"""
    )
    names = " and ".join(full_name(met.get(f"/api/persons/{each}").json()) for each in (first, second))
    expect(tile(overview, "Longest together")).to_contain_text(duration(seconds))
    expect(tile(overview, "Longest together")).to_contain_text(names)
    expect(overview.locator(".pairs li")).to_have_count(10)
    expect(overview.locator(".pairs li").first).to_contain_text(names)
    rows = follow(overview, "Longest together")
    expect(rows).to_have_count(count)
    expect(overview.locator(".day-list p strong")).to_have_text(names)


def test_the_busiest_zone_leads_to_the_zones(met: System, overview: Page) -> None:
    visits = met.get(f"/api/zones/visits?{RANGE_QUERY}").json()
    visits.sort(key=lambda each: -each["person_minutes"])
    busiest = next(each for each in visits if each["zone"]["kind"] != "hall")
    expect(tile(overview, "Busiest zone").locator("strong")).to_have_text(busiest["zone"]["name"])
    expect(tile(overview, "Busiest zone")).to_contain_text(f"{busiest['people']} visitors")
    expect(overview.locator(".zones li")).to_have_count(8)
    expect(overview.locator(".zones li").first).to_contain_text(busiest["zone"]["name"])
    rows = follow(overview, "Busiest zone")
    expect(rows).to_have_count(len(visits))
    assert [each.split("\t")[0].strip() for each in rows.all_inner_texts()] == [
        each["zone"]["name"] for each in visits
    ]


def test_companies_are_a_matrix_sorted_by_their_time_with_others(met: System, overview: Page) -> None:
    cells = met.get(f"/api/encounters/summary?by=company&{RANGE_QUERY}&min_duration=300").json()
    with_others: dict[str, float] = {}
    for cell in cells:
        for name in set(cell["companies"]):
            own = len(set(cell["companies"])) == 1
            with_others[name] = with_others.get(name, 0) + (0 if own else cell["seconds"])
    expected = sorted(with_others, key=lambda name: -with_others[name])
    matrix = overview.locator(".matrix")
    assert matrix.locator("tbody th").all_inner_texts() == expected[:12]
    assert matrix.locator("thead th").all_inner_texts() == expected[:12]
    overview.get_by_role("button", name=f"All {len(expected)} companies").click()
    expect(matrix.locator("tbody th")).to_have_count(len(expected))
    most = max((each for each in cells if len(set(each["companies"])) == 2), key=lambda each: each["seconds"])
    row, column = (expected.index(name) for name in most["companies"])
    for one_way, other_way in ((row, column), (column, row)):
        cell = matrix.locator("tbody tr").nth(one_way).locator("td").nth(other_way)
        expect(cell).to_have_attribute(
            "title", re.compile(f"{most['pairs']} pairs? of {most['people']} people")
        )

    overview.get_by_role("link", name=expected[0], exact=True).click()
    wait_until_idle(overview)
    company = met.get(
        f"/api/encounters?{RANGE_QUERY}&min_duration=300", params={"company": expected[0], "limit": 100}
    )
    expect(overview.locator(".day-list tbody tr")).to_have_count(len(company.json()))


# --- the day -------------------------------------------------------------------------------------


def test_the_curves_are_those_of_the_pings_and_the_encounters(met: System, overview: Page) -> None:
    begin = "date_bin('15 min', %s, timestamptz '2026-01-01Z')"
    present = dict(
        met.rows(
            f"""SELECT {begin % "creation_time"} AS begin, count(DISTINCT person_id) FROM locations_location
                 WHERE creation_time BETWEEN {RANGE} GROUP BY begin"""
        )
    )
    together = dict(
        met.rows(
            f"""SELECT begin, count(DISTINCT person_id)
                  FROM (SELECT * FROM encounters_encounter WHERE {MET}) AS met
                 CROSS JOIN LATERAL generate_series({begin % "start"}, "end", interval '15 min') AS begin
                 CROSS JOIN LATERAL unnest(ARRAY[person_a_id, person_b_id]) AS person_id GROUP BY begin"""
        )
    )
    expect(overview.locator(".curve canvas")).to_have_count(2)
    overview.get_by_text("The curves as a table").click()
    rows = overview.locator(".curves tbody tr")
    expect(rows).to_have_count(len(present))
    shown = [each.split("\t")[:3] for each in rows.all_inner_texts()]
    assert shown == [
        [f"{(begin.hour + 2) % 24:02}:{begin.minute:02}", str(present[begin]), str(together.get(begin, 0))]
        for begin in sorted(present)
    ]


def test_the_floor_plan_has_the_people_of_the_busiest_time_and_of_any_other(
    met: System, overview: Page
) -> None:
    slider = overview.get_by_role("slider", name="Time")

    def expect_people_at_the_slider() -> None:
        at = datetime.fromtimestamp(int(slider.input_value()) / 1000, UTC)
        there = met.get(f"/api/positions?at={at:%Y-%m-%dT%H:%M:%SZ}&max_age=120").json()
        expect(overview.locator(".plan header")).to_contain_text(f"{len(there)} people at")

    expect(overview.locator(".plan .zone").first).to_be_visible()
    expect(overview.locator(".plan header")).to_contain_text("the busiest time")
    expect_people_at_the_slider()
    busiest = slider.input_value()
    slider.press("ArrowRight")
    expect(overview).to_have_url(re.compile("at=2026-05-11T"))
    assert slider.input_value() != busiest
    expect_people_at_the_slider()
    expect(overview.locator(".curves header b")).to_be_visible()
    overview.get_by_role("button", name="Busiest time").click()
    expect(overview).not_to_have_url(re.compile("[&?]at="))
    expect(slider).to_have_value(busiest)
    overview.locator(".curve .u-over").first.click()  # in the middle of the day
    expect(overview).to_have_url(re.compile("at=2026-05-11T"))


def test_another_day_and_another_time_that_counts_as_met_are_in_the_address(
    met: System, overview: Page
) -> None:
    fewer = one(
        met, f"""SELECT count(*) FROM encounters_encounter WHERE {MET} AND "end" - start >= '15 min'"""
    )
    overview.get_by_label("Met: together for at least").select_option("15 mins")
    expect(tile(overview, "Time together")).to_contain_text(f"in {fewer:,} encounters")
    expect(overview).to_have_url(re.compile("min_duration=900"))
    overview.get_by_role("link", name=re.compile("^Next day: Tue, 12 May")).click()
    expect(overview.get_by_role("combobox", name="Day")).to_have_value("1")
    expect(overview).to_have_url(re.compile(r"start=2026-05-11T22.*min_duration=900"))
    overview.get_by_role("combobox", name="Day").select_option("Mon, 11 May 2026")
    expect(tile(overview, "Time together")).to_contain_text(f"in {fewer:,} encounters")


def test_the_overview_fits_every_width_on_a_clock_of_12_hours(
    met: System, browser: Browser, origins: set[str]
) -> None:
    for width in (PHONE["width"], 768, 1280, 1440):
        viewport = {"width": width, "height": 900}
        with a_page(browser, origins, viewport=viewport, locale="en-US", zone="America/New_York") as page:
            page.goto(met.url(f"/?{DAY}", APP))
            wait_until_idle(page)
            expect(page.locator(".plan header")).to_contain_text(re.compile(r"at \d\d:\d\d [AP]M"))
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            cut = """() => [...document.querySelectorAll(".tiles strong, .card header, .bars-list b")]
                .filter((each) => each.scrollWidth > each.clientWidth + 1).map((each) => each.textContent)"""
            assert page.evaluate(cut) == [], width
            page.get_by_role("button", name=re.compile("companies$")).click()
            assert axe_violations(page) == [], width
            assert page.evaluate("document.documentElement.scrollWidth") <= width


# --- states --------------------------------------------------------------------------------------


def test_a_day_without_encounters_says_what_to_do(met: System, page: Page) -> None:
    page.goto(met.url(f"/?{DAY}&min_duration=86400", APP))
    expect(page.locator(".note")).to_contain_text("find_encounters --from 2026-05-11 --to 2026-05-11")
    expect(tile(page, "Pairs that met").locator("strong")).to_have_text("0")
    expect(tile(page, "People seen").locator("strong")).to_have_text("60")


def test_the_old_address_of_a_search_still_works(met: System, page: Page) -> None:
    page.goto(met.url("/?search=finn", APP))
    expect(page.get_by_label("Name or company")).to_have_value("finn")
    expect(page).to_have_url(met.url("/people?search=finn", APP))


def test_the_overview_follows_a_running_event(fresh: System, page: Page) -> None:
    ann, bo = make_person(fresh, "Ann"), make_person(fresh, "Bo")
    store_ping(fresh, ann, BOOTH, 5)
    page.goto(fresh.url("/", APP))
    expect(page.locator(".day-choice")).to_contain_text("Today")
    expect(page.locator(".plan header")).to_contain_text("1 person now")
    expect(tile(page, "People seen").locator("strong")).to_have_text("1")
    store_ping(fresh, bo, BOOTH, 0)
    expect(page.locator(".plan header")).to_contain_text("2 people now")
    page.evaluate(
        "document.dispatchEvent(new Event('visibilitychange'))"
    )  # the sums are polled once a minute
    expect(tile(page, "People seen").locator("strong")).to_have_text("2")
