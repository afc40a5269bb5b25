"""Screenshots of every view in light and dark, on a desktop and on a phone.

`make screenshots` takes them of the running system, which `make up ACCESS=tokens` has filled with its
simulated event. It writes docs/screenshots and docs/screenshots.md.
"""

import os
import sys
from collections.abc import Callable, Iterator

from playwright.sync_api import Browser, Page, expect

from local.instance import CHECKOUT, Instance
from local.seed import STAFF_USER, password_file
from local.tests.terminal import make_code
from tests.browser import DESKTOP, PHONE, a_browser, a_page
from tests.system import API, APP, Addresses, at

FOLDER = CHECKOUT / "docs" / "screenshots"
DAY = "start=2026-05-10T22:00:00.000Z&end=2026-05-11T22:00:00.000Z"
FINN_ID = "1000001"
FINN_PATH = f"/people/{FINN_ID}?{DAY}&min_duration=600"
TOKENS = "/admin/access/token/"
Steps = Callable[[Page], None]


def no_steps(page: Page) -> None:
    """Takes the view as it opens."""


def wait_for_names(page: Page) -> None:
    expect(page.locator(".map .name").first).to_be_visible()


def mark_an_encounter(page: Page) -> None:
    page.locator(".list li").nth(3).hover()


def wait_for_heat(page: Page) -> None:
    expect(page.locator(".stage [role=status]")).not_to_contain_text("Loading", timeout=60_000)


def consent(page: Page) -> None:
    page.get_by_role("button", name="Others may find me").click()
    expect(page.locator(".list h2")).to_contain_text("encounters")


def make_badges(page: Page) -> None:
    for number in range(8):
        page.locator(".action-select").nth(number).check()
    page.locator("select[name=action]").select_option("Make badges with sign-in codes")
    page.locator(".actions button[type=submit]").first.click()
    page.get_by_role("button", name="Make badges").click()
    expect(page.locator(".badge")).to_have_count(8)


def make_a_token(page: Page) -> None:
    page.get_by_role("button", name="Make the token").click()
    expect(page.locator(".once")).to_be_visible()


def revoke_the_tokens(page: Page) -> None:
    page.get_by_label("Select all objects on this page for an action").check()
    page.locator("select[name=action]").select_option("Revoke the selected tokens")
    page.get_by_role("button", name="Go").click()
    expect(page.locator(".messagelist")).to_contain_text("revoked")


# Name, port, path, steps and caption. The first VIEWS_BEFORE_STAFF views are taken without a staff sign-in.
VIEWS: list[tuple[str, int, str, Steps, str]] = [
    ("sign-in", APP, "/", no_steps, "Sign in to the app"),
    ("consent", APP, f"{FINN_PATH}#code={{code}}", no_steps, "The first sign-in by a link asks for consent"),
    ("own", APP, FINN_PATH, consent, "A person’s own page"),
    ("share", APP, "/share", no_steps, "Share my position from a phone’s browser"),
    ("overview", APP, f"/?{DAY}", no_steps, "Overview: a day of the event"),
    ("people", APP, "/people?search=robotics", no_steps, "People: search as you type"),
    (
        "person",
        APP,
        FINN_PATH,
        mark_an_encounter,
        "One person’s day: whom they met, when, where and for how long",
    ),
    (
        "moment",
        APP,
        f"{FINN_PATH}&at=2026-05-11T09:20:00.000Z&follow=1",
        wait_for_names,
        "Playback of the same day: who was near at 11:20",
    ),
    (
        "crowd",
        APP,
        f"/crowd?{DAY}&at=2026-05-11T10:30:00.000Z",
        no_steps,
        "Crowd snapshot: everybody at one time",
    ),
    ("heat", APP, f"/crowd?{DAY}&show=heat", wait_for_heat, "Crowd heat map of a day"),
    ("status", APP, "/status", no_steps, "Status: readiness and the newest ping"),
    ("admin", API, "/admin/", no_steps, "The front page of the admin site"),
    ("admin-persons", API, "/admin/persons/person/", no_steps, "People in the admin site"),
    ("badges", API, "/admin/persons/person/", make_badges, "Badges: a QR code signs a phone in, once"),
    ("admin-locations", API, "/admin/locations/location/", no_steps, "Pings in the admin site"),
    (
        "token-form",
        API,
        f"{TOKENS}add/?kind=person&first_person_id={FINN_ID}",
        no_steps,
        "A token for a person",
    ),
    (
        "token-made",
        API,
        f"{TOKENS}add/?kind=person&first_person_id={FINN_ID}",
        make_a_token,
        "A new token is shown once, with the sign-in link",
    ),
    ("tokens", API, f"{TOKENS}?state=usable", no_steps, "Tokens, with the day of last use"),
    (
        "tokens-revoked",
        API,
        f"{TOKENS}?q=Finn",
        revoke_the_tokens,
        "Revoked tokens, such as those in these pictures",
    ),
]
VIEWS_BEFORE_STAFF = 4


def wait_until_idle(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    expect(page.locator(".loading, [aria-busy=true]")).to_have_count(0)


def sign_in_as_staff(page: Page, system: Addresses) -> None:
    page.goto(system.url("/admin/login/", API))
    page.get_by_label("Username").fill(STAFF_USER)
    page.get_by_label("Password").fill(password_file(system.instance).read_text().strip())
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_attached()
    page.goto(system.url("/admin/app/", API))
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def first_sign_in_code(instance: Instance) -> str:
    """A sign-in code for Finn, whose consent is reset, so that the app asks for it."""
    environ = dict(line.split("=", 1) for line in (instance.state / "env").read_text().splitlines())
    with at(environ["DATABASE_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE persons_person SET decided_at = NULL WHERE id = %s", [FINN_ID])
    return make_code(os.environ | environ, int(FINN_ID))


def take_all(browser: Browser, system: Addresses, scheme: str, size: str) -> Iterator[str]:
    origins = {system.url("", APP), system.url("", API)}
    code = first_sign_in_code(system.instance)
    with a_page(
        browser, origins, color_scheme=scheme, viewport={"desktop": DESKTOP, "phone": PHONE}[size]
    ) as page:
        for number, (name, port, path, steps, _) in enumerate(VIEWS):
            if number == VIEWS_BEFORE_STAFF:
                page.get_by_role("button", name="Sign out").click()
                sign_in_as_staff(page, system)
            page.goto(system.url(path.replace("{code}", code), port))
            wait_until_idle(page)
            steps(page)
            wait_until_idle(page)
            page.screenshot(path=FOLDER / f"{name}-{size}-{scheme}.png", animations="disabled")
            yield name


def gallery_markdown() -> str:
    lines = [
        "# Screenshots",
        "",
        "Taken by `make screenshots` after `make up ACCESS=tokens`.",
        "",
    ]
    for name, _, _, _, caption in VIEWS:
        lines += [f"## {caption}", "", "| light | dark |", "| --- | --- |"]
        for size in ("desktop", "phone"):
            shots = [
                f"![{caption}, {size}, {scheme}](screenshots/{name}-{size}-{scheme}.png)"
                for scheme in ("light", "dark")
            ]
            lines.append(f"| {' | '.join(shots)} |")
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    system = Addresses(Instance.from_environment())
    if system.instance.access != "tokens":
        print("Some views exist only with tokens. Run: make up ACCESS=tokens")
        return 1
    with a_browser() as browser:
        for size in ("desktop", "phone"):
            for scheme in ("light", "dark"):
                print(f"{size}, {scheme}: {', '.join(take_all(browser, system, scheme, size))}")
    (CHECKOUT / "docs" / "screenshots.md").write_text(gallery_markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
