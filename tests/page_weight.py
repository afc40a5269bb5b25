"""Measures the page weight of the web app and the time until a view is useful, on the running system.

`python -m tests.page_weight [ROUNDS]`, after `make up`. Each round has an empty cache. It asserts nothing.
"""

import statistics
import sys
import time

from local.instance import Instance
from tests.browser import a_browser, a_page
from tests.screenshots import DAY, FINN_PATH
from tests.system import API, APP, Addresses

# Path, and the element that makes the view useful.
VIEWS = {
    "people": ("/", ".persons li"),
    "one person's day": (FINN_PATH, ".list li"),
    "crowd snapshot": (f"/crowd?{DAY}&at=2026-05-11T10:30:00Z", ".near .soft"),
    "crowd heat map": (f"/crowd?{DAY}&show=heat", ".leaflet-heatmap-layer"),
    "status": ("/status", ".verdict"),
}
FIRST_PAINT_MS = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
# Without the API's responses: the browser hides the size of responses from another origin.
TRANSFERRED_BYTES = """() =>
    [...performance.getEntriesByType("resource"), ...performance.getEntriesByType("navigation")]
    .reduce((sum, each) => sum + each.transferSize, 0)"""
FRAME_TIMES_MS = """async () => {
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
    results: dict[str, list[tuple[float, ...]]] = {view: [] for view in VIEWS}
    with a_browser() as browser:
        for _ in range(rounds):
            for view, (path, useful) in VIEWS.items():
                with a_page(browser, origins) as page:
                    started = time.perf_counter()
                    page.goto(system.url(path, APP), wait_until="commit")
                    page.locator(useful).first.wait_for()
                    took = time.perf_counter() - started
                    page.wait_for_load_state("networkidle")
                    results[view].append(
                        (page.evaluate(TRANSFERRED_BYTES) / 1e3, page.evaluate(FIRST_PAINT_MS), took * 1e3)
                    )
        print("| view | page, kB | first paint, ms | useful, ms |\n| --- | --- | --- | --- |")
        for view, rows in results.items():
            medians = map(statistics.median, zip(*rows, strict=True))
            print(f"| {view} | {' | '.join(f'{each:,.0f}' for each in medians)} |")
        with a_page(browser, origins) as page:
            page.goto(system.url(VIEWS["crowd snapshot"][0], APP))
            page.locator(".near .soft").wait_for()
            page.get_by_role("button", name="Play").click()
            frames = page.evaluate(FRAME_TIMES_MS)
            median, p95 = frames[len(frames) // 2], frames[int(len(frames) * 0.95)]
            print(f"\nFrame time of crowd playback, ms: median {median:.0f}, 95th percentile {p95:.0f}.")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
