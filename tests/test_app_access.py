"""The web app where callers show tokens: who signs in, by what, and what they then see, in a real browser."""

import re
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from local.tests.terminal import make_code, make_token
from tests.browser import DESKTOP, PHONE, a_page, barriers
from tests.gunicorn_server import until
from tests.system import API, APP, STAGES, System
from tests.test_app import DAY, FINN, name
from tests.test_app_states import VIEWS, quiet

STAFF, PASSWORD = "grace", "a long one"
HELPER = "alan"  # of the admin site's staff, with rights of no account elsewhere
MAY = "start_date=2026-05-10T22:00:00Z&end_date=2026-05-11T22:00:00Z"  # DAY, as the API has it
NOBODY = "abcdefgh." + "0123456789" * 4


@pytest.fixture(scope="module")
def event(guarded: System) -> System:
    guarded.go(STAGES[-1])
    guarded.empty()
    guarded.run("manage.py", "simulate", "--people", "60")
    guarded.sql("UPDATE persons_person SET findable = true")
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
    """A token with which Finn reads what is his; he has decided that others may find him."""
    return decided(event, FINN)


def forgive_refusal(page: Page, path: str = "/api/caller") -> None:
    page.forgiven += [path]  # type: ignore[attr-defined]


def decided(event: System, person_id: int) -> str:
    """A token of somebody whom the app has asked already."""
    token = make_token(event.environ, "person", "--people", str(person_id))
    assert as_person(event, token, "PUT", f"/api/persons/{person_id}/consent", json={"findable": True}).ok
    return token


def as_person(event: System, token: str, verb: str, path: str, **how: Any) -> requests.Response:
    return event.ask(verb, path, headers={"Authorization": f"Bearer {token}"}, **how)


def by_link(page: Page, event: System, path: str, person_id: int) -> None:
    """Opens a new sign-in link of a person."""
    page.goto(event.url(f"{path}#code={make_code(event.environ, person_id)}", APP))


def open_as(page: Page, event: System, path: str, token: str) -> None:
    page.goto(event.url(path, APP))
    enter(page, token)


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


def test_what_is_typed_can_be_seen_and_may_be_a_whole_link(event: System, page: Page, finns: str) -> None:
    page.goto(event.url("/", APP))
    field = page.get_by_label("Token")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("type", "password")
    field.fill(event.url(f"/#code={make_code(event.environ, FINN)}", APP))
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


def test_a_link_signs_in_once_and_its_code_leaves_the_address(
    event: System, browser: Browser, origins: set[str], page: Page, finns: str
) -> None:
    code = make_code(event.environ, FINN)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(event.url(f"/?{DAY}#code={code}", APP))
    shows_my_day(page)
    expect(page).to_have_url(re.compile(f"/people/{FINN}\\?start="))
    assert not [url for url in asked if code in url]
    assert code not in kept(page)
    page.reload()
    shows_my_day(page)

    with a_page(browser, origins) as other:
        forgive_refusal(other, "/api/caller/exchange")
        other.goto(event.url(f"/#code={code}", APP))
        expect(other.get_by_role("alert")).to_contain_text("was used before")
        assert kept(other) == "{}"


def test_a_token_in_a_link_signs_nobody_in(event: System, page: Page, finns: str) -> None:
    page.goto(event.url(f"/#token={finns}", APP))
    is_asked_to_sign_in(page)
    assert kept(page) == "{}"


