"""Tests of the web app with ACCESS=tokens: signing in and out, and what each kind of caller sees."""

import re
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, ViewportSize, expect

from local.tests.terminal import make_code, make_token
from tests.browser import DESKTOP, PHONE, a_page, axe_violations
from tests.gunicorn_server import until
from tests.system import API, APP, STAGES, System
from tests.test_app import DAY, FINN, full_name, slider_time
from tests.test_app_live import around_now, store_ping
from tests.test_app_states import VIEWS, wait_until_idle
from tests.test_journey import BOOTH

STAFF, PASSWORD = "grace", "a long one"
LIMITED_STAFF = "alan"  # may log in at the admin site, has no permissions
API_DAY = "start_date=2026-05-10T22:00:00Z&end_date=2026-05-11T22:00:00Z"  # DAY, for the API
MOST_CALLS = 6  # of a view; one's own day also has one's settings
UNKNOWN_TOKEN = "abcdefgh." + "0123456789" * 4


@pytest.fixture(scope="module")
def event(guarded: System) -> System:
    guarded.go(STAGES[-1])
    guarded.empty()
    guarded.run("manage.py", "simulate", "--people", "60")
    guarded.sql("UPDATE persons_person SET findable = true")
    make = "from django.contrib.auth.models import User\n"
    make += f"User.objects.create_superuser({STAFF!r}, password={PASSWORD!r})\n"
    make += f"User.objects.create_user({LIMITED_STAFF!r}, password={PASSWORD!r}, is_staff=True)"
    guarded.run("manage.py", "shell", "-c", make)
    return guarded


@pytest.fixture
def origins(event: System) -> set[str]:
    return {event.url("", APP), event.url("", API)}


@pytest.fixture
def page(browser: Browser, origins: set[str]) -> Iterator[Page]:
    with a_page(browser, origins) as page:
        yield page


@pytest.fixture(scope="module")
def finn_token(event: System) -> str:
    """A person token for Finn, who has consented to be found."""
    return token_with_consent(event, FINN)


def expect_errors_at(page: Page, path: str = "/api/caller") -> None:
    page.expected_errors += [path]  # type: ignore[attr-defined]


def token_with_consent(event: System, person_id: int) -> str:
    """A token of a person who has consented, so that the app does not ask."""
    token = make_token(event.environ, "person", "--people", str(person_id))
    assert request_as(event, token, "PUT", f"/api/persons/{person_id}/consent", json={"findable": True}).ok
    return token


def request_as(event: System, token: str, verb: str, path: str, **options: Any) -> requests.Response:
    return event.ask(verb, path, headers={"Authorization": f"Bearer {token}"}, **options)


def open_link(page: Page, event: System, path: str, person_id: int) -> None:
    """Opens a new sign-in link for a person."""
    page.goto(event.url(f"{path}#code={make_code(event.environ, person_id)}", APP))


def open_with_token(page: Page, event: System, path: str, token: str) -> None:
    page.goto(event.url(path, APP))
    submit_token(page, token)


def submit_token(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()


def expect_sign_in_page(page: Page) -> None:
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page).to_have_title("Sign in · Connect")


def expect_my_day(page: Page) -> None:
    expect(page.get_by_role("link", name="My day")).to_have_attribute("aria-current", "page")
    expect(page.locator(".list h2")).to_contain_text("encounters")


def local_storage(page: Page) -> str:
    return str(page.evaluate("JSON.stringify(localStorage)"))


# --- signing in and out --------------------------------------------------------------------------


def test_every_view_without_a_credential_asks_to_sign_in_and_sends_no_request_to_the_api(
    event: System, page: Page
) -> None:
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    for path in VIEWS.values():
        page.goto(event.url(path, APP))
        expect_sign_in_page(page)
        page.wait_for_load_state("networkidle")
        assert page.get_by_role("navigation", name="Views").count() == 0
    assert not [url for url in requested if url.startswith(event.url("", API))]


