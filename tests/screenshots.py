"""What people see, as pictures: every view in light and dark, on a desktop and on a phone.

`make screenshots` takes them of the system that runs, which `make up ACCESS=tokens` has filled with its
event, and writes docs/screenshots, with docs/screenshots.md to look through them.
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
FINNS_ID = "1000001"
FINN = f"/people/{FINNS_ID}?{DAY}&min_duration=600"
TOKENS = "/admin/access/token/"
Steps = Callable[[Page], None]


def nothing(page: Page) -> None:
    """The view as it opens."""


def names(page: Page) -> None:
    expect(page.locator(".map .name").first).to_be_visible()


def a_marked_one(page: Page) -> None:
    page.locator(".list li").nth(3).hover()


def all_of_it(page: Page) -> None:
    expect(page.locator(".stage [role=status]")).not_to_contain_text("Loading", timeout=60_000)


def be_found(page: Page) -> None:
    page.get_by_role("button", name="Others may find me").click()
    expect(page.locator(".list h2")).to_contain_text("encounters")


def make(page: Page) -> None:
    page.get_by_role("button", name="Make the token").click()
    expect(page.locator(".once")).to_be_visible()


def revoke(page: Page) -> None:
    page.get_by_label("Select all objects on this page for an action").check()
    page.locator("select[name=action]").select_option("Revoke the selected tokens")
    page.get_by_role("button", name="Go").click()
    expect(page.locator(".messagelist")).to_contain_text("revoked")


# Name, port, path, what is done there, and what there is to see. The first are not of staff.
VIEWS: list[tuple[str, int, str, Steps, str]] = [
    ("sign-in", APP, "/", nothing, "The app asks who somebody is"),
    ("consent", APP, f"{FINN}#code={{code}}", nothing, "The first sign-in by a link asks for consent"),
    ("own", APP, FINN, be_found, "A person’s own page"),
    ("people", APP, "/?search=robotics", nothing, "People: search as you type"),
    ("person", APP, FINN, a_marked_one, "One person's day: whom they met, when, where and for how long"),
    (
        "moment",
        APP,
        f"{FINN}&at=2026-05-11T09:20:00.000Z&follow=1",
        names,
        "The same day, played: who was near at 11:20",
    ),
    ("crowd", APP, f"/crowd?{DAY}&at=2026-05-11T10:30:00.000Z", nothing, "Everybody at a moment"),
    ("heat", APP, f"/crowd?{DAY}&show=heat", all_of_it, "Where it was crowded that day"),
    ("status", APP, "/status", nothing, "Whether it is ready, and how old the newest ping is"),
    ("admin", API, "/admin/", nothing, "The admin's front page"),
    ("admin-persons", API, "/admin/persons/person/", nothing, "People in the admin"),
    ("admin-locations", API, "/admin/locations/location/", nothing, "Pings in the admin"),
    (
        "token-form",
        API,
        f"{TOKENS}add/?kind=person&first_person_id={FINNS_ID}",
        nothing,
        "A token for a person",
    ),
    (
        "token-made",
        API,
        f"{TOKENS}add/?kind=person&first_person_id={FINNS_ID}",
        make,
        "It is shown once, with the link to hand out",
    ),
    ("tokens", API, f"{TOKENS}?state=usable", nothing, "Tokens, and the day on which each was last used"),
    ("tokens-revoked", API, f"{TOKENS}?q=Finn", revoke, "They are revoked, as those on these pictures were"),
]
NOT_OF_STAFF = 3


def quiet(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    expect(page.locator(".loading, [aria-busy=true]")).to_have_count(0)


def signed_in(page: Page, system: Addresses) -> None:
    page.goto(system.url("/admin/login/", API))
    page.get_by_label("Username").fill(STAFF_USER)
    page.get_by_label("Password").fill(password_file(system.instance).read_text().strip())
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_attached()
    page.goto(system.url("/admin/app/", API))
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def code(instance: Instance) -> str:
    """With which Finn signs in for the first time."""
    known = dict(line.split("=", 1) for line in (instance.state / "env").read_text().splitlines())
    with at(known["DATABASE_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE persons_person SET decided_at = NULL WHERE id = %s", [FINNS_ID])
    return make_code(os.environ | known, int(FINNS_ID))


def take(browser: Browser, system: Addresses, scheme: str, size: str) -> Iterator[str]:
    origins = {system.url("", APP), system.url("", API)}
    shown = code(system.instance)
    with a_page(
        browser, origins, color_scheme=scheme, viewport={"desktop": DESKTOP, "phone": PHONE}[size]
    ) as page:
        for number, (name, port, path, steps, _) in enumerate(VIEWS):
            if number == NOT_OF_STAFF:
                page.get_by_role("button", name="Sign out").click()
                signed_in(page, system)
            page.goto(system.url(path.replace("{code}", shown), port))
            quiet(page)
            steps(page)
            quiet(page)
            page.screenshot(path=FOLDER / f"{name}-{size}-{scheme}.png", animations="disabled")
            yield name


def gallery() -> str:
    lines = [
        "# What people see",
        "",
        "Taken by `make screenshots` of a system that `make up ACCESS=tokens` has just filled.",
        "",
    ]
    for name, _, _, _, said in VIEWS:
        lines += [f"## {said}", "", "| light | dark |", "| --- | --- |"]
        for size in ("desktop", "phone"):
            shots = [
                f"![{said}, {size}, {one}](screenshots/{name}-{size}-{one}.png)" for one in ("light", "dark")
            ]
            lines.append(f"| {' | '.join(shots)} |")
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    system = Addresses(Instance.from_environment())
    if system.instance.access != "tokens":
        print("Some of the views are there only where callers show tokens: make up ACCESS=tokens")
        return 1
    with a_browser() as browser:
        for size in ("desktop", "phone"):
            for scheme in ("light", "dark"):
                print(f"{size}, {scheme}: {', '.join(take(browser, system, scheme, size))}")
    (CHECKOUT / "docs" / "screenshots.md").write_text(gallery())
    return 0


if __name__ == "__main__":
    sys.exit(main())
