"""The life of a token in the admin site, and its use at the API."""

import re
from collections.abc import Iterator

import pytest
import requests
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone
from django.utils.formats import date_format
from playwright.sync_api import Browser, Page, expect

from access.callers import Kind
from access.models import Token
from persons.models import Person
from tests.browser import a_browser, a_page, axe_violations, log_in_to_admin
from tests.gunicorn_server import Server, until

NAME, PASSWORD = "ada", "a long one"


@pytest.fixture
def guarded(transactional_db: None) -> Iterator[Server]:
    """One server per test: it caches content types, whose ids change from test to test."""
    with Server(WEB_WORKERS="1", WEB_THREADS="4", ACCESS="tokens") as running:
        yield running


@pytest.fixture
def finn(transactional_db: None) -> Person:
    User.objects.create_superuser(NAME, password=PASSWORD)
    return Person.objects.create(first_name="Finn", last_name="Brandt", company_name="Acme")


@pytest.fixture
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser
        connections.close_all()  # while its loop runs, queries use another connection


@pytest.fixture
def page(finn: Person, browser: Browser, guarded: Server) -> Iterator[Page]:
    with a_page(browser, {guarded.url("")}) as page:
        log_in(page, guarded)
        yield page


def log_in(page: Page, server: Server) -> None:
    log_in_to_admin(page, server.url("/admin/"), NAME, PASSWORD)


def make(page: Page) -> str:
    page.get_by_role("button", name="Make the token").click()
    return page.get_by_label("The token").input_value()


def get(server: Server, token: str, path: str) -> requests.Response:
    return server.get(path, headers={"Authorization": f"Bearer {token}"})


def test_a_token_is_made_for_a_person_shown_once_used_listed_and_revoked(
    page: Page, guarded: Server, finn: Person
) -> None:
    page.goto(guarded.url(f"/admin/persons/person/{finn.id}/change/"))
    page.get_by_role("link", name="Make a token").click()
    expect(page.get_by_label("A person")).to_be_checked()
    expect(page.locator("#id_first_person_id")).to_have_value(str(finn.id))
    token = make(page)
    expect(page.locator(".once")).to_contain_text("shown only once")
    expect(page.get_by_label("The link")).to_have_value(re.compile(r"/#code=\w{8}\.\w{32,}$"))
    code = page.get_by_label("The link").input_value().partition("#code=")[2]
    assert code != token
    assert token not in page.url

    page.get_by_role("link", name="All tokens").click()
    row = page.get_by_role("row", name="Finn Brandt")
    expect(row).to_contain_text(f"person {finn.id}")
    expect(row.locator(".field-used")).to_have_text("never")
    assert token not in page.content()

    assert get(guarded, token, f"/api/persons/{finn.id}").json()["first_name"] == "Finn"
    page.reload()
    expect(row.locator(".field-state_label")).to_have_text("usable")
    expect(row.locator(".field-used")).to_have_text(date_format(timezone.now().date()))

    row.get_by_role("link", name="Finn Brandt").click()
    assert token not in page.content()
    page.get_by_role("button", name="Revoke this token").click()
    expect(page.locator(".messagelist")).to_contain_text("1 revoked")
    expect(row.locator(".field-state_label")).to_have_text("revoked")
    until(lambda: get(guarded, token, f"/api/persons/{finn.id}").status_code == 401)
    row.get_by_role("link", name="Finn Brandt").click()
    expect(page.get_by_role("button", name="Revoke this token")).to_have_count(0)
    refused = guarded.post("/api/caller/exchange", json={"code": code})
    assert refused.status_code == 404  # revoking a token revokes the link made with it


def test_the_action_revokes_several_tokens(page: Page, guarded: Server, finn: Person) -> None:
    tokens = []
    for _ in range(2):
        page.goto(guarded.url(f"/admin/access/token/add/?kind=person&first_person_id={finn.id}"))
        tokens.append(make(page))
    page.get_by_role("link", name="All tokens").click()
    page.get_by_label("Select all objects on this page for an action").check()
    page.locator("select[name=action]").select_option("Revoke the selected tokens")
    page.get_by_role("button", name="Go").click()
    expect(page.locator(".messagelist")).to_contain_text("2 revoked")
    for token in tokens:
        until(lambda token=token: get(guarded, token, "/api/caller").status_code == 401)


def test_the_form_shows_the_fields_of_the_chosen_kind(page: Page, guarded: Server, finn: Person) -> None:
    page.goto(guarded.url("/admin/access/token/add/"))
    first, last, user = (
        page.locator(f"#id_{each}") for each in ("first_person_id", "last_person_id", "user")
    )
    for kind, fields in (
        ("A person", [first]),
        ("Devices", [first, last]),
        ("Staff", [user]),
        ("Connect itself", []),
    ):
        page.get_by_label(kind).check()
        assert [each for each in (first, last, user) if each.is_visible()] == fields

    page.get_by_label("A person").check()
    page.get_by_role("button", name="Make the token").click()
    expect(page.locator(".errorlist")).to_have_text("Enter a person.")
    first.fill("999")
    page.get_by_role("button", name="Make the token").click()
    expect(page.locator(".errorlist")).to_have_text("There is no person 999.")

    page.get_by_label("Devices").check()
    first.fill(str(finn.id))
    last.fill(str(finn.id + 9))
    page.get_by_label("Days").fill("2")
    ingest = make(page)
    assert page.get_by_label("The link").count() == 0
    assert get(guarded, ingest, "/api/caller").json()["kind"] == "ingest"

    page.get_by_role("link", name="Make another token").click()
    page.get_by_label("Staff").check()
    user.select_option(NAME)
    staff = make(page)
    assert get(guarded, staff, "/api/caller").json() == {"kind": "staff", "name": f"user {NAME}"}
    names = {token.name: (token.expiry_date - timezone.now()).days for token in Token.objects.all()}
    assert names["ada"] == 29
    assert names[f"{finn.id}-{finn.id + 9}"] == 1


def test_a_new_token_can_be_copied(page: Page, guarded: Server, finn: Person) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(guarded.url(f"/admin/access/token/add/?kind=person&first_person_id={finn.id}"))
    token = make(page)
    page.get_by_role("button", name="Copy").last.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == token


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_pages_are_accessible(
    finn: Person, browser: Browser, guarded: Server, scheme: str, width: int
) -> None:
    old = Token(name="old", kind=Kind.PERSON, first_person_id=finn.id, last_person_id=finn.id, revoked=True)
    Token.objects.assign_key(old)
    old.save()
    with a_page(
        browser, {guarded.url("")}, color_scheme=scheme, viewport={"width": width, "height": 900}
    ) as page:
        log_in(page, guarded)
        page.goto(guarded.url(f"/admin/access/token/add/?kind=person&first_person_id={finn.id}"))
        found = {"form": axe_violations(page)}
        make(page)
        found["made"] = axe_violations(page)
        page.get_by_role("link", name="All tokens").click()
        expect(page.get_by_role("heading", name="Tokens")).to_be_visible()
        found["list"] = axe_violations(page)
        page.get_by_role("link", name="Finn Brandt").click()
        expect(page.get_by_role("button", name="Revoke this token")).to_be_visible()
        found["one"] = axe_violations(page)
        page.goto(guarded.url("/admin/access/token/add/"))
        page.get_by_role("button", name="Make the token").click()
        expect(page.locator(".errorlist")).to_be_visible()
        found["wrong"] = axe_violations(page)
        assert found == {each: [] for each in found}
