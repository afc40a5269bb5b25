"""The web app where callers show tokens: who signs in, by what, and what they then see, in a real browser."""

import re
import zipfile
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from local.tests.terminal import make_token
from tests.browsing import DESKTOP, PHONE, a_page, barriers
from tests.serving import until
from tests.system import API, APP, STAGES, System
from tests.test_app import DAY, FINN, name
from tests.test_app_states import VIEWS, quiet

STAFF, PASSWORD = "grace", "a long one"
HELPER = "alan"  # of the admin site's staff, with rights of no account elsewhere
NOBODY = "abcdefgh." + "0123456789" * 4


@pytest.fixture(scope="module")
def event(guarded: System) -> System:
    guarded.go(STAGES[-1])
    guarded.empty()
    guarded.run("manage.py", "simulate", "--people", "60")
    make = "from django.contrib.auth.models import User\n"
    make += f"User.objects.create_superuser({STAFF!r}, password={PASSWORD!r})\n"
    make += f"User.objects.create_user({HELPER!r}, password={PASSWORD!r}, is_staff=True)"
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
def finns(event: System) -> str:
    """A token with which Finn reads what is his."""
    return make_token(event.environ, "person", "--people", str(FINN))


def forgive_refusal(page: Page, path: str = "/api/caller") -> None:
    page.forgiven += [path]  # type: ignore[attr-defined]


def enter(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()


def is_asked_to_sign_in(page: Page) -> None:
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page).to_have_title("Sign in · Connect")


def shows_my_day(page: Page) -> None:
    expect(page.get_by_role("link", name="My day")).to_have_attribute("aria-current", "page")
    expect(page.locator(".list h2")).to_contain_text("encounters")


def kept(page: Page) -> str:
    return str(page.evaluate("JSON.stringify(localStorage)"))


# --- signing in and out --------------------------------------------------------------------------


def test_who_shows_nothing_is_asked_to_sign_in_at_every_view_and_nothing_is_asked_of_the_api(
    event: System, page: Page
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for path in VIEWS.values():
        page.goto(event.url(path, APP))
        is_asked_to_sign_in(page)
        page.wait_for_load_state("networkidle")
        assert page.get_by_role("navigation", name="Views").count() == 0
    assert not [url for url in asked if url.startswith(event.url("", API))]


def test_staff_signs_in_with_a_token_sees_everybody_and_signs_out(event: System, page: Page) -> None:
    assert event.token
    page.goto(event.url(f"/people/{FINN}?{DAY}", APP))
    enter(page, f" {event.token}\n")  # as it is pasted
    expect(page.locator(".list h2")).to_contain_text("encounters")
    expect(page).to_have_url(re.compile(f"/people/{FINN}\\?"))
    page.locator(".list li a").first.click()  # others, too
    quiet(page)
    for view, sign in (("People", ".persons li"), ("Crowd", ".near"), ("Status", ".verdict")):
        page.get_by_role("link", name=view, exact=True).click()
        expect(page.locator(sign).first).to_be_visible()
    page.reload()
    expect(page.locator(".verdict")).to_have_text("Connect is ready.")

    page.get_by_role("button", name="Sign out").click()
    is_asked_to_sign_in(page)
    assert kept(page) == "{}"
    page.reload()
    is_asked_to_sign_in(page)


def test_what_is_typed_can_be_seen_and_may_be_the_whole_link(event: System, page: Page, finns: str) -> None:
    page.goto(event.url("/", APP))
    field = page.get_by_label("Token")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("type", "password")
    field.fill(event.url(f"/#token={finns}", APP))
    page.get_by_role("button", name="Show").click()
    expect(field).to_have_attribute("type", "text")
    page.get_by_role("button", name="Sign in").click()
    shows_my_day(page)


def test_a_token_that_opens_nothing_here_is_told_why(event: System, page: Page) -> None:
    forgive_refusal(page)
    page.goto(event.url("/", APP))
    why = page.get_by_role("alert")
    for token in (NOBODY, "abc", "ключ"):
        enter(page, token)
        expect(why).to_contain_text("not valid")
        expect(page.get_by_label("Token")).to_have_value(token)
    enter(page, make_token(event.environ, "ingest", "--people", str(FINN)))
    expect(why).to_contain_text("it sends pings")
    enter(page, make_token(event.environ, "service"))
    expect(why).to_contain_text("for Connect’s own processes")
    assert kept(page) == "{}"


def test_a_link_signs_in_and_its_token_leaves_the_address(event: System, page: Page, finns: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(event.url(f"/?{DAY}#token={finns}", APP))
    shows_my_day(page)
    expect(page).to_have_url(re.compile(f"/people/{FINN}\\?start="))
    assert not [url for url in asked if finns in url]
    page.reload()
    shows_my_day(page)

    assert event.token
    page.goto(event.url(f"/people/{FINN}?{DAY}#token={event.token}", APP))  # the last link counts
    expect(page.get_by_role("link", name="Crowd")).to_be_visible()
    expect(page.locator(".list h2")).to_contain_text("encounters")
    assert "#" not in page.url


def test_staff_comes_from_the_admin_site_back_to_the_view_and_is_gone_when_it_logs_out_there(
    event: System, page: Page
) -> None:
    page.goto(event.url(f"/crowd?{DAY}&show=heat", APP))
    page.get_by_role("link", name="sign in at the admin site").click()
    page.get_by_label("Username").fill(STAFF)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".stage [role=status]")).to_contain_text(re.compile(r"^[\d,]+ pings"))
    expect(page).to_have_url(re.compile(r"/crowd\?start=2026-05-10T22.*&show=heat$"))
    page.goto(event.url("/status", APP))
    expect(page.locator(".verdict")).to_have_text("Connect is ready.")

    page.get_by_role("link", name="Admin").click()
    page.get_by_role("link", name="App", exact=True).click()
    expect(page.locator(".persons li")).to_have_count(50)

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("alert")).to_contain_text("At the admin site you are still signed in")
    page.get_by_role("link", name="sign in at the admin site").click()  # it knows who it is
    expect(page.locator(".persons li")).to_have_count(50)

    page.context.clear_cookies()
    forgive_refusal(page, "/api/persons")
    page.get_by_label("Name or company").fill("finn")
    expect(page.get_by_role("alert")).to_contain_text("your session at the admin site has ended")