def test_staff_sign_in_with_a_token_see_all_people_and_sign_out(event: System, page: Page) -> None:
    assert event.token
    page.goto(event.url(f"/people/{FINN}?{DAY}", APP))
    submit_token(page, f" {event.token}\n")  # as pasted, with spaces
    expect(page.locator(".list h2")).to_contain_text("encounters")
    expect(page).to_have_url(re.compile(f"/people/{FINN}\\?"))
    page.locator(".list li a").first.click()  # another person
    wait_until_idle(page)
    for view, sign in (
        ("Overview", ".tiles"),
        ("People", ".persons li"),
        ("Crowd", ".near"),
        ("Status", ".verdict"),
    ):
        page.get_by_role("link", name=view, exact=True).click()
        expect(page.locator(sign).first).to_be_visible()
    page.reload()
    expect(page.locator(".verdict")).to_have_text("Connect is ready.")

    page.get_by_role("button", name="Sign out").click()
    expect_sign_in_page(page)
    assert local_storage(page) == "{}"
    page.reload()
    expect_sign_in_page(page)


def test_the_token_field_can_show_its_text_and_accepts_a_whole_link(
    event: System, page: Page, finn_token: str
) -> None:
    page.goto(event.url("/", APP))
    field = page.get_by_label("Token")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("type", "password")
    field.fill(event.url(f"/#code={make_code(event.environ, FINN)}", APP))
    page.get_by_role("button", name="Show").click()
    expect(field).to_have_attribute("type", "text")
    page.get_by_role("button", name="Sign in").click()
    expect_my_day(page)


def test_a_refused_token_shows_the_reason(event: System, page: Page) -> None:
    expect_errors_at(page)
    page.goto(event.url("/", APP))
    reason = page.get_by_role("alert")
    for token in (UNKNOWN_TOKEN, "abc", "ключ"):
        submit_token(page, token)
        expect(reason).to_contain_text("not valid")
        expect(page.get_by_label("Token")).to_have_value(token)
    submit_token(page, make_token(event.environ, "ingest", "--people", str(FINN)))
    expect(reason).to_contain_text("can send pings")
    submit_token(page, make_token(event.environ, "service"))
    expect(reason).to_contain_text("for Connect’s own processes")
    assert local_storage(page) == "{}"


def test_a_link_works_once_and_its_code_is_removed_from_the_address(
    event: System, browser: Browser, origins: set[str], page: Page, finn_token: str
) -> None:
    code = make_code(event.environ, FINN)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(event.url(f"/?{DAY}#code={code}", APP))
    expect_my_day(page)
    expect(page).to_have_url(re.compile(f"/people/{FINN}\\?start="))
    assert not [url for url in requested if code in url]
    assert code not in local_storage(page)
    page.reload()
    expect_my_day(page)

    with a_page(browser, origins) as other:
        expect_errors_at(other, "/api/caller/exchange")
        other.goto(event.url(f"/#code={code}", APP))
        expect(other.get_by_role("alert")).to_contain_text("was used before")
        assert local_storage(other) == "{}"


def test_a_token_in_a_link_does_not_sign_in(event: System, page: Page, finn_token: str) -> None:
    page.goto(event.url(f"/#token={finn_token}", APP))
    expect_sign_in_page(page)
    assert local_storage(page) == "{}"


def test_a_link_replaces_the_caller_only_after_a_confirmation(
    event: System, page: Page, finn_token: str
) -> None:
    """Otherwise a person who opens another person's link would change the settings of that person."""
    other = FINN + 1
    token_with_consent(event, other)
    finn, other_name = (full_name(event.get(f"/api/persons/{each}").json()) for each in (FINN, other))
    open_with_token(page, event, f"/?{DAY}", finn_token)
    expect_my_day(page)
    for where in ("in the open page", "in a new page"):
        code = make_code(event.environ, other)
        if where == "in the open page":
            page.evaluate("code => { location.hash = `code=${code}` }", code)
        else:
            page.goto("about:blank")
            page.goto(event.url(f"/?{DAY}#code={code}", APP))
        expect(page.get_by_role("heading", name=f"Sign in as {other_name}?")).to_be_focused()
        expect(page.get_by_role("main")).to_contain_text(f"You are signed in as {finn}.")
        assert finn_token in local_storage(page)
        page.get_by_role("button", name=f"Stay signed in as {finn}").click()
        expect_my_day(page)
        expect(page.get_by_role("heading", name=finn)).to_be_visible()
        assert finn_token in local_storage(page)

    open_link(page, event, f"/?{DAY}", other)
    page.get_by_role("button", name=f"Sign in as {other_name}").click()
    expect(page.get_by_role("heading", name=other_name)).to_be_visible()
    assert finn_token not in local_storage(page)


