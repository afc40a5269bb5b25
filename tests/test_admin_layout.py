"""The layout of the admin site's pages at the widths of phones, tablets and desktops."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import connections
from playwright.sync_api import Browser, Page, expect

from access import services
from access.callers import Kind
from persons.models import Person
from tests.browser import a_browser, a_page
from tests.gunicorn_server import Server

WIDTHS = (390, 768, 1024, 1280, 1330, 1440, 1920)
NAME, PASSWORD = "ada", "a long one"

# The boxes of everything that a reader needs, and which pairs of them cover each other.
MEASURE = """() => {
  const FIELDS = "#content-main form .form-row :is(input, select, textarea), #toolbar input";
  const parts = {
    heading: "#content > h1, #content > h2",
    tool: ".object-tools a",
    field: FIELDS,
    row: "#result_list tbody tr:first-child",
  };
  const boxOf = (kind, one) => {
    if (kind !== "heading") return one.getBoundingClientRect();
    const text = document.createRange(); // a heading's own box is as wide as the page
    text.selectNodeContents(one);
    return text.getBoundingClientRect();
  };
  const boxes = Object.entries(parts).flatMap(([kind, selector]) =>
    [...document.querySelectorAll(selector)]
      .filter((one) => one.checkVisibility())
      .map((one) => ({ kind, text: one.textContent.trim().slice(0, 30), box: boxOf(kind, one) })));
  const cover = (a, b) =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
  const covered = [];
  for (const [index, one] of boxes.entries())
    for (const other of boxes.slice(index + 1))
      if ((one.kind !== other.kind || one.kind === "tool") && cover(one.box, other.box))
        covered.push(`${one.kind} ${one.text} / ${other.kind} ${other.text}`);
  const form = document.querySelector("#content-main fieldset, #changelist-form");
  return { form: form?.getBoundingClientRect().width ?? 0, covered };
}"""


@pytest.fixture
def guarded(transactional_db: None) -> Iterator[Server]:
    with Server(WEB_WORKERS="1", WEB_THREADS="4", ACCESS="tokens") as running:
        yield running


@pytest.fixture
def finn(transactional_db: None) -> Person:
    User.objects.create_superuser(NAME, password=PASSWORD)
    return Person.objects.create(
        first_name="Maximiliane-Charlotte", last_name="von Hohenberg-Wasserstein", company_name="Acme"
    )


@pytest.fixture
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser
        connections.close_all()  # while its loop runs, queries have a connection of their own


def enter(page: Page, server: Server) -> None:
    page.goto(server.url("/admin/"))
    page.get_by_label("Username").fill(NAME)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#figures")).to_be_visible()


def test_forms_have_a_width_and_nothing_covers_anything(
    finn: Person, browser: Browser, guarded: Server
) -> None:
    token, _ = services.make(name="for a test", kind=Kind.PERSON, first_person_id=finn.id)
    pages = {
        "change person": f"/admin/persons/person/{finn.id}/change/",
        "add person": "/admin/persons/person/add/",
        "people": "/admin/persons/person/",
        "token form": f"/admin/access/token/add/?kind=person&first_person_id={finn.id}",
        "one token": f"/admin/access/token/{token.pk}/change/",
        "tokens": "/admin/access/token/",
        "locations": "/admin/locations/location/",
        "change user": f"/admin/auth/user/{User.objects.get().pk}/change/",
    }
    with a_page(browser, {guarded.url("")}) as page:
        enter(page, guarded)
        wrong = []
        for name, path in pages.items():
            page.goto(guarded.url(path))
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                found = page.evaluate(MEASURE)
                where = f"{name} at {width}: {found}"
                narrow = name != "locations" and found["form"] < min(300, width - 60)
                if found["covered"] or narrow:
                    wrong.append(where)
        assert not wrong, "\n".join(wrong)