def test_a_user_of_the_admin_site_without_the_rights_is_told_so(event: System, page: Page) -> None:
    forgive_refusal(page)
    page.goto(event.url("/", APP))
    page.get_by_role("link", name="sign in at the admin site").click()
    page.get_by_label("Username").fill(HELPER)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("The admin site does not vouch for you")
    assert page.url == event.url("/", APP)


def test_a_token_that_is_revoked_while_it_is_used_leads_out_and_a_new_one_back(
    event: System, page: Page, finns: str
) -> None:
    token = make_token(event.environ, "person", "--people", str(FINN))
    page.goto(event.url(f"/people/{FINN}?{DAY}#token={token}", APP))
    shows_my_day(page)
    event.run("manage.py", "tokens", "revoke", token.partition(".")[0])
    forgive_refusal(page, "/api/")
    page.get_by_role("button", name="12 May 2026").click()
    expect(page.get_by_role("alert")).to_contain_text("your token has expired or was revoked")
    expect(page.get_by_role("heading", name="Sign in")).to_be_focused()
    assert kept(page) == "{}"
    enter(page, finns)
    shows_my_day(page)
    expect(page.get_by_role("button", name="12 May 2026")).to_have_attribute("aria-pressed", "true")


def test_signing_out_counts_in_every_tab(event: System, page: Page, finns: str) -> None:
    page.goto(event.url(f"/#token={finns}", APP))
    shows_my_day(page)
    other = page.context.new_page()
    other.goto(event.url("/", APP))
    shows_my_day(other)
    other.get_by_role("button", name="Sign out").click()
    is_asked_to_sign_in(page)


def test_nobody_is_signed_out_by_an_api_that_is_away(event: System, page: Page, finns: str) -> None:
    page.forgiven += ["ERR_FAILED"]  # type: ignore[attr-defined]
    page.goto(event.url(f"/#token={finns}", APP))
    shows_my_day(page)
    page.route("**/api/caller?", lambda route: route.abort())
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached from here")
    page.unroute("**/api/caller?")
    page.get_by_role("button", name="Try again").click()
    shows_my_day(page)


# --- a person's own day --------------------------------------------------------------------------


def test_a_person_sees_its_own_day_and_whom_it_met(event: System, page: Page, finns: str) -> None:
    asked = "start_date=2026-05-10T22:00:00Z&end_date=2026-05-11T22:00:00Z"
    met = event.get(f"/api/persons/{FINN}/encounters?{asked}&min_duration=60").json()
    longest = max(met, key=lambda each: each["duration_s"])
    page.goto(event.url(f"/?{DAY}&at={longest['start']}&follow=1#token={finns}", APP))
    finn = event.get(f"/api/persons/{FINN}").json()
    expect(page.get_by_role("heading", name=name(finn))).to_be_visible()
    expect(page.locator(".list h2")).to_contain_text(f"{len(met)} encounters")
    expect(page.locator(".list li").first).to_contain_text(name(met[0]["person"]))
    expect(page.locator(".near")).to_contain_text(name(longest["person"]))
    expect(page.locator(".map .name", has_text=name(longest["person"]))).to_be_visible()
    assert page.locator(".list li a, .near a").count() == 0  # the others' days are theirs
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Play")).to_have_count(0)
    page.get_by_role("button", name="Pause").click()
    views = page.get_by_role("navigation", name="Views").get_by_role("link")
    assert views.all_inner_texts() == ["My day"]
    assert page.get_by_role("link", name="Admin").count() == 0