def test_a_link_for_the_same_person_needs_no_confirmation(event: System, page: Page, finn_token: str) -> None:
    open_with_token(page, event, f"/?{DAY}", finn_token)
    expect_my_day(page)
    page.goto("about:blank")
    open_link(page, event, f"/?{DAY}", FINN)
    expect_my_day(page)
    assert finn_token not in local_storage(page)  # the newer token is stored


def test_a_broken_link_does_not_sign_out(event: System, page: Page, finn_token: str) -> None:
    open_with_token(page, event, f"/?{DAY}", finn_token)
    expect_my_day(page)
    expect_errors_at(page, "/api/caller/exchange")
    page.evaluate("location.hash = 'code=abcdefgh.0123456789'")
    expect(page.get_by_role("alert")).to_contain_text("not valid")
    page.get_by_role("button", name="Continue").click()
    expect_my_day(page)


def test_a_link_can_be_retried_after_the_api_was_unreachable(event: System, page: Page) -> None:
    token_with_consent(event, FINN)
    page.expected_errors += ["ERR_FAILED"]  # type: ignore[attr-defined]
    for path in ("exchange?**", "exchange"):
        page.route(f"**/api/caller/{path}", lambda route: route.abort())
    open_link(page, event, f"/?{DAY}", FINN)
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    for path in ("exchange?**", "exchange"):
        page.unroute(f"**/api/caller/{path}")
    page.get_by_role("button", name="Try again").click()
    expect_my_day(page)


def test_the_admin_site_replaces_the_caller_only_after_a_confirmation(
    event: System, page: Page, finn_token: str
) -> None:
    open_with_token(page, event, f"/?{DAY}", finn_token)
    expect_my_day(page)
    page.goto(event.url("/admin/app/", API))
    page.get_by_label("Username").fill(STAFF)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name=f"Sign in as {STAFF}?")).to_be_visible()
    page.get_by_role("button", name=f"Sign in as {STAFF}").click()
    expect(page.get_by_role("link", name="Crowd")).to_be_visible()


def test_app_and_admin_site_work_under_localhost(event: System, browser: Browser) -> None:
    """A browser keeps the cookies of localhost and 127.0.0.1 apart."""
    origins = {event.url("", port).replace("127.0.0.1", "localhost") for port in (APP, API)}
    with a_page(browser, origins) as page:
        url = event.url(f"/crowd?{DAY}&show=heat", APP).replace("127.0.0.1", "localhost")
        page.goto(url)
        page.get_by_role("link", name="sign in at the admin site").click()
        page.get_by_label("Username").fill(STAFF)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator(".stage [role=status]")).to_contain_text(re.compile(r"^[\d,]+ person-minutes"))
        page.get_by_role("link", name="Admin").click()
        page.get_by_role("link", name="App", exact=True).click()
        expect(page.locator(".tiles li")).to_have_count(5)


# --- the first sign-in -----------------------------------------------------------------------------


@pytest.mark.parametrize(("choice", "findable"), [("Others may find me", True), ("Keep me hidden", False)])
def test_a_first_sign_in_asks_for_consent_until_it_is_answered(
    event: System, browser: Browser, origins: set[str], choice: str, findable: bool
) -> None:
    names = {"first_name": "Ada", "last_name": "Lee", "company_name": "Acme"}
    ada = event.ask("POST", "/api/persons", json=names).json()["id"]
    with a_page(browser, origins, viewport=PHONE) as page:
        open_link(page, event, "/", ada)
        question = page.get_by_role("heading", name="May others find you?")
        expect(question).to_be_visible()
        expect(page.get_by_role("main")).to_contain_text("You are signed in as Ada Lee.")
        page.reload()
        expect(question).to_be_focused()
        assert not consent_of(event, ada)["decided"]
        button = page.get_by_role("button", name=choice)
        while not button.evaluate("one => one === document.activeElement"):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("checkbox", name="Others may find me")).to_be_checked(checked=findable)
        expect(page.get_by_role("heading", name="Ada Lee")).to_be_focused()
        assert consent_of(event, ada) == {"findable": findable, "decided": True}
        page.reload()
        expect(page.get_by_role("heading", name="Ada Lee")).to_be_visible()
        expect(question).to_have_count(0)
    event.ask("DELETE", f"/api/persons/{ada}")