def test_a_link_replaces_nobody_without_asking(event: System, page: Page, finns: str) -> None:
    """Whoever opens a stranger's link would hide the stranger, and not themselves."""
    other = FINN + 1
    decided(event, other)
    finn, stranger = (name(event.get(f"/api/persons/{each}").json()) for each in (FINN, other))
    open_as(page, event, f"/?{DAY}", finns)
    shows_my_day(page)
    for how in ("in the open page", "in a new page"):
        code = make_code(event.environ, other)
        if how == "in the open page":
            page.evaluate("code => { location.hash = `code=${code}` }", code)
        else:
            page.goto("about:blank")
            page.goto(event.url(f"/?{DAY}#code={code}", APP))
        expect(page.get_by_role("heading", name=f"Sign in as {stranger}?")).to_be_focused()
        expect(page.get_by_role("main")).to_contain_text(f"You are signed in as {finn}.")
        assert finns in kept(page)
        page.get_by_role("button", name=f"Stay signed in as {finn}").click()
        shows_my_day(page)
        expect(page.get_by_role("heading", name=finn)).to_be_visible()
        assert finns in kept(page)

    by_link(page, event, f"/?{DAY}", other)
    page.get_by_role("button", name=f"Sign in as {stranger}").click()
    expect(page.get_by_role("heading", name=stranger)).to_be_visible()
    assert finns not in kept(page)


def test_a_link_of_oneself_is_followed_without_a_question(event: System, page: Page, finns: str) -> None:
    open_as(page, event, f"/?{DAY}", finns)
    shows_my_day(page)
    page.goto("about:blank")
    by_link(page, event, f"/?{DAY}", FINN)
    shows_my_day(page)
    assert finns not in kept(page)  # the newer token is kept


def test_a_link_that_does_not_work_signs_nobody_out(event: System, page: Page, finns: str) -> None:
    open_as(page, event, f"/?{DAY}", finns)
    shows_my_day(page)
    forgive_refusal(page, "/api/caller/exchange")
    page.evaluate("location.hash = 'code=abcdefgh.0123456789'")
    expect(page.get_by_role("alert")).to_contain_text("not valid")
    page.get_by_role("button", name="Continue").click()
    shows_my_day(page)


def test_a_link_that_meets_an_api_that_is_away_can_be_tried_again(event: System, page: Page) -> None:
    decided(event, FINN)
    page.forgiven += ["ERR_FAILED"]  # type: ignore[attr-defined]
    for path in ("exchange?**", "exchange"):
        page.route(f"**/api/caller/{path}", lambda route: route.abort())
    by_link(page, event, f"/?{DAY}", FINN)
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached from here")
    for path in ("exchange?**", "exchange"):
        page.unroute(f"**/api/caller/{path}")
    page.get_by_role("button", name="Try again").click()
    shows_my_day(page)


def test_the_admin_site_replaces_nobody_without_asking_either(event: System, page: Page, finns: str) -> None:
    open_as(page, event, f"/?{DAY}", finns)
    shows_my_day(page)
    page.goto(event.url("/admin/app/", API))
    page.get_by_label("Username").fill(STAFF)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name=f"Sign in as {STAFF}?")).to_be_visible()
    page.get_by_role("button", name=f"Sign in as {STAFF}").click()
    expect(page.get_by_role("link", name="Crowd")).to_be_visible()


def test_app_and_admin_site_work_under_the_machines_other_name(event: System, browser: Browser) -> None:
    """A browser keeps the cookies of localhost and 127.0.0.1 apart."""
    origins = {event.url("", port).replace("127.0.0.1", "localhost") for port in (APP, API)}
    with a_page(browser, origins) as page:
        open_as_staff = event.url(f"/crowd?{DAY}&show=heat", APP).replace("127.0.0.1", "localhost")
        page.goto(open_as_staff)
        page.get_by_role("link", name="sign in at the admin site").click()
        page.get_by_label("Username").fill(STAFF)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator(".stage [role=status]")).to_contain_text(re.compile(r"^[\d,]+ pings"))
        page.get_by_role("link", name="Admin").click()
        page.get_by_role("link", name="App", exact=True).click()
        expect(page.locator(".persons li")).to_have_count(50)


# --- the first sign-in -----------------------------------------------------------------------------