def test_a_person_asks_about_a_meeting_and_not_beyond(event: System, page: Page, finns: str) -> None:
    page.goto(event.url(f"/?{DAY}&distance=100&within=600#token={finns}", APP))
    shows_my_day(page)
    metres = page.get_by_label("Near is who was within so many metres")
    expect(metres).to_have_value("25")
    metres.fill("26")
    page.keyboard.press("Tab")
    expect(metres).to_have_js_property("validity.rangeOverflow", True)
    quiet(page)


@pytest.mark.parametrize("path", ["/crowd", "/status", f"/people/{FINN + 1}"])
def test_what_is_not_a_persons_is_said_to_be_and_not_asked_for(
    event: System, page: Page, finns: str, path: str
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(event.url(f"{path}#token={finns}", APP))
    expect(page.get_by_role("heading", name="Not yours to see")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert {url for url in asked if url.startswith(event.url("", API))} == {event.url("/api/caller?")}
    page.get_by_role("link", name="To my day").click()
    shows_my_day(page)


def test_a_person_hides_from_the_others_and_shows_again(
    event: System, browser: Browser, origins: set[str], page: Page, finns: str
) -> None:
    asked = "start_date=2026-05-10T22:00:00Z&end_date=2026-05-11T22:00:00Z&min_duration=60"
    met = event.get(f"/api/persons/{FINN}/encounters?{asked}").json()
    other = max(met, key=lambda each: each["duration_s"])["person"]
    finn = name(event.get(f"/api/persons/{FINN}").json())
    others = make_token(event.environ, "person", "--people", str(other["id"]))
    may = page.get_by_role("checkbox", name="Others may find me")
    page.goto(event.url(f"/?{DAY}#token={finns}", APP))
    with a_page(browser, origins) as theirs:
        theirs.goto(event.url(f"/?{DAY}#token={others}", APP))
        expect(theirs.locator(".list li", has_text=finn).first).to_be_attached()

        expect(may).to_be_checked()
        may.click()
        expect(page.locator("#findable")).to_contain_text("You are in nobody’s list")
        expect(may).not_to_be_checked()
        expect(may).to_be_enabled()
        theirs.reload()
        shows_my_day(theirs)
        quiet(theirs)
        expect(theirs.locator(".list li", has_text=finn)).to_have_count(0)
        shows_my_day(page)  # still there for itself

        page.reload()
        expect(may).not_to_be_checked()
        may.click()
        expect(page.locator("#findable")).to_contain_text("sees your name")
        until(lambda: event.get(f"/api/persons/{FINN}/consent").json()["findable"])


def test_a_person_of_whom_nothing_is_known_can_decide_already(event: System, page: Page) -> None:
    names = {"first_name": "Ada", "last_name": "Lee", "company_name": "Acme"}
    ada = event.ask("POST", "/api/persons", json=names).json()["id"]
    token = make_token(event.environ, "person", "--people", str(ada))
    page.goto(event.url(f"/#token={token}", APP))
    expect(page.locator(".note")).to_contain_text("Nothing is known of where you were.")
    expect(page.get_by_role("checkbox", name="Others may find me")).to_be_checked()
    event.ask("DELETE", f"/api/persons/{ada}")


def test_a_person_takes_home_everything_that_is_known_about_it(event: System, page: Page, finns: str) -> None:
    page.goto(event.url(f"/?{DAY}#token={finns}", APP))
    with page.expect_download() as download:
        page.get_by_role("button", name="Download everything about me").click()
    assert download.value.suggested_filename == f"connect-person-{FINN}.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert any(
            name(event.get(f"/api/persons/{FINN}").json()).split()[1].encode() in archive.read(one)
            for one in archive.namelist()
        )


# --- for everybody -------------------------------------------------------------------------------


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    event: System, browser: Browser, origins: set[str], finns: str, viewport: dict[str, int], scheme: str
) -> None:
    with a_page(browser, origins, viewport=viewport, color_scheme=scheme) as page:
        forgive_refusal(page)

        def nothing() -> None:
            quiet(page)
            assert barriers(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]

        page.goto(event.url("/", APP))
        nothing()
        enter(page, NOBODY)
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_role("button", name="Show").click()
        nothing()
        enter(page, finns)
        shows_my_day(page)
        nothing()
        page.get_by_role("checkbox", name="Others may find me").focus()
        page.goto(event.url("/crowd", APP))
        nothing()
        page.get_by_role("button", name="Sign out").click()
        enter(page, event.token or "")
        expect(page.get_by_role("link", name="Status")).to_be_visible()
        nothing()