def consent_of(event: System, person_id: int) -> dict[str, bool]:
    found: dict[str, bool] = event.get(f"/api/persons/{person_id}/consent").json()
    return found


# --- staff -----------------------------------------------------------------------------------------


def test_staff_return_from_the_admin_site_to_their_view_and_are_signed_out_with_its_session(
    event: System, page: Page
) -> None:
    page.goto(event.url(f"/crowd?{DAY}&show=heat", APP))
    page.get_by_role("link", name="sign in at the admin site").click()
    page.get_by_label("Username").fill(STAFF)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".stage [role=status]")).to_contain_text(re.compile(r"^[\d,]+ person-minutes"))
    expect(page).to_have_url(re.compile(r"/crowd\?start=2026-05-10T22.*&show=heat$"))
    page.goto(event.url("/status", APP))
    expect(page.locator(".verdict")).to_have_text("Connect is ready.")

    page.get_by_role("link", name="Admin").click()
    page.get_by_role("link", name="App", exact=True).click()
    expect(page.locator(".tiles")).to_be_visible()
    page.get_by_role("link", name="People", exact=True).click()
    expect(page.locator(".persons li")).to_have_count(50)

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("alert")).to_contain_text("At the admin site you are still signed in")
    page.get_by_role("link", name="sign in at the admin site").click()  # the session still exists
    expect(page.locator(".persons li")).to_have_count(50)

    page.context.clear_cookies()
    expect_errors_at(page, "/api/persons")
    page.get_by_label("Name or company").fill("finn")
    expect(page.get_by_role("alert")).to_contain_text("your session at the admin site has ended")


@pytest.mark.parametrize("caller", ["staff", "session", "person"])
def test_every_caller_may_follow_the_live_events(
    event: System, page: Page, finn_token: str, caller: str
) -> None:
    store_ping(event, FINN, BOOTH, 60)
    page.goto(event.url(f"/people/{FINN}?{around_now()}", APP))
    if caller == "session":
        page.get_by_role("link", name="sign in at the admin site").click()
        page.get_by_label("Username").fill(STAFF)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
    else:
        submit_token(page, event.token or "" if caller == "staff" else finn_token)
    expect(page.locator(".live")).to_have_text("LIVE")
    called: list[str] = []
    page.on("request", lambda request: called.append(request.url))
    newest = store_ping(event, FINN, BOOTH, 0)
    until(lambda: slider_time(page) == newest)
    assert not [url for url in called if "/api/locations" in url or "/api/days" in url]
    event.sql("DELETE FROM locations_location WHERE creation_time > '2026-06-01'")


def test_an_admin_user_without_permissions_sees_the_reason(event: System, page: Page) -> None:
    expect_errors_at(page)
    page.goto(event.url("/", APP))
    page.get_by_role("link", name="sign in at the admin site").click()
    page.get_by_label("Username").fill(LIMITED_STAFF)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("The admin site did not sign you in")
    assert page.url == event.url("/", APP)


def test_a_revoked_token_signs_out_and_a_new_token_returns_to_the_view(
    event: System, page: Page, finn_token: str
) -> None:
    token = make_token(event.environ, "person", "--people", str(FINN))
    open_with_token(page, event, f"/people/{FINN}?{DAY}", token)
    expect_my_day(page)
    event.run("manage.py", "tokens", "revoke", token.partition(".")[0])
    expect_errors_at(page, "/api/")
    page.get_by_role("button", name="12 May 2026").click()
    expect(page.get_by_role("alert")).to_contain_text("your token has expired or was revoked")
    expect(page.get_by_role("heading", name="Sign in")).to_be_focused()
    assert local_storage(page) == "{}"
    submit_token(page, finn_token)
    expect_my_day(page)
    expect(page.get_by_role("button", name="12 May 2026")).to_have_attribute("aria-pressed", "true")


def test_signing_out_applies_to_every_tab(event: System, page: Page, finn_token: str) -> None:
    open_with_token(page, event, "/", finn_token)
    expect_my_day(page)
    other = page.context.new_page()
    other.goto(event.url("/", APP))
    expect_my_day(other)
    other.get_by_role("button", name="Sign out").click()
    expect_sign_in_page(page)


