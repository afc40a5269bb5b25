"""Tests of the layout of the admin site at the widths of phones, tablets and desktops."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import connections
from playwright.sync_api import Browser, Page

from access import services
from access.callers import Kind
from persons.models import Person
from tests.browser import a_browser, a_page, log_in_to_admin
from tests.gunicorn_server import Server

WIDTHS = (390, 768, 1024, 1280, 1330, 1440, 1920)
NAME, PASSWORD = "ada", "a long one"

# Measures the main elements of a page: the width of its form, and the pairs of elements that overlap.
MEASURE_LAYOUT = """() => {
  const FIELDS = "#content-main form .form-row :is(input, select, textarea), #toolbar input";
  const parts = {
    heading: "#content > h1, #content > h2",
    tool: ".object-tools a",
    field: FIELDS,
    row: "#result_list tbody tr:first-child",
  };
  const boxOf = (kind, one) => {
    if (kind !== "heading") return one.getBoundingClientRect();
    const text = document.createRange(); // the box of a heading element is as wide as the page
    text.selectNodeContents(one);
    return text.getBoundingClientRect();
  };
  const boxes = Object.entries(parts).flatMap(([kind, selector]) =>
    [...document.querySelectorAll(selector)]
      .filter((one) => one.checkVisibility())
      .map((one) => ({ kind, text: one.textContent.trim().slice(0, 30), box: boxOf(kind, one) })));
  const overlap = (a, b) =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
  const overlaps = [];
  for (const [index, one] of boxes.entries())
    for (const other of boxes.slice(index + 1))
      if ((one.kind !== other.kind || one.kind === "tool") && overlap(one.box, other.box))
        overlaps.push(`${one.kind} ${one.text} / ${other.kind} ${other.text}`);
  const form = document.querySelector("#content-main fieldset, #changelist-form");
  return { form: form?.getBoundingClientRect().width ?? 0, overlaps };
}"""


@pytest.fixture
def server(transactional_db: None) -> Iterator[Server]:
    with Server(WEB_WORKERS="1", WEB_THREADS="4", ACCESS="tokens") as running:
        yield running


@pytest.fixture
def person_with_long_name(transactional_db: None) -> Person:
    User.objects.create_superuser(NAME, password=PASSWORD)
    return Person.objects.create(
        first_name="Maximiliane-Charlotte", last_name="von Hohenberg-Wasserstein", company_name="Acme"
    )


@pytest.fixture
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser
        connections.close_all()  # its event loop gives queries a separate connection


def log_in(page: Page, server: Server) -> None:
    log_in_to_admin(page, server.url("/admin/"), NAME, PASSWORD)


def test_forms_are_wide_enough_and_no_elements_overlap(
    person_with_long_name: Person, browser: Browser, server: Server
) -> None:
    token, _ = services.make(name="for a test", kind=Kind.PERSON, first_person_id=person_with_long_name.id)
    pages = {
        "change person": f"/admin/persons/person/{person_with_long_name.id}/change/",
        "add person": "/admin/persons/person/add/",
        "people": "/admin/persons/person/",
        "token form": f"/admin/access/token/add/?kind=person&first_person_id={person_with_long_name.id}",
        "one token": f"/admin/access/token/{token.pk}/change/",
        "tokens": "/admin/access/token/",
        "locations": "/admin/locations/location/",
        "add event": "/admin/venue/event/add/",
        "add zone": "/admin/venue/zone/add/",
        "zones": "/admin/venue/zone/",
        "change user": f"/admin/auth/user/{User.objects.get().pk}/change/",
    }
    with a_page(browser, {server.url("")}) as page:
        log_in(page, server)
        problems = []
        for name, path in pages.items():
            page.goto(server.url(path))
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                found = page.evaluate(MEASURE_LAYOUT)
                narrow = name != "locations" and found["form"] < min(300, width - 60)
                if found["overlaps"] or narrow:
                    problems.append(f"{name} at {width}: {found}")
        assert not problems, "\n".join(problems)
