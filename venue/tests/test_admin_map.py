"""Zones in the admin site, in a browser: drawn on the map, saved, changed, and written without a mouse."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connections
from playwright.sync_api import Browser, Page, expect

from tests.browser import a_browser, a_page, axe_violations, log_in_to_admin
from tests.gunicorn_server import Server
from venue import storage
from venue.geojson import parse_collection
from venue.tests.shapes import collection, feature, square

NAME, PASSWORD = "ada", "a long one"
FAIR = storage.Event("Fair", "Europe/Berlin", date(2026, 5, 11), date(2026, 5, 12))


@pytest.fixture
def guarded(transactional_db: None) -> Iterator[Server]:
    """One server per test: it caches content types, whose ids change from test to test."""
    with Server(WEB_WORKERS="1", WEB_THREADS="4", ACCESS="tokens") as running:
        yield running


@pytest.fixture
def halls(transactional_db: None) -> None:
    """An event with two halls, and a staff user."""
    User.objects.create_superuser(NAME, password=PASSWORD)
    zones = [feature("Hall <1>"), feature("Hall 2", rings=[square(13.402, 52.5)])]
    storage.replace(event=FAIR, zones=parse_collection(collection(*zones)))


@pytest.fixture
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser
        connections.close_all()  # while its loop runs, queries use another connection


@pytest.fixture
def page(halls: None, browser: Browser, guarded: Server) -> Iterator[Page]:
    with a_page(browser, {guarded.url("")}) as page:
        log_in(page, guarded)
        yield page


def log_in(page: Page, server: Server) -> None:
    log_in_to_admin(page, server.url("/admin/"), NAME, PASSWORD)


def add(page: Page, server: Server, name: str) -> None:
    """Opens the form of a new booth and writes its name."""
    page.goto(server.url("/admin/venue/zone/add/"))
    page.get_by_label("Name").fill(name)
    page.get_by_label("Kind").select_option("booth")


def click_on_map(page: Page, *places: tuple[float, float]) -> None:
    """Clicks at fractions of the width and the height of the map."""
    page.locator("#map").scroll_into_view_if_needed()
    box: Any = page.locator("#map").bounding_box()
    for x, y in places:
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def draw(page: Page, *places: tuple[float, float]) -> None:
    page.get_by_role("button", name="Draw a polygon").click()
    click_on_map(page, *places, places[0])
    expect(page.locator("path.zone-own")).to_have_count(1)


def text(page: Page) -> Any:
    value = page.get_by_label("Area as GeoJSON").input_value()
    return json.loads(value) if value else None


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".messagelist .success")).to_be_visible()


# The answer of a tile server on the internet.
TILE = '<svg xmlns="http://www.w3.org/2000/svg" width="256" height="256"/>'
TRIANGLE = ((0.4, 0.4), (0.6, 0.4), (0.5, 0.6))


def test_a_zone_is_drawn_saved_and_there_again(page: Page, guarded: Server) -> None:
    add(page, guarded, "Booth 7")
    expect(page.locator("path.zone-other")).to_have_count(2)
    draw(page, *TRIANGLE)
    drawn = text(page)
    assert drawn["type"] == "Polygon"
    assert len(drawn["coordinates"][0]) == 4
    save(page)
    zone = storage.zones()[-1]
    assert (zone.id, zone.name, zone.kind) == (3, "Booth 7", "booth")
    assert json.loads(zone.area.geojson)["coordinates"] == drawn["coordinates"]

    page.get_by_role("link", name="Booth 7").first.click()
    expect(page.locator("path.zone-own")).to_have_count(1)
    expect(page.locator("path.zone-other")).to_have_count(2)
    page.reload()
    expect(page.locator("path.zone-own")).to_have_count(1)
    assert text(page) == drawn
    page.locator("path.zone-other").first.hover()
    expect(page.locator(".leaflet-tooltip")).to_have_text("Hall <1>")


def test_a_corner_is_moved_and_the_area_removed_and_drawn_again(page: Page, guarded: Server) -> None:
    add(page, guarded, "Booth 7")
    draw(page, *TRIANGLE)
    before = text(page)["coordinates"][0]
    page.get_by_role("button", name="Change the corners").click()
    corner: Any = page.locator("#map .marker-icon:not(.marker-icon-middle)").first.bounding_box()
    page.mouse.move(corner["x"] + corner["width"] / 2, corner["y"] + corner["height"] / 2)
    page.mouse.down()
    page.mouse.move(corner["x"] - 60, corner["y"] - 40, steps=4)
    page.mouse.up()
    after = text(page)["coordinates"][0]
    assert len({*map(tuple, before)} & {*map(tuple, after)}) == 2
    page.get_by_role("button", name="Finish").locator("visible=true").click()

    page.get_by_role("button", name="Remove the area").click()
    click_on_map(page, (0.5, 0.45))
    expect(page.locator("path.zone-own")).to_have_count(0)
    assert text(page) is None
    page.get_by_role("button", name="Finish").locator("visible=true").click()
    draw(page, (0.2, 0.2), (0.3, 0.2), (0.3, 0.3), (0.2, 0.3))
    draw(page, *TRIANGLE)  # another one replaces it
    assert len(text(page)["coordinates"][0]) == 4
    save(page)


def test_a_hole_is_cut(page: Page, guarded: Server) -> None:
    add(page, guarded, "Ring")
    draw(page, (0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8))
    page.get_by_role("button", name="Cut a hole").click()
    click_on_map(page, (0.4, 0.4), (0.6, 0.4), (0.5, 0.6), (0.4, 0.4))
    expect(page.locator("path.zone-own")).to_have_count(1)
    assert len(text(page)["coordinates"]) == 2
    save(page)
    assert storage.zones()[-1].area.num_interior_rings == 1


def test_an_area_is_written_with_the_keyboard_alone(page: Page, guarded: Server) -> None:
    add(page, guarded, "Booth 8")
    page.get_by_label("Company").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Area as GeoJSON")).to_be_focused()
    page.keyboard.type("{")
    expect(page.locator("#map-message")).to_contain_text("no GeoJSON Polygon")
    page.keyboard.press("Enter")
    page.keyboard.type('"type": "Polygon", "coordinates": ' + json.dumps([square(13.401, 52.5)]) + "}")
    expect(page.locator("path.zone-own")).to_have_count(1)
    expect(page.locator("#map-message")).to_be_empty()
    # The buttons of the map follow, each reached and pressed with the keyboard, and none keeps the focus.
    page.locator("#map").focus()
    for name in ("Zoom in", "Zoom out", "Draw a rectangle", "Draw a polygon"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name=name)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Cancel").locator("visible=true")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Cancel").locator("visible=true")).to_have_count(0)
    page.get_by_role("button", name="Save", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator(".messagelist .success")).to_be_visible()
    assert storage.zones()[-1].name == "Booth 8"


def test_a_user_who_may_only_view_sees_the_zone_and_draws_nothing(page: Page, guarded: Server) -> None:
    User.objects.update(is_superuser=False)
    view = Permission.objects.get(codename="view_zone", content_type__app_label="venue")
    User.objects.get().user_permissions.add(view)
    page.goto(guarded.url("/admin/venue/zone/1/change/"))
    expect(page.locator("path.zone-own")).to_have_count(1)
    expect(page.locator("path.zone-other")).to_have_count(1)
    expect(page.locator("#map").get_by_role("button")).to_have_count(2)  # zoom in and out


def test_tiles_of_the_configured_server_are_allowed(halls: None, browser: Browser) -> None:
    tiles = "https://tiles.example.org"
    setting = {"TILES_URL": f"{tiles}/{{z}}/{{x}}/{{y}}.png", "TILES_ATTRIBUTION": "by the example"}
    with (
        Server(WEB_WORKERS="1", WEB_THREADS="4", ACCESS="tokens", **setting) as server,
        a_page(browser, {server.url(""), tiles}) as page,
    ):
        page.route(f"{tiles}/**", lambda route: route.fulfill(body=TILE, content_type="image/svg+xml"))
        log_in(page, server)
        page.goto(server.url("/admin/venue/zone/1/change/"))
        expect(page.locator("img.leaflet-tile-loaded").first).to_be_visible()
        expect(page.locator(".leaflet-control-attribution")).to_contain_text("by the example")


def test_a_wrong_area_is_refused_and_stays_in_the_form(page: Page, guarded: Server) -> None:
    add(page, guarded, "Booth 9")
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
    page.get_by_label("Area as GeoJSON").fill(json.dumps(bow_tie))
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".errorlist")).to_contain_text("Its area is not valid: self-intersection")
    assert text(page) == bow_tie
    page.get_by_label("Area as GeoJSON").fill("nonsense")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".errorlist")).to_contain_text("This is no valid JSON.")
    expect(page.locator("#map-message")).to_contain_text("no GeoJSON Polygon")
    assert len(storage.zones()) == 2


def test_the_first_zone_of_an_empty_venue_can_be_written(
    page: Page, guarded: Server, transactional_db: None
) -> None:
    storage.replace(zones=[])
    add(page, guarded, "Hall")
    page.get_by_label("Area as GeoJSON").fill(json.dumps({"type": "Polygon", "coordinates": [square()]}))
    expect(page.locator("path.zone-own")).to_have_count(1)
    save(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_pages_are_accessible(
    halls: None, browser: Browser, guarded: Server, scheme: Any, width: int
) -> None:
    with a_page(
        browser, {guarded.url("")}, color_scheme=scheme, viewport={"width": width, "height": 900}
    ) as page:
        log_in(page, guarded)
        found = {}
        for name in ("zone/", "zone/1/change/", "event/", "event/1/change/", "zone/1/delete/"):
            page.goto(guarded.url(f"/admin/venue/{name}"))
            found[name] = axe_violations(page)
        add(page, guarded, "Booth")
        expect(page.locator("path.zone-other")).to_have_count(2)
        found["add"] = axe_violations(page)
        page.get_by_role("button", name="Draw a polygon").click()
        click_on_map(page, *TRIANGLE)
        found["drawing"] = axe_violations(page)
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.locator(".errornote")).to_be_visible()
        found["wrong"] = axe_violations(page)
        assert found == {each: [] for each in found}
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