def test_an_unreachable_api_does_not_sign_out(event: System, page: Page, finn_token: str) -> None:
    page.expected_errors += ["ERR_FAILED"]  # type: ignore[attr-defined]
    open_with_token(page, event, "/", finn_token)
    expect_my_day(page)
    page.route("**/api/**", lambda route: route.abort())
    page.reload()
    expect(page.get_by_role("alert").first).to_contain_text("cannot be reached")
    page.unroute("**/api/**")
    page.get_by_role("button", name="Try again").first.click()
    expect_my_day(page)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_later_visit_needs_few_calls(
    event: System, browser: Browser, origins: set[str], finn_token: str, viewport: ViewportSize
) -> None:
    with a_page(browser, origins, viewport=viewport) as page:
        own, other = f"/people/{FINN}", f"/people/{FINN + 1}"
        for token, path, most in ((finn_token, own, MOST_CALLS + 1), (event.token, other, MOST_CALLS)):
            open_with_token(page, event, path, str(token))
            expect(page.locator(".player")).to_be_visible()
            called: list[str] = []
            page.on("request", lambda request, urls=called: urls.append(request.url))
            page.goto(event.url(path, APP))
            wait_until_idle(page)
            expect(page.locator(".player")).to_be_visible()
            calls = [url for url in called if url.startswith(event.url("", API))]
            assert 0 < len(calls) <= most, calls
            page.get_by_role("button", name="Sign out").click()


# --- a person's own day --------------------------------------------------------------------------


def test_a_person_sees_only_their_own_day_and_encounters(event: System, page: Page, finn_token: str) -> None:
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    encounters = request_as(
        event, finn_token, "GET", f"/api/persons/{FINN}/encounters?{API_DAY}&min_duration=60"
    ).json()
    longest = max(encounters, key=lambda each: each["duration_s"])
    open_with_token(page, event, f"/?{DAY}&at={longest['start']}&follow=1", finn_token)
    finn = event.get(f"/api/persons/{FINN}").json()
    expect(page.get_by_role("heading", name=full_name(finn))).to_be_visible()
    expect(page.locator(".list h2")).to_contain_text(f"{len(encounters)} encounters")
    expect(page.locator(".list li").first).to_contain_text(full_name(encounters[0]["person"]))
    expect(page.locator(".near")).to_contain_text(full_name(longest["person"]))
    assert page.locator(".list li a, .near a").count() == 0  # no links to other people
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Play")).to_have_count(0)
    page.get_by_role("button", name="Pause").click()
    views = page.get_by_role("navigation", name="Views").get_by_role("link")
    assert views.all_inner_texts() == ["My day", "Share"]
    assert page.get_by_role("link", name="Admin").count() == 0
    page.wait_for_load_state("networkidle")
    assert not [url for url in requested if "/connection" in url]  # no positions of others
    assert page.locator(".map .name").count() == 0


def test_the_criteria_of_a_person_have_narrower_bounds(event: System, page: Page, finn_token: str) -> None:
    open_with_token(page, event, f"/?{DAY}&distance=100&within=600&max_gap=86400&min_duration=0", finn_token)
    expect_my_day(page)
    for label, bound, invalid, flag in (
        ("Maximum distance in metres", "10", "11", "rangeOverflow"),
        ("Maximum time difference in seconds", "60", "61", "rangeOverflow"),
        ("Maximum gap in seconds", "120", "121", "rangeOverflow"),
        ("Minimum duration in seconds", "60", "59", "rangeUnderflow"),
    ):
        field = page.get_by_label(label)
        expect(field).to_have_value(bound)
        field.fill(invalid)
        page.keyboard.press("Tab")
        expect(field).to_have_js_property(f"validity.{flag}", True)
    wait_until_idle(page)