@pytest.mark.parametrize(("choice", "findable"), [("Others may find me", True), ("Keep me hidden", False)])
def test_a_first_sign_in_asks_for_consent_until_it_is_answered(
    event: System, browser: Browser, origins: set[str], choice: str, findable: bool
) -> None:
    names = {"first_name": "Ada", "last_name": "Lee", "company_name": "Acme"}
    ada = event.ask("POST", "/api/persons", json=names).json()["id"]
    with a_page(browser, origins, viewport=PHONE) as page:
        by_link(page, event, "/", ada)
        question = page.get_by_role("heading", name="May others find you?")
        expect(question).to_be_visible()
        expect(page.get_by_role("main")).to_contain_text("You are signed in as Ada Lee.")
        page.reload()
        expect(question).to_be_focused()
        assert not as_staff_sees(event, ada)["decided"]
        button = page.get_by_role("button", name=choice)
        while not button.evaluate("one => one === document.activeElement"):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("checkbox", name="Others may find me")).to_be_checked(checked=findable)
        expect(page.get_by_role("heading", name="Ada Lee")).to_be_focused()
        assert as_staff_sees(event, ada) == {"findable": findable, "decided": True}
        page.reload()
        expect(page.get_by_role("heading", name="Ada Lee")).to_be_visible()
        expect(question).to_have_count(0)
    event.ask("DELETE", f"/api/persons/{ada}")


def as_staff_sees(event: System, person_id: int) -> dict[str, bool]:
    found: dict[str, bool] = event.get(f"/api/persons/{person_id}/consent").json()
    return found


# --- staff -----------------------------------------------------------------------------------------


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
    open_as(page, event, f"/people/{FINN}?{DAY}", token)
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
    open_as(page, event, "/", finns)
    shows_my_day(page)
    other = page.context.new_page()
    other.goto(event.url("/", APP))
    shows_my_day(other)
    other.get_by_role("button", name="Sign out").click()
    is_asked_to_sign_in(page)


def test_nobody_is_signed_out_by_an_api_that_is_away(event: System, page: Page, finns: str) -> None:
    page.forgiven += ["ERR_FAILED"]  # type: ignore[attr-defined]
    open_as(page, event, "/", finns)
    shows_my_day(page)
    page.route("**/api/caller?", lambda route: route.abort())
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached from here")
    page.unroute("**/api/caller?")
    page.get_by_role("button", name="Try again").click()
    shows_my_day(page)


# --- a person's own day --------------------------------------------------------------------------


