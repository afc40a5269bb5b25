"""How heavy the web app is, and how soon a view is of use, in a real browser on the system that runs.

`python -m tests.page_weight [ROUNDS]`, after `make up`; each round has an empty cache. It asserts nothing.
"""

import statistics
import sys
import time

from local.instance import Instance
from tests.browser import a_browser, a_page
from tests.screenshots import DAY, FINN
from tests.system import API, APP, Addresses

# The path, and what makes it useful: a reader could go on from there.
VIEWS = {
    "people": ("/", ".persons li"),
    "one person's day": (FINN, ".list li"),
    "the crowd at a moment": (f"/crowd?{DAY}&at=2026-05-11T10:30:00Z", ".near .soft"),
    "the crowd as a heat map": (f"/crowd?{DAY}&show=heat", ".leaflet-heatmap-layer"),
    "status": ("/status", ".verdict"),
}
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
WEIGHT = """() => [...performance.getEntriesByType("resource"), ...performance.getEntriesByType("navigation")]
    .reduce((sum, each) => sum + each.transferSize, 0)"""  # the API's answers are not told: of another origin
FRAMES = """async () => {
    const took = [];
    for (let n = 0, last = performance.now(); n < 200; n++) {
        const now = await new Promise(requestAnimationFrame);
        took.push(now - last);
        last = now;
    }
    return took.slice(1).sort((one, other) => one - other);
}"""


def main(rounds: int) -> None:
    system = Addresses(Instance.from_environment())
    origins = {system.url("", APP), system.url("", API)}
    found: dict[str, list[tuple[float, ...]]] = {view: [] for view in VIEWS}
    with a_browser() as browser:
        for _ in range(rounds):
            for view, (path, useful) in VIEWS.items():
                with a_page(browser, origins) as page:
                    begun = time.perf_counter()
                    page.goto(system.url(path, APP), wait_until="commit")
                    page.locator(useful).first.wait_for()
                    took = time.perf_counter() - begun
                    page.wait_for_load_state("networkidle")
                    found[view].append((page.evaluate(WEIGHT) / 1e3, page.evaluate(PAINTED), took * 1e3))
        print("| view | page, kB | first paint, ms | useful, ms |\n| --- | --- | --- | --- |")
        for view, rows in found.items():
            medians = map(statistics.median, zip(*rows, strict=True))
            print(f"| {view} | {' | '.join(f'{each:,.0f}' for each in medians)} |")
        with a_page(browser, origins) as page:
            page.goto(system.url(VIEWS["the crowd at a moment"][0], APP))
            page.locator(".near .soft").wait_for()
            page.get_by_role("button", name="Play").click()
            frames = page.evaluate(FRAMES)
            middle, slow = frames[len(frames) // 2], frames[int(len(frames) * 0.95)]
            print(f"\nThe crowd playing, ms a frame: {middle:.0f} in the median, {slow:.0f} for 1 in 20.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