@pytest.mark.parametrize("path", ["/crowd", "/status", f"/people/{FINN + 1}"])
def test_a_person_has_no_access_to_other_views_and_the_app_requests_no_data_for_them(
    event: System, page: Page, finn_token: str, path: str
) -> None:
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    open_with_token(page, event, path, finn_token)
    expect(page.get_by_role("heading", name="You have no access to this page")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert {url for url in requested if url.startswith(event.url("", API))} == {event.url("/api/caller?")}
    page.get_by_role("link", name="Go to my day").click()
    expect_my_day(page)


def test_a_person_can_hide_from_others_and_become_findable_again(
    event: System, browser: Browser, origins: set[str], page: Page, finn_token: str
) -> None:
    encounters = request_as(
        event, finn_token, "GET", f"/api/persons/{FINN}/encounters?{API_DAY}&min_duration=60"
    ).json()
    other = max(encounters, key=lambda each: each["duration_s"])["person"]
    finn = full_name(event.get(f"/api/persons/{FINN}").json())
    other_token = token_with_consent(event, other["id"])
    checkbox = page.get_by_role("checkbox", name="Others may find me")
    open_with_token(page, event, f"/?{DAY}", finn_token)
    with a_page(browser, origins) as other_page:
        open_with_token(other_page, event, f"/?{DAY}", other_token)
        expect(other_page.locator(".list li", has_text=finn).first).to_be_attached()

        expect(checkbox).to_be_checked()
        checkbox.click()
        expect(page.locator("#findable")).to_contain_text("Nobody sees that they met you")
        expect(checkbox).not_to_be_checked()
        expect(checkbox).to_be_enabled()
        other_page.reload()
        expect_my_day(other_page)
        wait_until_idle(other_page)
        expect(other_page.locator(".list li", has_text=finn)).to_have_count(0)
        expect_my_day(page)  # their own day is unchanged

        page.reload()
        expect(checkbox).not_to_be_checked()
        checkbox.click()
        expect(page.locator("#findable")).to_contain_text("see your name")
        until(lambda: event.get(f"/api/persons/{FINN}/consent").json()["findable"])


def test_a_person_without_pings_can_change_their_consent(event: System, page: Page) -> None:
    names = {"first_name": "Ada", "last_name": "Lee", "company_name": "Acme"}
    ada = event.ask("POST", "/api/persons", json=names).json()["id"]
    token = make_token(event.environ, "person", "--people", str(ada))
    assert request_as(event, token, "PUT", f"/api/persons/{ada}/consent", json={"findable": True}).ok
    open_with_token(page, event, "/", token)
    expect(page.locator(".note")).to_contain_text("You have no positions yet.")
    expect(page.get_by_role("checkbox", name="Others may find me")).to_be_checked()
    event.ask("DELETE", f"/api/persons/{ada}")


def test_a_person_can_download_all_their_data(event: System, page: Page, finn_token: str) -> None:
    open_with_token(page, event, f"/?{DAY}", finn_token)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download everything about me").click()
    assert download.value.suggested_filename == f"connect-person-{FINN}.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert any(
            full_name(event.get(f"/api/persons/{FINN}").json()).split()[1].encode() in archive.read(one)
            for one in archive.namelist()
        )


# --- accessibility -------------------------------------------------------------------------------


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_and_fits_the_viewport(
    event: System, browser: Browser, origins: set[str], finn_token: str, viewport: dict[str, int], scheme: str
) -> None:
    with a_page(browser, origins, viewport=viewport, color_scheme=scheme) as page:
        expect_errors_at(page)

        def check() -> None:
            wait_until_idle(page)
            assert axe_violations(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]

        page.goto(event.url("/", APP))
        check()
        submit_token(page, UNKNOWN_TOKEN)
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_role("button", name="Show").click()
        check()
        submit_token(page, finn_token)
        expect_my_day(page)
        check()
        page.get_by_role("checkbox", name="Others may find me").focus()
        page.goto(event.url("/crowd", APP))
        check()
        other = undecided_person_id(event)
        page.goto(event.url(f"/#code={make_code(event.environ, other)}", APP))
        expect(page.get_by_role("button", name=re.compile("Stay signed in"))).to_be_visible()
        check()
        page.get_by_role("button", name=re.compile("^Sign in as")).click()
        expect(page.get_by_role("heading", name="May others find you?")).to_be_visible()
        check()
        page.get_by_role("button", name="Sign out").first.click()
        submit_token(page, event.token or "")
        expect(page.get_by_role("link", name="Status")).to_be_visible()
        check()


def undecided_person_id(event: System) -> int:
    """A person who has not answered the question about consent."""
    return next(
        each["id"]
        for each in event.get("/api/persons?limit=60").json()
        if not consent_of(event, each["id"])["decided"]
    )
