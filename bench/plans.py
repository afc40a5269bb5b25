"""What the database does for each question: the plan, as it ran, without what takes next to nothing."""

from collections.abc import Iterator
from typing import Any

from bench.alternatives import rows
from bench.event import Event
from bench.question import Statement, ever, met, near
from bench.report import Part

SHARE = 0.01  # of the whole; what takes less is left out


def parts(event: Event) -> Iterator[Part]:
    part = Part("Plans")
    part.text(
        "By EXPLAIN ANALYZE, whose clock makes them slower than they are: milliseconds with all below, rows."
    )
    for name, statement in (
        ("`connection`, within 60 s", near(event)),
        ("`connection`, any time", ever(event)),
        ("`encounters`", met(event)),
    ):
        top = run(statement, "")
        lines = list(shown(top, top["Actual Total Time"] * SHARE))
        part.text("\n".join([f"{name}:", "", "```text", *lines, "```"]))
    yield part


def run(statement: Statement, options: str) -> dict[str, Any]:
    """The top node of the plan, as it ran."""
    sql, values = statement
    [(plan,)] = rows(f"EXPLAIN (ANALYZE, {options} FORMAT JSON) {sql}", values)
    top: dict[str, Any] = plan[0]["Plan"]
    return top


def nodes(top: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield top
    for below in top.get("Plans", ()):
        yield from nodes(below)


def shown(node: dict[str, Any], least_ms: float, depth: int = 0) -> Iterator[str]:
    took = node["Actual Total Time"] * node["Actual Loops"]
    if took < least_ms:
        return
    what = (
        node.get("Subplan Name") or node.get("Index Name") or node.get("CTE Name") or node.get("Alias") or ""
    )
    kind = f"{'  ' * depth}{node['Node Type']} {what}".rstrip()
    count = f"{node['Actual Rows']:,}" + (f" x {node['Actual Loops']:,}" if node["Actual Loops"] > 1 else "")
    yield f"{took:8.1f}  {count:>14}  {kind}"
    for below in node.get("Plans", ()):
        yield from shown(below, least_ms, depth + 1)
