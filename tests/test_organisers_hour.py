"""The hour before an event: a CSV of people, badges, a scan, two phones that share, meet and leave."""

import csv
import io
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
import zxingcpp
from playwright.sync_api import Browser, Page, expect

from tests.browser import PHONE, a_page, axe_violations
from tests.gunicorn_server import until
from tests.system import API, APP, STAGES, System

USER, PASSWORD = "ida", "a long one"
PEOPLE = 200
HERE = {"latitude": 52.52, "longitude": 13.404954, "accuracy": 8}
BESIDE = HERE | {"latitude": 52.520009}  # a metre to the north
TOGETHER_MS = 110_000  # a minute together, and some seconds for both phones to see it


@pytest.fixture(scope="module")
def event(guarded: System) -> System:
    guarded.go(STAGES[-1])
    guarded.empty()
    make = "from django.contrib.auth.models import User\n"
    make += f"User.objects.create_superuser({USER!r}, password={PASSWORD!r})"
    guarded.run("manage.py", "shell", "-c", make)
    return guarded


@pytest.fixture(scope="module")
def people(event: System, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The people of a table without ids, as a spreadsheet writes it, with the ids that they got."""
    folder = tmp_path_factory.mktemp("people")
    rows = [f"Ann {n};Lee;Company {n % 20}" for n in range(PEOPLE)]
    (folder / "people.csv").write_text("\ufeff" + "\r\n".join(["First name;Last name;Company", *rows]))
    event.run("manage.py", "import_persons", str(folder / "people.csv"), "--output", str(folder / "ids.csv"))
    return list(csv.DictReader((folder / "ids.csv").open()))


@pytest.fixture(scope="module")
def sheet(
    event: System, people: list[dict[str, str]], browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str]]:
    """The badges of everybody as a PDF, and their links as CSV."""
    folder = tmp_path_factory.mktemp("badges")
    with a_page(browser, {event.url("", API)}) as page:
        page.goto(event.url("/admin/"))
        page.get_by_label("Username").fill(USER)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.goto(event.url("/admin/persons/person/"))
        page.locator("#action-toggle").check()
        page.locator(".actions .question a").click()  # select those of all pages
        page.locator("select[name=action]").select_option("Make badges with sign-in codes")
        page.locator(".actions button[type=submit]").first.click()
        expect(page.get_by_text(f"for each of {PEOPLE} people")).to_be_visible()
        assert axe_violations(page) == []
        page.get_by_role("button", name="Make badges").click()
        expect(page.locator(".badge")).to_have_count(PEOPLE)
        assert axe_violations(page) == []
        page.pdf(path=folder / "badges.pdf", prefer_css_page_size=True, print_background=True)
        with page.expect_download() as download:
            page.get_by_role("button", name="Save the links as CSV").click()
        yield folder / "badges.pdf", download.value.path().read_text(encoding="utf-8-sig")


def codes_on(pdf: Path, number: int) -> list[str]:
    """The texts of the QR codes on a sheet."""
    image = pypdfium2.PdfDocument(pdf)[number].render(scale=3).to_pil()
    return [each.text for each in zxingcpp.read_barcodes(image)]


def test_badges_are_eight_on_a_sheet_of_a4(sheet: tuple[Path, str], people: list[dict[str, str]]) -> None:
    pdf, table = sheet
    document = pypdfium2.PdfDocument(pdf)
    assert len(document) == PEOPLE // 8
    assert [round(side / 72 * 25.4) for side in document[0].get_size()] == [210, 297]
    assert len(codes_on(pdf, 0)) == len(codes_on(pdf, len(document) - 1)) == 8
    text = document[0].get_textpage().get_text_bounded()
    assert "Ann 0 Lee" in text
    assert "Company 0" in text
    links = list(csv.DictReader(io.StringIO(table)))
    assert [each["person_id"] for each in links] == [each["id"] for each in people]
    assert set(codes_on(pdf, 0)) == {each["link"] for each in links[:8]}


@pytest.fixture(scope="module")
def phones(event: System, sheet: tuple[Path, str], browser: Browser) -> Iterator[list[Page]]:
    """Two phones that scanned a badge of the second sheet, beside each other, and share."""
    links = codes_on(sheet[0], 1)[:2]
    origins = {event.url("", APP), event.url("", API)}
    with ExitStack() as stack:
        pages = []
        for link, place in zip(links, (HERE, BESIDE), strict=True):
            how = {"geolocation": place, "permissions": ["geolocation"], "service_workers": "allow"}
            page = stack.enter_context(a_page(browser, origins, viewport=PHONE, **how))
            page.goto(link)
            page.get_by_role("button", name="Others may find me").click()
            expect(page.get_by_text("While sharing is on, Connect stores where you are")).to_be_visible()
            page.get_by_role("button", name="I agree, start sharing").click()
            expect(page.locator(".sent")).to_contain_text("Last sent")
            pages.append(page)
        yield pages


def own_id(page: Page) -> int:
    return int(page.evaluate("JSON.parse(localStorage.getItem('connect.caller')).person_id"))


def test_two_phones_that_are_together_for_a_minute_see_each_other(phones: list[Page]) -> None:
    began = time.monotonic()
    for page in phones:
        expect(page.locator(".persons li")).to_contain_text("Lee", timeout=TOGETHER_MS)
    print(f"Both saw each other {time.monotonic() - began:.0f} s after both had begun to share.")


def test_a_phone_without_a_network_sends_later(phones: list[Page], event: System) -> None:
    page = phones[0]
    page.expected_errors += ["net::ERR_INTERNET_DISCONNECTED"]  # type: ignore[attr-defined]

    def stored() -> int:
        return len(event.get(f"/api/locations?person_id={own_id(page)}").json())

    page.context.set_offline(True)
    expect(page.get_by_text("positions wait to be sent")).to_be_visible()
    expect(page.get_by_text("You are offline.")).to_be_visible()
    before = stored()
    page.reload()  # the phone has kept the page
    expect(page.get_by_role("switch")).to_be_checked()
    expect(page.get_by_text("positions wait to be sent")).to_be_visible()
    page.context.set_offline(False)
    expect(page.get_by_text("to be sent")).to_have_count(0)
    until(lambda: stored() >= before + 2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_and_fits_a_phone(phones: list[Page], scheme: Any) -> None:
    page = phones[0]
    page.emulate_media(color_scheme=scheme)
    assert axe_violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_the_keyboard_turns_sharing_off_and_on(phones: list[Page]) -> None:
    page = phones[1]
    switch = page.get_by_role("switch")
    switch.focus()
    for on in (False, True):
        page.keyboard.press("Space")
        expect(switch).to_be_checked(checked=on)


def test_who_hides_is_not_seen_any_more(phones: list[Page]) -> None:
    one, other = phones
    one.get_by_label("Others may find me").click()
    expect(other.locator(".persons li")).to_have_count(0, timeout=TOGETHER_MS)
    expect(other.get_by_text("Nobody yet.")).to_be_visible()


def test_a_person_deletes_themselves_and_gets_a_receipt(phones: list[Page], event: System) -> None:
    page = phones[0]
    person_id = own_id(page)
    event.get(f"/api/persons/{person_id}")  # by staff
    page.get_by_text("Who looked at me").click()
    expect(page.locator(".questions li").first).to_contain_text("looked at your")
    page.get_by_role("button", name="Delete everything about me").click()
    expect(page.get_by_text("Nobody can undo this.")).to_be_visible()
    assert axe_violations(page) == []
    page.get_by_role("button", name="Delete everything now").click()
    expect(
        page.get_by_role("heading", name=f"Everything about person {person_id} is deleted")
    ).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text(re.compile(r"[1-9][0-9]* positions"))
    assert event.get(f"/api/persons/{person_id}").status_code == 404
    assert page.evaluate("localStorage.length") == 0
    page.get_by_role("link", name="Close").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