def test_a_person_sees_their_own_day_and_whom_they_met(event: System, page: Page, finns: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    met = as_person(event, finns, "GET", f"/api/persons/{FINN}/encounters?{MAY}&min_duration=60").json()
    longest = max(met, key=lambda each: each["duration_s"])
    open_as(page, event, f"/?{DAY}&at={longest['start']}&follow=1", finns)
    finn = event.get(f"/api/persons/{FINN}").json()
    expect(page.get_by_role("heading", name=name(finn))).to_be_visible()
    expect(page.locator(".list h2")).to_contain_text(f"{len(met)} encounters")
    expect(page.locator(".list li").first).to_contain_text(name(met[0]["person"]))
    expect(page.locator(".near")).to_contain_text(name(longest["person"]))
    assert page.locator(".list li a, .near a").count() == 0  # the others' days are theirs
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Play")).to_have_count(0)
    page.get_by_role("button", name="Pause").click()
    views = page.get_by_role("navigation", name="Views").get_by_role("link")
    assert views.all_inner_texts() == ["My day"]
    assert page.get_by_role("link", name="Admin").count() == 0
    page.wait_for_load_state("networkidle")
    assert not [url for url in asked if "/connection" in url]  # where others were is theirs
    assert page.locator(".map .name").count() == 0


def test_a_person_asks_within_the_bounds_and_not_beyond(event: System, page: Page, finns: str) -> None:
    open_as(page, event, f"/?{DAY}&distance=100&within=600&max_gap=86400&min_duration=0", finns)
    shows_my_day(page)
    for label, bound, beyond, wrong in (
        ("Near is who was within so many metres", "10", "11", "rangeOverflow"),
        ("and so many seconds.", "60", "61", "rangeOverflow"),
        ("A silence of up to so many", "120", "121", "rangeOverflow"),
        ("one shorter than so many", "60", "59", "rangeUnderflow"),
    ):
        field = page.get_by_label(label)
        expect(field).to_have_value(bound)
        field.fill(beyond)
        page.keyboard.press("Tab")
        expect(field).to_have_js_property(f"validity.{wrong}", True)
    quiet(page)


@pytest.mark.parametrize("path", ["/crowd", "/status", f"/people/{FINN + 1}"])
def test_what_is_not_a_persons_is_said_to_be_and_not_asked_for(
    event: System, page: Page, finns: str, path: str
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    open_as(page, event, f"{path}", finns)
    expect(page.get_by_role("heading", name="Not yours to see")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert {url for url in asked if url.startswith(event.url("", API))} == {event.url("/api/caller?")}
    page.get_by_role("link", name="To my day").click()
    shows_my_day(page)


def test_a_person_hides_from_the_others_and_shows_again(
    event: System, browser: Browser, origins: set[str], page: Page, finns: str
) -> None:
    met = as_person(event, finns, "GET", f"/api/persons/{FINN}/encounters?{MAY}&min_duration=60").json()
    other = max(met, key=lambda each: each["duration_s"])["person"]
    finn = name(event.get(f"/api/persons/{FINN}").json())
    others = decided(event, other["id"])
    may = page.get_by_role("checkbox", name="Others may find me")
    open_as(page, event, f"/?{DAY}", finns)
    with a_page(browser, origins) as theirs:
        open_as(theirs, event, f"/?{DAY}", others)
        expect(theirs.locator(".list li", has_text=finn).first).to_be_attached()

        expect(may).to_be_checked()
        may.click()
        expect(page.locator("#findable")).to_contain_text("Nobody sees that they met you")
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
        expect(page.locator("#findable")).to_contain_text("see your name")
        until(lambda: event.get(f"/api/persons/{FINN}/consent").json()["findable"])


def test_a_person_of_whom_nothing_is_known_can_decide_already(event: System, page: Page) -> None:
    names = {"first_name": "Ada", "last_name": "Lee", "company_name": "Acme"}
    ada = event.ask("POST", "/api/persons", json=names).json()["id"]
    token = make_token(event.environ, "person", "--people", str(ada))
    assert as_person(event, token, "PUT", f"/api/persons/{ada}/consent", json={"findable": True}).ok
    open_as(page, event, "/", token)
    expect(page.locator(".note")).to_contain_text("There are no positions of yours yet.")
    expect(page.get_by_role("checkbox", name="Others may find me")).to_be_checked()
    event.ask("DELETE", f"/api/persons/{ada}")


def test_a_person_takes_home_everything_that_is_known_about_it(event: System, page: Page, finns: str) -> None:
    open_as(page, event, f"/?{DAY}", finns)
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
        other = next_undecided(event)
        page.goto(event.url(f"/#code={make_code(event.environ, other)}", APP))
        expect(page.get_by_role("button", name=re.compile("Stay signed in"))).to_be_visible()
        nothing()
        page.get_by_role("button", name=re.compile("^Sign in as")).click()
        expect(page.get_by_role("heading", name="May others find you?")).to_be_visible()
        nothing()
        page.get_by_role("button", name="Sign out").first.click()
        enter(page, event.token or "")
        expect(page.get_by_role("link", name="Status")).to_be_visible()
        nothing()


def next_undecided(event: System) -> int:
    """Somebody of the event whom the app has not asked yet."""
    return next(
        each["id"]
        for each in event.get("/api/persons?limit=60").json()
        if not as_staff_sees(event, each["id"])["decided"]
    )
